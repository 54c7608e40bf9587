"""The guard: is it allowed, was it answered before, what does it cost. In that order.

Guarantee:
    Everything about a task is checked before anything is reserved. A release is computed
    only under a reservation that is already on disk, and its bytes are on disk with the
    `spend` row before they leave. The same request returns the same bytes and costs
    nothing; the same step with another request is refused. A refusal is a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self, TypeAlias

from client.ledger_store import Key, LedgerStore, StoredRelease
from client.store import ClientStore
from client.training import Compute
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.errors import Code, DataError, HushRecError, PlanError, PrivacyError, ProtocolError
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.events import GaussianSumEvent
from common.privacy.mechanisms import SumMechanism, mechanism_for
from common.privacy.stream import NoiseSource
from common.protocol import OK, Reply, Task
from common.schedule import Schedule, schedule_of

__all__ = ["Check", "Guard"]

Check: TypeAlias = Callable[[Schedule], Compute]
"""Checks what a task brings, without looking at data, and returns what computes it."""

_LONGEST_DETAIL: Final = 500
_UNRECORDED: Final = (Code.LEDGER_WRITE, Code.LEDGER_BROKEN, Code.LEDGER_FOREIGN)


class Guard:
    """Stands between a task and the client's data. Use as a context manager."""

    def __init__(self, store: ClientStore, ledger: LedgerStore) -> None:
        self._store = store
        self._ledger = ledger

    @classmethod
    def open(cls, store: ClientStore) -> Self:
        """Open the client's ledger.

        Raises:
            LedgerError: the ledger is foreign, broken, or cannot be written.
        """
        settings = store.settings
        ledger = LedgerStore.open(
            store.ledger_path,
            settings.name,
            settings.dataset_id,
            survives_power_cut=not settings.simulated,
        )
        return cls(store, ledger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    def answer(self, task: Task, check: Check) -> Reply:
        """Answer a task: from the store if it was answered, else by computing it.

        Raises:
            HushRecError: refused; a `refuse` row says why. Nothing was reserved, unless the
                computation itself failed.
        """
        key = Key(task.job.job_id, task.step, task.session)
        with self.refusing(task):
            request = task.request_hash
            stored = self._ledger.find(key)
            if stored is not None:
                self._ledger.same_request(stored, key, request)
            if stored is None or _not_kept(stored):
                schedule = self._allowed(task)
                compute = check(schedule)
                mechanism = mechanism_for(schedule.plan, task.step, self._noise(task))
            if stored is None:
                reservation = self._reserve(key, request, schedule, _charge(mechanism))
        if stored is not None and not _not_kept(stored):
            return Reply(OK, arrays_from_bytes(stored.payload), stored.head)
        with self.refusing(task, quote=False):
            payload = arrays_to_bytes(compute(mechanism))
            if stored is None:
                kept = b"" if task.job.mode == "none" else payload
                stored = self._commit(key, request, payload, reservation, kept=kept)
        # another process may have answered first: what is stored is what was charged
        answer = payload if _not_kept(stored) else stored.payload
        return Reply(OK, arrays_from_bytes(answer), stored.head)

    @contextmanager
    def refusing(self, task: Task | None = None, *, quote: bool = True) -> Iterator[None]:
        """Record what goes wrong inside as a `refuse` row, and let it go on.

        Args:
            task: what is refused, None while it could not be read.
            quote: write the error's text too: only while no data was looked at, since a
                ledger is shown to others.
        """
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, HushRecError) else Code.INTERNAL
            if code not in _UNRECORDED:
                body = {
                    "job_id": "" if task is None else task.job.job_id,
                    "step": -1 if task is None else task.step,
                    "code": str(code),
                    "detail": _detail(error) if quote else type(error).__name__,
                }
                self._ledger.append("refuse", body)
            raise

    def _allowed(self, task: Task) -> Schedule:
        """The schedule of a job that this client takes part in; the policy joins here.

        Raises:
            PlanError: the plan is not to be had, here or at all.
            DataError: `catalogue-mismatch`, it is about other items.
            ProtocolError: `protocol-invalid`, the plan has no such step.
        """
        self._check_catalogue(task.job)
        self._check_terms(task.job)
        schedule = schedule_of(task.job)
        if task.step >= len(schedule.steps):
            raise ProtocolError(
                Code.PROTOCOL_INVALID,
                f"the job has {len(schedule.steps)} steps, not {task.step + 1}.",
                where="task.step",
            )
        if task.session != 0:
            raise ProtocolError(
                Code.PROTOCOL_INVALID,
                f"mode {task.job.mode!r} has one release a step: a second one is not planned.",
                where="task.session",
            )
        return schedule

    def _check_catalogue(self, job: Job) -> None:
        own = self._store.catalogue
        if job.catalogue_version != own.version or job.n_items != len(own):
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                f"the job is about catalogue {job.catalogue_version[:12]} of {job.n_items} items, "
                f"this client has {own.version[:12]} of {len(own)}.",
                where="task.job",
                remedy="Bring both sides to one catalogue.",
            )

    def _check_terms(self, job: Job) -> None:
        settings = self._store.settings
        if job.mode == "none" and not settings.no_privacy:
            raise PlanError(
                Code.PLAN_MODE,
                "the server asks for exact sums (mode `none`).",
                where="task.job.mode",
                remedy="Only the owner can allow that, by `no_privacy` in client.toml.",
            )
        if job.mode != "none" and job.delta >= 1.0 / settings.population:
            raise PlanError(
                Code.PLAN_DELTA,
                f"δ = {job.delta:g} is not below 1/{settings.population}, one over the declared "
                "users.",
                where="task.job.delta",
                remedy="Ask for a smaller δ.",
            )

    def _reserve(
        self, key: Key, request: str, schedule: Schedule, charge: Mapping[str, Any]
    ) -> int:
        """Write the plan as a whole, once per job, and the step's cost; from here it counts.

        Raises:
            PrivacyError: the job changed, or the log changed under it.
        """
        with self._ledger.transaction():
            if not self._admitted(schedule):
                self._ledger.append(
                    "admit",
                    {
                        "job_id": schedule.job.job_id,
                        "fingerprint": schedule.job.fingerprint,
                        "plan": schedule.plan.model_dump(mode="json"),
                        "unit": schedule.plan.unit,
                        "neighbouring": NEIGHBOURING,
                        "accountant": ACCOUNTANT,
                        "snapshot": self._snapshot(),
                    },
                )
            row = self._ledger.append(
                "reserve",
                {
                    "job_id": key.job_id,
                    "step": key.step,
                    "session": key.session,
                    "request_hash": request,
                    **charge,
                },
            )
        return row.seq

    def _admitted(self, schedule: Schedule) -> bool:
        job = schedule.job
        for row in self._ledger.rows("admit"):
            if row.body["job_id"] != job.job_id:
                continue
            if row.body["fingerprint"] != job.fingerprint:
                raise PrivacyError(
                    Code.REPLAY_CONFLICT,
                    "the job has this id but not the content that was admitted.",
                    where=f"job {job.job_id}",
                    remedy="A server must not change a job under way: start a new job.",
                )
            if row.body["snapshot"] != self._snapshot():
                raise PrivacyError(
                    Code.SNAPSHOT_CHANGED,
                    "the event log changed since this job was admitted.",
                    where=str(self._store.folder),
                    remedy="A job trains on one snapshot: put it back, or let a new job start.",
                )
            return True
        return False

    def _snapshot(self) -> str:
        """The data as a row may name them: a plain hash would confirm a guess at the log."""
        return self._ledger.keyed_hash(self._store.snapshot)

    def _commit(
        self, key: Key, request: str, payload: bytes, reservation: int, *, kept: bytes
    ) -> StoredRelease:
        spend = {
            "reservation": reservation,
            "release_sha256": hashlib.sha256(payload).hexdigest(),
        }
        return self._ledger.commit_release(key, request, kept, spend)

    def _noise(self, task: Task) -> NoiseSource:
        settings = self._store.settings
        if settings.noise_seed is None:
            return NoiseSource.system()
        label = f"{settings.noise_seed}|{settings.name}|{task.job.seed}|{task.step}"
        seed = int.from_bytes(hashlib.sha256(label.encode()).digest(), "big")
        return NoiseSource.seeded(seed)


def _charge(mechanism: SumMechanism) -> dict[str, Any]:
    """What a `reserve` row says that the release costs."""
    event = mechanism.event
    charge: dict[str, Any] = {"event": event.model_dump(mode="json")}
    if isinstance(event, GaussianSumEvent) and not mechanism.is_private:
        charge["reproducible"] = True
    return charge


def _detail(error: Exception) -> str:
    """What was wrong, short enough for a row, without local paths.

    What a server sent may be long, or hold what no UTF-8 can write.
    """
    text = error.message if isinstance(error, HushRecError) else type(error).__name__
    return text[:_LONGEST_DETAIL].encode(errors="replace").decode()


def _not_kept(stored: StoredRelease) -> bool:
    """Exact sums (mode `none`) protect nobody and can be huge: only their hash is kept.

    A noised release is never empty, and must be kept: the same noise cannot be drawn again.
    """
    return not stored.payload

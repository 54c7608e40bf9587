"""The guard: is it allowed, was it answered before, what does it cost. In that order.

Guarantee:
    Everything about a task is checked before anything is reserved. A release is computed
    only under a reservation that is on disk and within every cap of the policy, together with
    all that was reserved before and all that open jobs still hold; its bytes are on disk with
    the `spend` row before they leave. The same request returns the same bytes and costs
    nothing, however many copies of it come at once; the same step with another request is
    refused. A refusal is a row, of strangers up to so many a day. A ledger that was rolled
    back answers nothing at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import Any, Self, TypeAlias

from flwr.app import RecordDict

from client.guard.admission import admit, check_admitted, check_halted, close_job
from client.guard.alone import alone
from client.guard.budget import Budget, BudgetError
from client.guard.receipts import keep_receipt
from client.guard.refusals import refusing
from client.guard.rules import (
    check_job,
    check_message,
    check_plan,
    check_sampling,
    check_server,
)
from client.ledger_store import Key, LedgerStore, StoredRelease
from client.store import ClientStore, read_policy
from client.training import Compute
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.errors import Code, DataError, PrivacyError, ProtocolError
from common.job import Job
from common.privacy.events import GaussianSumEvent
from common.privacy.ledger import Row
from common.privacy.mechanisms import SumMechanism, mechanism_for
from common.privacy.policy import Policy
from common.privacy.stream import NoiseSource
from common.protocol import OK, ReceiptMessage, Reply, Task
from common.schedule import Schedule, count_steps, schedule_of

__all__ = ["Check", "Clock", "Guard"]

Clock: TypeAlias = Callable[[], datetime]
"""Says what time it is, in UTC."""
Check: TypeAlias = Callable[[Schedule], Compute]
"""Checks what a task brings, without looking at data, and returns what computes it."""


class Guard:
    """Stands between a task and the client's data. Use as a context manager."""

    def __init__(
        self, store: ClientStore, policy: Policy, ledger: LedgerStore, clock: Clock | None = None
    ) -> None:
        self._store = store
        self._policy = policy
        self._ledger = ledger
        self._clock = clock

    @classmethod
    def open(cls, store: ClientStore, clock: Clock | None = None) -> Self:
        """Open the client's ledger under its policy.

        Args:
            store: the client's folder.
            clock: what time it is, in UTC; None is the machine's.

        Raises:
            LedgerError: the ledger is foreign, broken, missing, or cannot be written.
            PolicyError: `policy-missing`: what nobody allowed is refused.
            ConfigError: the policy cannot be read.
        """
        settings = store.settings
        ledger = LedgerStore.open(
            store.ledger_path,
            settings.name,
            settings.dataset_id,
            survives_power_cut=not settings.simulated,
            clock=clock,
        )
        try:
            with refusing(ledger, stranger=_today(clock)):
                return cls(store, read_policy(store.folder), ledger, clock)
        except BaseException:
            ledger.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    @property
    def ledger_key(self) -> str:
        """Public half of the key that signs the ledger's heads."""
        return self._ledger.public_key

    def look(self, records: RecordDict) -> None:
        """What is asked of every message before anything in it is parsed.

        Raises:
            PolicyError: `policy-message`, it is too large.
            LedgerError: `ledger-rolled-back`, nothing is answered any more.
        """
        with self.refusing(known=False):
            check_message(self._policy, records)
            check_halted(self._ledger)

    def read(self, records: RecordDict) -> Task:
        """The task in a message.

        Raises:
            HushRecError: it is refused before, or cannot be read.
        """
        self.look(records)
        with self.refusing(known=False):
            return Task.from_records(records)

    def take_receipt(self, records: RecordDict) -> None:
        """Keep the receipt that a message brings.

        Raises:
            HushRecError: it is refused; after `ledger-rolled-back` everything is.
        """
        self.look(records)
        with self.refusing(known=False):
            receipt = ReceiptMessage.from_records(records).receipt
            keep_receipt(self._ledger, self._policy, receipt)

    def answer(self, task: Task, check: Check) -> Reply:
        """Answer a task: from the store if it was answered, else by computing it.

        Raises:
            HushRecError: refused; a `refuse` row says why. Nothing was reserved, unless the
                computation itself failed.
        """
        key = Key(task.job.job_id, task.step, task.session)
        with self.refusing(task, known=False):
            if task.receipt is not None:  # whoever brings a later head has proof of it
                self._ledger.check_receipt(task.receipt)
            check_server(self._policy, task)
        with self.refusing(task):
            if task.receipt is not None:
                keep_receipt(self._ledger, self._policy, task.receipt, task.job.server)
            stored = self._find(key, task)
            if stored is not None and stored.payload:
                return _reply(stored, stored.payload)
            schedule = self._allowed(task)
            compute = check(schedule)
        with alone(self._store.ledger_path):
            return self._release(key, task, schedule, compute)

    def _release(self, key: Key, task: Task, schedule: Schedule, compute: Compute) -> Reply:
        """Reserve, compute and commit a release; or compute again what was not kept."""
        with self.refusing(task):
            stored = self._find(key, task)  # somebody may have answered it meanwhile
            if stored is not None and stored.payload:
                return _reply(stored, stored.payload)
            mechanism = mechanism_for(schedule.plan, task.step, self._noise(task))
            if stored is None:
                charge = _charge(mechanism)
                reservation = self._reserve(key, task.request_hash, schedule, charge)
            else:
                check_halted(self._ledger)
                check_admitted(self._ledger, task.job, self._snapshot())
        with self.refusing(task, quote=False):
            payload = arrays_to_bytes(compute(mechanism))
            if stored is None:
                kept = payload if _is_kept(schedule, task.step) else b""
                stored = self._commit(key, task.request_hash, payload, reservation, kept=kept)
            else:
                self._check_as_charged(stored, payload)
        # another process may have answered first: what is stored is what was charged
        return _reply(stored, stored.payload or payload)

    def _find(self, key: Key, task: Task) -> StoredRelease | None:
        stored = self._ledger.find(key)
        if stored is not None:
            self._ledger.same_request(stored, key, task.request_hash)
        return stored

    def _check_as_charged(self, stored: StoredRelease, payload: bytes) -> None:
        """What was computed again is, to the bit, what left before.

        Raises:
            PrivacyError: `replay-conflict`, it is not: it would be a second look at the data.
        """
        digest = hashlib.sha256(payload).hexdigest()
        spends = (row for row in self._ledger.rows("spend") if row.seq == stored.head.seq)
        if not any(row.body["release_sha256"] == digest for row in spends):
            raise PrivacyError(
                Code.REPLAY_CONFLICT,
                "computed again, the release is not the one that was charged.",
                remedy="Its bytes were not kept; start a new job, which is charged for itself.",
            )

    def close_job(self, job_id: str) -> None:
        """End a job, as the client's owner; see `admission.close_job`."""
        close_job(self._ledger, job_id)

    def refusing(
        self, task: Task | None = None, *, quote: bool = True, known: bool = True
    ) -> AbstractContextManager[None]:
        """Record what goes wrong inside, and let it go on; see `refusals.refusing`."""
        stranger = None if known else _today(self._clock)
        return refusing(self._ledger, task, quote=quote, stranger=stranger)

    def _allowed(self, task: Task) -> Schedule:
        """The schedule of a job that the policy lets this client take part in.

        Raises:
            PolicyError: it breaks a rule.
            PlanError: the plan is not to be had at all.
            DataError: `catalogue-mismatch`, it is about other items.
            ProtocolError: `protocol-invalid`, the plan has no such step.
        """
        check_job(self._policy, task.job, self._store.settings)
        self._check_catalogue(task.job)
        check_plan(self._policy, count_steps(task.job))
        schedule = schedule_of(task.job)
        check_sampling(self._policy, schedule.plan)
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

    def _reserve(
        self, key: Key, request: str, schedule: Schedule, charge: Mapping[str, Any]
    ) -> int:
        """Write the plan as a whole, once per job, and the step's cost, if all caps hold then.

        What is judged is the ledger as it would be, by its own tables, before it is so.

        Raises:
            LedgerError: `ledger-rolled-back`, another process learned of it meanwhile.
            PrivacyError: the job changed, or the log changed under it.
            PolicyError: the job was closed, or a cap would be exceeded. Mode `none` has no
                cost that a cap could hold: the policy and client.toml have both allowed it.
        """
        body = {
            "job_id": key.job_id,
            "step": key.step,
            "session": key.session,
            "request_hash": request,
            **charge,
        }
        try:
            with self._ledger.transaction():
                check_halted(self._ledger)
                admit(self._ledger, schedule, self._snapshot())
                row = self._ledger.append("reserve", body)
                after = self._budget(_day(row))
                if schedule.plan.mode != "none":
                    after.hold()
        except BudgetError:  # taken back: what the ledger holds now is what it held before
            after.hold(self._budget(_today(self._clock)))
            raise
        return row.seq

    def _budget(self, today: date) -> Budget:
        return Budget.read(self._ledger, self._policy, today)

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


def _is_kept(schedule: Schedule, step: int) -> bool:
    """Exact sums (mode `none`) protect nobody and can be huge: only their hash is kept.

    Noise and samples cannot be drawn again: what holds any must be kept. It is never empty.
    """
    plan = schedule.plan
    return plan.mode != "none" or plan.releases[step].sampling_rate < 1


def _reply(stored: StoredRelease, payload: bytes) -> Reply:
    return Reply(OK, arrays_from_bytes(payload), stored.head)


def _day(row: Row) -> date:
    return datetime.fromisoformat(row.time).astimezone(UTC).date()


def _today(clock: Clock | None) -> date:
    now = datetime.now(UTC) if clock is None else clock()
    return now.astimezone(UTC).date()

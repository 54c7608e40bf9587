"""One release: reserve, compute, commit, and nothing before what comes before it is on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from client.guard.admission import admit, check_admitted, check_halted
from client.guard.budget import Budget, BudgetError
from client.guard.entrance import Entrance, today
from client.guard.refusals import Asked
from client.ledger_store import Key, StoredRelease
from client.store import ClientStore
from client.unready import unready
from common.errors import Code, PrivacyError
from common.privacy.events import Event, NoPrivacyEvent
from common.privacy.ledger import Row
from common.privacy.stream import NoiseSource
from common.protocol import SumCall
from common.public_codes import about_data
from common.schedule import Schedule

__all__ = ["Releasing", "charge_of", "key_of"]


class _TakenBack(Exception):  # noqa: N818 - nothing is wrong
    """Ends a transaction that was only to be looked at."""


class Charged(Protocol):
    """A mechanism, as far as it is charged."""

    @property
    def event(self) -> Event: ...

    @property
    def is_private(self) -> bool: ...


_Mechanism = TypeVar("_Mechanism", bound=Charged)


def key_of(asked: Asked) -> Key:
    """What makes two requests the same."""
    return Key(asked.job.job_id, asked.step, asked.session)


class Releasing(Entrance[ClientStore]):
    """A client's ledger under its policy, and the one way in which a release is charged."""

    def _released(
        self,
        asked: Asked,
        schedule: Schedule,
        make: Callable[[NoiseSource], _Mechanism],
        compute: Callable[[_Mechanism], bytes],
    ) -> tuple[StoredRelease, bytes]:
        """Reserve, compute and commit a release; or compute again what was not kept.

        Args:
            asked: what is answered; the caller is alone with the ledger.
            schedule: the job with its plan.
            make: the mechanism of the release.
            compute: the bytes of the release, which data reach through the mechanism alone.

        Returns:
            The release as it is stored, and its bytes.
        """
        key, request = key_of(asked), asked.request_hash
        with self.refusing(asked):
            stored = self._find(key, request)  # somebody may have answered it meanwhile
            if stored is not None and stored.payload:
                return stored, stored.payload
            mechanism = make(self._noise(asked))
        if stored is None:
            self._check_current(asked)
        with self.refusing(asked):
            if stored is None:
                reservation = self._reserve(key, request, schedule, charge_of(mechanism))
            else:
                check_halted(self._ledger)
                check_admitted(self._ledger, asked.job, self._snapshot())
        with self.refusing(asked, quote=False), about_data(keeps_code=True):
            payload = compute(mechanism)
            if stored is None:
                kept = payload if _is_kept(schedule, asked.step) else b""
                stored = self._commit(key, request, payload, reservation, kept=kept)
            else:
                self._check_as_charged(stored, payload)
        # another process may have answered first: what is stored is what was charged
        return stored, stored.payload or payload

    def _check_current(self, asked: Asked) -> None:
        """A job begins with the log as it is now; who calls is alone with the ledger.

        Data are looked at, so that no row quotes what is wrong with them.

        Raises:
            PrivacyError: `snapshot-changed`, the log was replaced since it was read.
            DataError: `client-unready`, with one that cannot be used.
        """
        with self.refusing(asked, quote=False):
            if self._ledger.job(asked.job.job_id) is not None:
                return
            try:
                snapshot = _snapshot_now(self._store.folder)
            except Exception as error:
                raise unready(error, self._store.folder) from error
            if snapshot != self._store.snapshot:
                raise PrivacyError(
                    Code.SNAPSHOT_CHANGED,
                    "the event log was replaced just now.",
                    remedy="Ask again: the job then begins with the new one.",
                )

    def _find(self, key: Key, request: str) -> StoredRelease | None:
        stored = self._ledger.find(key)
        if stored is not None:
            self._ledger.same_request(stored, key, request)
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

    def _reserve(
        self,
        key: Key,
        request: str,
        schedule: Schedule,
        charge: Mapping[str, Any],
        *,
        taken_back: bool = False,
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
                shops = self._policy.max_shops_per_shopper
                admit(self._ledger, schedule, self._snapshot(), shops=shops)
                row = self._ledger.append("reserve", body)
                after = self._budget(_day(row))
                if schedule.plan.mode != "none":
                    after.hold()
                if taken_back:
                    raise _TakenBack
        except BudgetError:  # taken back: what the ledger holds now is what it held before
            after.hold(self._budget(today(self._clock)))
            raise
        return row.seq

    def _afford(
        self, key: Key, request: str, schedule: Schedule, charge: Mapping[str, Any]
    ) -> None:
        """Whether a release could be reserved now; nothing is written.

        Raises:
            HushRecError: as `_reserve`.
        """
        with suppress(_TakenBack):
            self._reserve(key, request, schedule, charge, taken_back=True)

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

    def _noise(self, asked: Asked) -> NoiseSource:
        settings = self._store.settings
        if settings.noise_seed is None:
            return NoiseSource.system()
        label = f"{settings.noise_seed}|{settings.name}|{asked.job.seed}|{asked.step}"
        if isinstance(asked, SumCall):  # every attempt at a sum has noise of its own
            label += f"|{asked.session}"
        seed = int.from_bytes(hashlib.sha256(label.encode()).digest(), "big")
        return NoiseSource.seeded(seed)


def _snapshot_now(folder: Path) -> str:
    return ClientStore.open(folder).snapshot


def charge_of(mechanism: Charged) -> dict[str, Any]:
    """What a `reserve` row says that the release costs."""
    event = mechanism.event
    charge: dict[str, Any] = {"event": event.model_dump(mode="json")}
    if not isinstance(event, NoPrivacyEvent) and not mechanism.is_private:
        charge["reproducible"] = True
    return charge


def _is_kept(schedule: Schedule, step: int) -> bool:
    """Exact sums (mode `none`) protect nobody and can be huge: only their hash is kept.

    Noise and samples cannot be drawn again: what holds any must be kept. It is never empty.
    """
    plan = schedule.plan
    return plan.mode != "none" or plan.releases[step].sampling_rate < 1


def _day(row: Row) -> date:
    return datetime.fromisoformat(row.time).astimezone(UTC).date()

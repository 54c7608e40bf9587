"""What a ledger's rows amount to: the slow and obvious oracle of the store's own tables.

Three things decide what may still be released: what was reserved and when, what open jobs
still hold of their admitted plans, and which jobs there are. `derive` reads them off the rows.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from pydantic import ValidationError

from common.errors import Code, LedgerError
from common.privacy.events import event_of
from common.privacy.ledger_rows import PlainRow, Row
from common.privacy.plan import PrivacyPlan, Release

__all__ = [
    "AdmittedJob",
    "Derived",
    "admitted_job",
    "body_of",
    "derive",
    "event_text",
    "planned_events",
]

_REMEMBERED: Final = 1 << 12
_texts: Final[dict[str, str]] = {}
"""Canonical JSON by what Python shows, which costs a third: most events were seen before."""


@dataclass(frozen=True)
class AdmittedJob:
    """A job whose plan was admitted.

    Attributes:
        job_id: HushRec's id of it.
        fingerprint: hash of the job as it was admitted.
        snapshot: keyed hash of the data that it works on.
        seq: number of its `admit` row.
        closed: whether the owner ended it.
        server: public key of the server that asked, None if nobody signed.
    """

    job_id: str
    fingerprint: str
    snapshot: str
    seq: int
    closed: bool = False
    server: str | None = None


@dataclass
class Derived:
    """What rows add up to.

    Attributes:
        reserved: reservations by day (UTC, `YYYY-MM-DD`) and event in canonical JSON.
        pledged: events that open jobs have not reserved yet, by job and step.
        jobs: admitted jobs by id, as their first `admit` row says.
    """

    reserved: Counter[tuple[str, str]] = field(default_factory=Counter)
    pledged: dict[str, dict[int, str]] = field(default_factory=dict)
    jobs: dict[str, AdmittedJob] = field(default_factory=dict)

    def counts(self, since: date | None = None) -> Counter[str]:
        """Reservations by event, all or those from the day `since` on."""
        found: Counter[str] = Counter()
        for (day, event), count in self.reserved.items():
            if since is None or day >= since.isoformat():
                found[event] += count
        return found

    def held(self) -> Counter[str]:
        """What open jobs still hold, by event."""
        return Counter(event for steps in self.pledged.values() for event in steps.values())

    def add(self, row: Row | PlainRow) -> None:
        """Take the next row.

        Raises:
            LedgerError: `ledger-broken`, the row lacks what its kind has.
        """
        if row.kind == "reserve":
            body = body_of(row, job_id=str, step=int, event=dict)
            self.reserved[row.time[:10], event_text(body["event"])] += 1
            self.pledged.get(body["job_id"], {}).pop(body["step"], None)
        elif row.kind == "admit":
            self._admit(row)
        elif row.kind == "close":
            self._close(body_of(row, job_id=str)["job_id"])

    def _admit(self, row: Row | PlainRow) -> None:
        job = admitted_job(row)
        if job.job_id not in self.jobs:
            self.jobs[job.job_id] = job
            self.pledged[job.job_id] = dict(enumerate(planned_events(row)))

    def _close(self, job_id: str) -> None:
        if job_id in self.jobs:
            self.jobs[job_id] = replace(self.jobs[job_id], closed=True)
            self.pledged[job_id] = {}


def derive(rows: Iterable[Row | PlainRow]) -> Derived:
    """What `rows` add up to.

    Raises:
        LedgerError: `ledger-broken`, a row lacks what its kind has.
    """
    derived = Derived()
    for row in rows:
        derived.add(row)
    return derived


def event_text(event: Mapping[str, Any]) -> str:
    """An event's canonical JSON: equal events have equal texts."""
    shown = repr(event)
    text = _texts.get(shown)
    if text is None:
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if len(_texts) >= _REMEMBERED:
            _texts.clear()
        _texts[shown] = text
    return text


def admitted_job(row: Row | PlainRow) -> AdmittedJob:
    """The job that an `admit` row is about.

    Raises:
        LedgerError: `ledger-broken`, it does not say.
    """
    body = body_of(row, job_id=str, fingerprint=str, snapshot=str)
    return AdmittedJob(
        job_id=body["job_id"],
        fingerprint=body["fingerprint"],
        snapshot=body["snapshot"],
        seq=row.seq,
        server=body.get("server"),
    )


def planned_events(row: Row | PlainRow) -> list[str]:
    """What each step of an admitted plan will cost, in canonical JSON, by step.

    Raises:
        LedgerError: `ledger-broken`, the row has no plan that can be read.
    """
    try:
        plan = PrivacyPlan.model_validate(row.body.get("plan"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, ("plan", *problem["loc"])))
        raise _malformed(row, f"{place}: {problem['msg']}") from None
    return [_planned(release) for release in plan.releases]


def body_of(row: Row | PlainRow, **fields: type) -> Mapping[str, Any]:
    """The body, with the named fields of the named types.

    Raises:
        LedgerError: `ledger-broken`, one is missing or of another type.
    """
    for name, kind in fields.items():
        if type(row.body.get(name)) is not kind:
            raise _malformed(row, f"{name} is missing or not {kind.__name__}")
    return row.body


@functools.lru_cache(maxsize=1 << 12)
def _planned(release: Release) -> str:
    """Jobs repeat, so that most of their releases were seen before."""
    return event_text(event_of(release).model_dump(mode="json"))


def _malformed(row: Row | PlainRow, what: str) -> LedgerError:
    return LedgerError(
        Code.LEDGER_BROKEN,
        f"row {row.seq} ({row.kind}) cannot be used: {what}.",
        where="ledger",
        remedy="Use a version of HushRec at least as new as the one that wrote it.",
    )

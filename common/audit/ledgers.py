"""A ledger's history against what it says of itself: plans, reservations, spends, and their ε."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from common.audit.findings import Finding
from common.audit.recompute import Recomputed, nothing_promised, recompute
from common.errors import HushRecError
from common.privacy.accounting import Guarantee
from common.privacy.events import Event, event_of, read_event
from common.privacy.guarantees import AgainstWhom, guarantee_fault
from common.privacy.ledger import PlainRow, Row
from common.privacy.plan import PrivacyPlan

__all__ = ["JobAudit", "LedgerAudit", "audit_ledger", "unreadable"]

_ABSURD: Final = (ValidationError, ValueError, ArithmeticError, MemoryError)
"""What numbers that nobody planned with may raise; a file can hold any."""
_LEEWAY: Final = 1e-3
"""Part by which a plan's ε may be above its target: none is; less than any rounding shown."""


@dataclass(frozen=True)
class JobAudit:
    """One admitted plan.

    Attributes:
        job_id: of the job.
        plan: as admitted.
        server: public key of who asked, None if nobody signed.
        recomputed: ε of the whole plan, at the plan's δ.
        reserved: reservations, by step.
        spent: steps whose bytes exist.
        closed: the owner ended it.
        guarantees: of secure sums, what the row says that the plan promises, and against whom;
            empty where that does not fit the plan.
    """

    job_id: str
    plan: PrivacyPlan
    server: str | None
    recomputed: Recomputed
    reserved: Mapping[int, int]
    spent: frozenset[int]
    closed: bool
    guarantees: tuple[AgainstWhom, ...] = ()

    @property
    def guarantee(self) -> Guarantee:
        """What the plan promises, by PLD."""
        return Guarantee(
            epsilon=self.recomputed.pld,
            delta=self.plan.delta,
            unit=self.plan.unit,
            mode=self.plan.mode,
            terms=self.plan.terms,
        )

    def to_json(self) -> dict[str, Any]:
        """Figures of the job."""
        return {
            "job_id": self.job_id,
            "server": self.server,
            "unit": self.plan.unit,
            "mode": self.plan.mode,
            "delta": self.plan.delta,
            "epsilon_planned": self.plan.epsilon,
            "releases_planned": len(self.plan.releases),
            "reservations": sum(self.reserved.values()),
            "released": len(self.spent),
            "closed": self.closed,
            "recomputed": self.recomputed.to_json(),
            "guarantees": [one.model_dump() for one in self.guarantees],
        }


@dataclass(frozen=True)
class LedgerAudit:
    """What a ledger's rows amount to, and what is wrong with them.

    Attributes:
        client: whose ledger.
        dataset_id: about which data.
        rows: how many.
        head: hash of the last row.
        jobs: admitted plans, in order.
        events: events in force, in order.
        total: ε of all reservations together, as if all plans had been fixed in advance.
        unspent: reservations without bytes.
        reproducible: a seed decided the noise of some release, so that no ε holds.
        refused: rows of refusals by code.
        findings: what does not hold.
    """

    client: str
    dataset_id: str
    rows: int
    head: str
    jobs: tuple[JobAudit, ...]
    events: tuple[Event, ...]
    total: Recomputed
    unspent: int
    reproducible: bool
    refused: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def promised(self) -> bool:
        """Whether anything is promised: every release had noise, and none from a seed."""
        return not self.reproducible and math.isfinite(self.total.pld)

    def to_json(self) -> dict[str, Any]:
        """Figures of the ledger."""
        return {
            "client": self.client,
            "dataset_id": self.dataset_id,
            "rows": self.rows,
            "head": self.head,
            "jobs": [job.to_json() for job in self.jobs],
            "total_as_if_fixed_in_advance": self.total.to_json(),
            "unspent_reservations": self.unspent,
            "noise_from_a_seed": self.reproducible,
            "refused": dict(self.refused),
            "findings": [finding.model_dump() for finding in self.findings],
        }


def unreadable(client: str, dataset_id: str, rows: int, head: str, delta: float) -> LedgerAudit:
    """Of a ledger whose chain does not hold: nothing is read, and nothing promised."""
    return LedgerAudit(
        client=client,
        dataset_id=dataset_id,
        rows=rows,
        head=head,
        jobs=(),
        events=(),
        total=nothing_promised(delta),
        unspent=0,
        reproducible=False,
        refused={},
        findings=(),
    )


def audit_ledger(rows: Sequence[Row | PlainRow], delta: float | None = None) -> LedgerAudit:
    """Hold every reservation to its plan, and every plan to its ε.

    Args:
        rows: all rows in order; their chain is `verify`'s business.
        delta: δ of the total; None takes the largest of a plan.
    """
    reader = _Reader(client=str(rows[0].body.get("client", "")) if rows else "")
    for row in rows:
        reader.read(row)
    deltas = [plan.delta for plan in reader.plans.values() if plan.delta > 0]
    at = delta if delta is not None else max(deltas, default=0.0)
    total = reader.recomputed("all reservations", reader.events, at)
    jobs = tuple(reader.job(job_id) for job_id in reader.plans)
    for job in jobs:
        reader.check_epsilon(job)
    if not total.agrees:
        reader.found("recompute", "all reservations", _apart(total))
    return LedgerAudit(
        client=reader.client,
        dataset_id=str(rows[0].body.get("dataset_id", "")) if rows else "",
        rows=len(rows),
        head=rows[-1].hash if rows else "",
        jobs=jobs,
        events=tuple(reader.events),
        total=total,
        unspent=len(reader.open),
        reproducible=reader.reproducible,
        refused=dict(reader.refused),
        findings=tuple(reader.findings),
    )


@dataclass
class _Reader:
    """Reads rows in order."""

    client: str
    plans: dict[str, PrivacyPlan] = field(default_factory=dict)
    servers: dict[str, str | None] = field(default_factory=dict)
    reserved: dict[str, Counter[int]] = field(default_factory=dict)
    spent: dict[str, set[int]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    promised: dict[str, tuple[AgainstWhom, ...]] = field(default_factory=dict)
    open: dict[int, tuple[str, int, Any]] = field(default_factory=dict)
    masked: set[tuple[str, int, Any]] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    reproducible: bool = False
    findings: list[Finding] = field(default_factory=list)

    def read(self, row: Row | PlainRow) -> None:
        """Take the next row; what it lacks is a finding."""
        try:
            getattr(self, f"_{row.kind}", lambda _: None)(row)
        except (KeyError, TypeError, AttributeError, *_ABSURD, HushRecError) as error:
            self.found("recompute", f"row {row.seq}", f"cannot be read: {type(error).__name__}")

    def job(self, job_id: str) -> JobAudit:
        """What was read about an admitted job."""
        plan = self.plans[job_id]
        return JobAudit(
            job_id=job_id,
            plan=plan,
            server=self.servers[job_id],
            recomputed=self._planned(job_id, plan),
            reserved=dict(self.reserved[job_id]),
            spent=frozenset(self.spent[job_id]),
            closed=job_id in self.closed,
            guarantees=self.promised.get(job_id, ()),
        )

    def _planned(self, job_id: str, plan: PrivacyPlan) -> Recomputed:
        where = f"plan of job {job_id[:12]}"
        try:
            events = [event_of(release) for release in plan.releases]
        except (*_ABSURD, HushRecError) as error:
            self.found("recompute", where, f"has no event: {type(error).__name__}")
            return nothing_promised(plan.delta)
        return self.recomputed(where, events, plan.delta)

    def recomputed(self, where: str, events: Sequence[Event], delta: float) -> Recomputed:
        """ε of `events`; what no accountant can take is a finding, and promises nothing."""
        try:
            return recompute(events, delta)
        except _ABSURD as error:
            self.found("recompute", where, f"no accountant can take it: {type(error).__name__}")
            return nothing_promised(delta)

    def check_epsilon(self, job: JobAudit) -> None:
        """The accountants agree, and neither finds more than the plan was made for."""
        where, target = f"plan of job {job.job_id[:12]}", job.plan.epsilon
        if not job.recomputed.agrees:
            self.found("recompute", where, _apart(job.recomputed))
        if target is not None and job.recomputed.pld > target * (1 + _LEEWAY):
            what = f"promises ε = {target:g} and costs {job.recomputed.pld:.4g}"
            self.found("recompute", where, f"{what} at δ = {job.plan.delta:g}")

    def found(self, layer: Any, where: str, what: str) -> None:
        """Keep a finding."""
        place = f"{self.client}, {where}" if self.client else where
        self.findings.append(Finding(layer=layer, where=place, what=f"{what}."))

    def _admit(self, row: Row | PlainRow) -> None:
        job_id = row.body["job_id"]
        if job_id in self.plans:
            self.found("recompute", f"row {row.seq}", f"admits job {job_id[:12]} a second time")
            return
        plan, promised = PrivacyPlan.model_validate(row.body["plan"]), row.body.get("guarantees")
        self.plans[job_id] = plan
        self.servers[job_id] = row.body.get("server")
        self.reserved[job_id], self.spent[job_id] = Counter(), set()
        fault = guarantee_fault(plan, promised)
        if fault is not None:
            self.found("recompute", f"row {row.seq}", fault)
        elif promised:
            self.promised[job_id] = tuple(AgainstWhom.load(one) for one in promised)

    def _reserve(self, row: Row | PlainRow) -> None:
        job_id, step = row.body["job_id"], row.body["step"]
        event = read_event(row.body["event"])
        self.events.append(event)
        self.open[row.seq] = (job_id, step, row.body.get("session"))
        self.reproducible = self.reproducible or bool(row.body.get("reproducible"))
        plan = self.plans.get(job_id)
        if plan is None:
            self.found("recompute", f"row {row.seq}", "reserves for a job that was not admitted")
            return
        self.reserved[job_id][step] += 1
        if job_id in self.closed:
            self.found("recompute", f"row {row.seq}", "reserves for a job that was closed")
        if not 0 <= step < len(plan.releases):
            self.found("recompute", f"row {row.seq}", f"reserves step {step}, which no plan has")
        elif event != event_of(plan.releases[step]):
            self.found(
                "recompute", f"row {row.seq}", f"step {step} is charged otherwise than planned"
            )

    def _spend(self, row: Row | PlainRow) -> None:
        job_id, step, session = self.open.pop(row.body["reservation"])
        self.masked.add((job_id, step, session))
        if job_id in self.spent:
            self.spent[job_id].add(step)

    def _agree(self, row: Row | PlainRow) -> None:
        """A list that this client signed: of a sum that its words are in, and of enough clients."""
        job_id, names = row.body["job_id"], list(row.body["survivors"])
        plan = self.plans.get(job_id)
        terms = None if plan is None else plan.terms
        if terms is None or (job_id, row.body["step"], row.body["session"]) not in self.masked:
            what = "agrees to survivors of a secure sum that nothing was released for"
        elif len(set(names)) < terms.threshold or self.client not in names:
            what = (
                f"agrees to {len(set(names))} survivors; it takes {terms.threshold}, "
                f"{self.client} among them"
            )
        else:
            return
        self.found("recompute", f"row {row.seq}", what)

    def _close(self, row: Row | PlainRow) -> None:
        self.closed.add(row.body["job_id"])

    def _refuse(self, row: Row | PlainRow) -> None:
        self.refused[str(row.body["code"])] += 1


def _apart(found: Recomputed) -> str:
    named = {"PLD": found.pld, "PRV": found.prv, "closed form": found.closed}
    said = ", ".join(f"{name} {v:.4g}" for name, v in named.items() if v is not None)
    return f"the accountants do not agree on ε at δ = {found.delta:g}: {said}"

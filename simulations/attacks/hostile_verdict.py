"""What a client really gave away, recomputed from its ledger and from the answers it sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from client.ledger_store import LedgerStore
from common.privacy.accounting import epsilon
from common.privacy.events import Event, read_event
from common.privacy.filters import Filter, total_cost
from common.privacy.ledger import Row, verify
from common.privacy.ledger_index import derive
from common.privacy.policy import Policy
from simulations.attacks.hostile_target import Answer, Target

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """One client after the siege.

    Attributes:
        client: its name.
        filter: what holds its cap.
        cap: ε that all releases together may cost.
        delta: δ of the cap.
        epsilon_filter: ε of everything reserved, by the filter.
        epsilon_held: the same with what open jobs still hold of their plans.
        epsilon_pld: ε of everything reserved, by privacy-loss distributions.
        jobs: jobs that were admitted.
        reserved: releases that were charged.
        sent: different releases that were answered.
        over_lifetime: reservations after which the lifetime cap did not hold.
        over_period: reservations after which the cap of some period did not hold.
        uncharged: releases that were answered and that no reservation paid for.
        two_answers: steps that were answered with different bytes.
        undeclared: fields of answers that nothing declares.
        halted: whether somebody made the client believe that its ledger was rolled back.
    """

    client: str
    filter: str
    cap: float
    delta: float
    epsilon_filter: float
    epsilon_held: float
    epsilon_pld: float
    jobs: int
    reserved: int
    sent: int
    over_lifetime: int
    over_period: int
    uncharged: int
    two_answers: int
    undeclared: int
    halted: bool

    @property
    def got_through(self) -> int:
        """Everything that should be 0."""
        return (
            self.over_lifetime
            + self.over_period
            + self.uncharged
            + self.two_answers
            + self.undeclared
            + int(self.halted)
            + int(self.epsilon_held > self.cap)
            + int(self.epsilon_pld > self.cap)
        )

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {**asdict(self), "got_through": self.got_through}


def judge(target: Target, answers: Sequence[Answer]) -> Verdict:
    """Read the ledger whole, row by row, and hold the answers to it.

    Raises:
        LedgerError: the ledger's chain, or what its tables say, does not hold.
    """
    settings = target.store.settings
    path = target.store.ledger_path
    with LedgerStore.open(path, settings.name, settings.dataset_id) as ledger:
        ledger.verify()
        rows = ledger.rows()
    verify(rows, client=settings.name, dataset_id=settings.dataset_id)
    reserved = [row for row in rows if row.kind == "reserve"]
    events = [read_event(row.body["event"]) for row in reserved]
    held = [read_event(json.loads(text)) for text in derive(rows).held().elements()]
    policy, chosen = target.policy, target.policy.filter()
    digests: dict[tuple[str, int], set[str]] = {}
    for answer in answers:
        if answer.digest is not None:
            digests.setdefault((answer.job_id, answer.step), set()).add(answer.digest)
    return Verdict(
        client=settings.name,
        filter=chosen.name,
        cap=policy.lifetime.epsilon,
        delta=policy.lifetime.delta,
        epsilon_filter=chosen.epsilon(total_cost(chosen, events)),
        epsilon_held=chosen.epsilon(total_cost(chosen, [*events, *held])),
        epsilon_pld=epsilon(events, policy.lifetime.delta),
        jobs=sum(row.kind == "admit" for row in rows),
        reserved=len(reserved),
        sent=len(digests),
        over_lifetime=sum(not held for held in _held(chosen, events)),
        over_period=_over_period(policy, reserved, events),
        uncharged=_uncharged(rows, answers),
        two_answers=sum(len(found) > 1 for found in digests.values()),
        undeclared=sum(len(answer.undeclared) for answer in answers),
        halted=any(row.kind == "halt" for row in rows),
    )


def _held(chosen: Filter, events: Sequence[Event]) -> Iterable[bool]:
    """Whether the filter admits everything up to each event, added up anew each time."""
    return (chosen.admits(total_cost(chosen, events[: count + 1])) for count in range(len(events)))


def _over_period(policy: Policy, reserved: Sequence[Row], events: Sequence[Event]) -> int:
    days = [date.fromisoformat(row.time[:10]) for row in reserved]
    over = 0
    for period in policy.periods:
        chosen = policy.filter(period)
        for last, day in enumerate(days):
            first = day - timedelta(days=period.days - 1)
            window = [e for e, d in zip(events[: last + 1], days, strict=False) if d >= first]
            over += not chosen.admits(total_cost(chosen, window))
    return over


def _uncharged(rows: Sequence[Row], answers: Sequence[Answer]) -> int:
    """Releases that no `spend` row of that step names, or whose head is no row."""
    place = {
        row.seq: (row.body["job_id"], row.body["step"]) for row in rows if row.kind == "reserve"
    }
    paid = {
        (*place[row.body["reservation"]], row.body["release_sha256"])
        for row in rows
        if row.kind == "spend"
    }
    twice = Counter(row.body["reservation"] for row in rows if row.kind == "spend")
    bad = sum(count > 1 for count in twice.values())
    for answer in answers:
        if answer.digest is None or answer.head is None:
            continue
        charged = (answer.job_id, answer.step, answer.digest) in paid
        known = rows[answer.head.seq].hash == answer.head.hash
        bad += not (charged and known)
    return bad

"""What `hushrec budget` says about a client: every cap, what counts towards it, what is left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from client.guard.budget import Budget, Window
from client.ledger_store import LedgerStore
from client.owner import Owner
from common.privacy.accounting import NEIGHBOURING
from common.privacy.events import Event
from common.privacy.filters import Cost, how_many, numbers_left, releases_left
from common.privacy.ledger import Row
from common.privacy.ledger_index import derive, event_text
from common.privacy.policy import Period
from common.privacy.spending import cost_of

__all__ = ["BudgetView", "Fit", "Part", "WindowView", "fit", "view_budget"]

_LAST: Final = 5
"""Refusals that are shown."""


@dataclass(frozen=True)
class Part:
    """A part of what counts towards a cap.

    Attributes:
        releases: how many.
        share: of the cap, as the filter adds up; shares add up, ε does not.
        epsilon: by the filter, of these alone.
    """

    releases: int
    share: float
    epsilon: float

    def to_json(self) -> dict[str, Any]:
        """Null for infinity."""
        return {
            "releases": self.releases,
            "share": _finite(self.share),
            "epsilon": _finite(self.epsilon),
        }


@dataclass(frozen=True)
class WindowView:
    """One cap.

    Attributes:
        name: `lifetime`, or `any N days`.
        filter: what holds it.
        cap: ε.
        delta: δ.
        in_force: ε by the filter of everything that counts.
        spent: releases whose bytes exist.
        without_bytes: reserved, and nothing was ever sent.
        held: planned releases of open jobs that are not reserved yet.
        left: share of the cap; of the noise's bound or the samplers', whichever has less.
        left_epsilon: a plan made for this ε at the cap's δ still fits, if it releases no
            more than `left_numbers` numbers.
        left_numbers: noised numbers that one release by the exact sampler may still have,
            at most 10^12: the samplers' part of δ is small where a cap is high.
    """

    name: str
    filter: str
    cap: float
    delta: float
    in_force: float
    spent: Part
    without_bytes: Part
    held: Part
    left: float
    left_epsilon: float
    left_numbers: int

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "window": self.name,
            "filter": self.filter,
            "epsilon_cap": self.cap,
            "delta": self.delta,
            "epsilon_in_force": _finite(self.in_force),
            "spent": self.spent.to_json(),
            "reserved_without_bytes": self.without_bytes.to_json(),
            "held_for_open_jobs": self.held.to_json(),
            "left": {
                "share": self.left,
                "epsilon": self.left_epsilon,
                "numbers": self.left_numbers,
            },
        }


@dataclass(frozen=True)
class Fit:
    """Whether a plan still fits, and how often.

    Attributes:
        name: of the plan, in words.
        releases: in one plan.
        plans: whole plans that fit into every cap.
        rounds: releases that fit, in the plan's order, again and again.
        epsilon_then: ε in force by window, with one plan more.
        refused_by: windows that would refuse it.
    """

    name: str
    releases: int
    plans: int
    rounds: int
    epsilon_then: Mapping[str, float]
    refused_by: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure; null for infinity."""
        return {
            "plan": self.name,
            "releases": self.releases,
            "whole_plans_that_fit": self.plans,
            "rounds_that_fit": self.rounds,
            "epsilon_then": {name: _finite(value) for name, value in self.epsilon_then.items()},
            "refused_by": list(self.refused_by),
        }


@dataclass(frozen=True)
class BudgetView:
    """A client's budget on one day."""

    owner: Owner
    today: date
    windows: tuple[WindowView, ...]
    budget: Budget
    open_jobs: tuple[dict[str, Any], ...] = ()
    refused: Mapping[str, int] | None = None
    last_refused: tuple[dict[str, Any], ...] = ()
    halted: Mapping[str, Any] | None = None
    head: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything but what would fit."""
        policy, settings = self.owner.policy, self.owner.settings
        counts = dict(self.refused or {})
        return {
            "client": settings.name,
            "dataset_id": settings.dataset_id,
            "today": self.today.isoformat(),
            "unit": policy.unit,
            "neighbouring": NEIGHBOURING,
            "modes": list(policy.modes),
            "windows": [window.to_json() for window in self.windows],
            "open_jobs": list(self.open_jobs),
            "refused": {
                "count": sum(counts.values()),
                "by_code": counts,
                "last": list(self.last_refused),
            },
            "halted": None if self.halted is None else dict(self.halted),
            "head": self.head,
        }


def view_budget(owner: Owner, today: date) -> BudgetView:
    """Everything about the budget; a client that was never asked has spent nothing.

    Raises:
        LedgerError: the ledger is broken, foreign or cannot be read.
    """
    if not owner.has_ledger:
        windows = [Window(owner.policy.filter(p), p, {}) for p in (None, *owner.policy.periods)]
        budget = Budget(owner.policy, tuple(windows))
        return BudgetView(
            owner, today, tuple(_window(w, Counter(), Counter()) for w in windows), budget
        )
    with owner.ledger() as ledger, ledger.snapshot():
        return _view(owner, ledger, today)


def fit(view: BudgetView, name: str, events: Sequence[Event]) -> Fit:
    """How often a plan with these events fits on top of what is in force."""
    windows = view.budget.windows
    after = view.budget.after(events).windows
    return Fit(
        name=name,
        releases=len(events),
        plans=min(how_many(w.filter, w.cost, events) for w in windows),
        rounds=min(releases_left(w.filter, w.cost, events) for w in windows),
        epsilon_then={window.name: window.epsilon for window in after},
        refused_by=tuple(window.name for window in after if not window.holds),
    )


def _view(owner: Owner, ledger: LedgerStore, today: date) -> BudgetView:
    budget = Budget.read(ledger, owner.policy, today)
    pledged = Counter(ledger.pledged())
    unspent = _unspent(ledger)
    halt = ledger.last("halt")
    refusals = ledger.rows("refuse")
    return BudgetView(
        owner=owner,
        today=today,
        budget=budget,
        windows=tuple(
            _window(window, _within(unspent, window.period, today), pledged)
            for window in budget.windows
        ),
        open_jobs=tuple(_open_jobs(ledger)) if pledged else (),
        refused=Counter(str(row.body["code"]) for row in refusals),
        last_refused=tuple(_refusal(row) for row in refusals[-_LAST:][::-1]),
        halted=None if halt is None else halt.body,
        head=ledger.head,
    )


def _window(window: Window, unspent: Counter[str], pledged: Counter[str]) -> WindowView:
    spent = Counter(window.events) - pledged - unspent
    chosen, cost = window.filter, window.cost
    room = max(chosen.bound - cost.divergence, 0.0) if window.holds else 0.0
    slack = max(chosen.distance_bound - cost.distance, 0.0) if window.holds else 0.0
    numbers = numbers_left(chosen, cost) if window.holds else 0
    return WindowView(
        name=window.name,
        filter=window.filter.name,
        cap=window.cap.epsilon,
        delta=window.cap.delta,
        in_force=window.epsilon,
        spent=_part(window, spent),
        without_bytes=_part(window, unspent),
        held=_part(window, pledged),
        left=min(room / chosen.bound, slack / chosen.distance_bound),
        left_epsilon=min(chosen.epsilon(Cost(room)), window.cap.epsilon)
        if room and numbers
        else 0.0,
        left_numbers=numbers,
    )


def _part(window: Window, events: Counter[str]) -> Part:
    cost = cost_of(window.filter, events)
    share = cost.divergence / window.filter.bound
    return Part(events.total(), share, window.filter.epsilon(cost))


def _unspent(ledger: LedgerStore) -> list[Row]:
    """Reservations without bytes; rows are read only if there are any."""
    if ledger.count("reserve") == ledger.count("spend"):
        return []
    spent = {row.body["reservation"] for row in ledger.rows("spend")}
    return [row for row in ledger.rows("reserve") if row.seq not in spent]


def _within(rows: Sequence[Row], period: Period | None, today: date) -> Counter[str]:
    first = date.min if period is None else today - timedelta(days=period.days - 1)
    return Counter(
        event_text(row.body["event"]) for row in rows if date.fromisoformat(row.time[:10]) >= first
    )


def _open_jobs(ledger: LedgerStore) -> list[dict[str, Any]]:
    """Jobs that still hold planned releases, in order."""
    rows = ledger.rows()
    derived = derive(rows)
    held = {job_id: len(steps) for job_id, steps in derived.pledged.items() if steps}
    admitted = {row.seq: row for row in rows if row.kind == "admit"}
    return [
        {
            "job_id": job_id,
            "admitted": admitted[derived.jobs[job_id].seq].time,
            "server": derived.jobs[job_id].server,
            "releases": len(admitted[derived.jobs[job_id].seq].body["plan"]["releases"]),
            "held": count,
        }
        for job_id, count in held.items()
    ]


def _refusal(row: Row) -> dict[str, Any]:
    body = row.body
    return {
        "time": row.time,
        "code": body["code"],
        "job_id": body.get("job_id"),
        "step": body.get("step"),
        "detail": body.get("detail", ""),
        "would_be": body.get("would_be"),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

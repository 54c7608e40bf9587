"""A ledger against its owner's policy: was any cap ever exceeded, on any day."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from common.audit.findings import Finding
from common.privacy.filters import Cap
from common.privacy.ledger import PlainRow, Row
from common.privacy.policy import Period, Policy
from common.privacy.spending import cost_of

__all__ = ["CapAudit", "audit_caps"]


@dataclass(frozen=True)
class CapAudit:
    """One cap and the most that ever counted towards it.

    Attributes:
        window: `lifetime`, or `any N days`.
        filter: which filter holds it.
        cap: ε and δ.
        epsilon: the most by the filter, at the cap's δ, of reservations; infinite if no ε holds.
        until: last day of the window in which that was, None for the lifetime.
        holds: whether the filter admits it.
    """

    window: str
    filter: str
    cap: Cap
    epsilon: float
    until: str | None
    holds: bool

    def to_json(self) -> dict[str, Any]:
        """Figures of the cap."""
        return {
            "window": self.window,
            "filter": self.filter,
            "epsilon_cap": self.cap.epsilon,
            "delta": self.cap.delta,
            "epsilon_most": self.epsilon if math.isfinite(self.epsilon) else None,
            "until": self.until,
            "holds": self.holds,
        }


def audit_caps(
    client: str, rows: Sequence[Row | PlainRow], policy: Policy
) -> tuple[tuple[CapAudit, ...], list[Finding]]:
    """Every cap of `policy` over the reservations of a ledger.

    Where something left without a mechanism no cap holds. That is a finding unless the
    policy allows mode `none`: then its owner said so, and nothing is promised.

    Returns:
        The lifetime first, then the periods; and a finding for each that was exceeded.
    """
    by_day = _by_day(rows)
    audits = tuple(_audit(policy, period, by_day) for period in (None, *policy.periods))
    findings = [
        Finding(
            layer="budget",
            where=client,
            what=f"{audit.window}: ε = {audit.epsilon:.4g} by the {audit.filter}, the cap is "
            f"{audit.cap.epsilon:g} at δ = {audit.cap.delta:g}, unit {policy.unit}.",
        )
        for audit in audits
        if not audit.holds and not ("none" in policy.modes and math.isinf(audit.epsilon))
    ]
    return audits, findings


def _audit(policy: Policy, period: Period | None, by_day: Mapping[date, Counter[str]]) -> CapAudit:
    chosen = policy.filter(period)
    days = sorted(by_day)
    windows = {None: days} if period is None else {day: _window(days, day, period) for day in days}
    costs = {
        until: cost_of(chosen, sum((by_day[day] for day in inside), Counter()))
        for until, inside in windows.items()
    }
    worst = max(costs, key=lambda until: costs[until].divergence, default=None)
    return CapAudit(
        window="lifetime" if period is None else f"any {period.days} days",
        filter=chosen.name,
        cap=chosen.cap,
        epsilon=chosen.epsilon(costs[worst]) if worst in costs else 0.0,
        until=None if worst is None else worst.isoformat(),
        holds=all(chosen.admits(cost) for cost in costs.values()),
    )


def _window(days: Sequence[date], until: date, period: Period) -> list[date]:
    first = until - timedelta(days=period.days - 1)
    return [day for day in days if first <= day <= until]


def _by_day(rows: Sequence[Row | PlainRow]) -> dict[date, Counter[str]]:
    found: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.kind != "reserve":
            continue
        text = json.dumps(row.body["event"], sort_keys=True, separators=(",", ":"))
        found[date.fromisoformat(row.time[:10])][text] += 1
    return dict(found)

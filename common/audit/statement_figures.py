"""Figures of a statement: ε of plans, of everything so far and of caps, for one and m clients."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from scipy.special import ndtr

from common.audit.ledgers import LedgerAudit
from common.config import Settings
from common.errors import PlanError
from common.evaluation.private import STEP as EVALUATION
from common.privacy.accounting import ACCOUNTANT, epsilon
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    NoisySumEvent,
    event_of,
)
from common.privacy.gdp import gaussian_mu
from common.privacy.guarantees import shops_epsilon
from common.privacy.plan import PrivacyPlan
from common.privacy.policy import Policy

__all__ = ["Line", "cap_line", "line_of", "lines_of_plans", "right_guesses"]

_MOST_PLANS: Final = 3
"""Lines for plans: a page is a page."""


class Line(Settings):
    """One line of the table of figures."""

    what: str
    """What was, or may be, released."""
    epsilon: float | None
    """ε for a shopper of this client alone; None if none is finite."""
    delta: float
    """δ of it."""
    shops_epsilon: float | None = None
    """ε for a shopper of as many clients as the policy declares; None if none is finite, or
    none follows from what is known."""
    shops_delta: float
    """δ of that."""
    how: str
    """Accountant or filter."""
    shops_how: str = ACCOUNTANT
    """Accountant of the ε of several clients."""


def lines_of_plans(audit: LedgerAudit, shops: int) -> list[Line]:
    """A line for each kind of plan, the most frequent first; of many, the rest has one."""
    kinds = Counter(job.plan for job in audit.jobs).most_common()
    if len(kinds) <= _MOST_PLANS:
        return [_plan(plan, times, shops) for plan, times in kinds]
    lines = [_plan(plan, times, shops) for plan, times in kinds[: _MOST_PLANS - 1]]
    rest = [(_plan(plan, times, shops), times) for plan, times in kinds[_MOST_PLANS - 1 :]]
    dearest = max((line for line, _ in rest), key=lambda line: line.epsilon or math.inf)
    what = f"{sum(times for _, times in rest)} plans of other kinds, each at most"
    return [*lines, dearest.model_copy(update={"what": what})]


def _plan(plan: PrivacyPlan, times: int, shops: int) -> Line:
    which = "One plan" if times == 1 else f"Each of {times} plans"
    what = f"{which} of solver {_solver(plan)}, {len(plan.releases)} releases"
    if chosen := sum(release.selection is not None for release in plan.releases):
        what += f", {chosen} of rows that noised counts choose"
    return line_of(what, [event_of(release) for release in plan.releases], plan.delta, shops)


def _solver(plan: PrivacyPlan) -> str:
    """Whose the last release is that trains; the first ones may be another's, as a start."""
    steps = [release.step for release in plan.releases if release.step != EVALUATION]
    return (steps or [EVALUATION])[-1].partition(".")[0]


def line_of(what: str, events: Sequence[Event], delta: float, shops: int) -> Line:
    """ε by PLD; for m clients, of m times the events, or of m times their sensitivity.

    Where the samplers' distance to a Gaussian would take too much of δ, by concentrated DP, else
    by basic composition; nothing composes where all m clients are in one sum.
    """
    one = _finite(epsilon(events, delta) if delta else math.inf)
    several, several_delta, how = one, delta, ACCOUNTANT
    if one is not None and shops > 1:
        found, how = shops_epsilon(events, shops, delta)
        several = _finite(found)
        together = any(isinstance(event, DistributedDiscreteGaussianEvent) for event in events)
        if several is None and not together:
            several, several_delta = shops * one, shops * delta
    return Line(
        what=what,
        epsilon=one,
        delta=delta,
        shops_epsilon=several,
        shops_delta=several_delta,
        how=ACCOUNTANT,
        shops_how=how,
    )


def cap_line(what: str, cap: float, policy: Policy, shops: int) -> Line:
    """A cap; m of them by basic composition, which needs to know nothing about the releases.

    It does need m releases: a cap on a sum of all m clients says nothing of who is in it m
    times.
    """
    delta = policy.lifetime.delta
    together = shops > 1 and "distributed" in policy.modes
    return Line(
        what=what,
        epsilon=cap,
        delta=delta,
        shops_epsilon=None if together else shops * cap,
        shops_delta=shops * delta,
        how=policy.filter().name,
    )


def right_guesses(events: Sequence[Event], delta: float) -> tuple[float, float | None] | None:
    """How often a guess with even odds is right at most: in general, and for a Gaussian."""
    found = _finite(epsilon(events, delta)) if events else None
    if found is None:
        return None
    plain = all(isinstance(e, NoisySumEvent) and e.sampling_rate == 1 for e in events)
    try:
        gaussian = float(ndtr(gaussian_mu(found, delta) / 2)) if plain else None
    except PlanError:  # beyond what makes sense
        gaussian = None
    return min((1 + delta * math.exp(-found)) / (1 + math.exp(-found)), 1.0), gaussian


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

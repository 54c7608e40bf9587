"""From ε to noise and back, by the accountant that enforces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from common.errors import Code, PlanError
from common.privacy.accounting import Guarantee, slack
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.events import GaussianSumEvent, event_of, snap
from common.privacy.plan import Mode, PrivacyPlan, Release, ReleaseShape, Unit

__all__ = ["epsilon_of", "guarantee_of", "make_plan"]

_TOLERANCE: Final = 1e-4
_FINEST: Final = 1e-6
_MOST_EVALUATIONS: Final = 60
_SECANTS: Final = 12
_LARGEST_SLACK: Final = 0.1


def make_plan(
    shapes: Sequence[ReleaseShape],
    *,
    epsilon: float | None,
    delta: float,
    unit: Unit,
    mode: Mode,
    population: int,
) -> PrivacyPlan:
    """Decide the noise of every release.

    A release with share `s` gets 1/σ² = c · s / (steps · rate²), shares normalised: to
    first order the part `s` of the budget whatever its steps and sampling. One number c is
    then found so that ε by the accountant is at most `epsilon` and within 1e-4 of it, or
    as near as the grid's steps allow (those of `fast` are some 3e-4 apart).

    Args:
        shapes: what the job's steps release, in order.
        epsilon: target ε; None in mode `none` only.
        delta: δ, below 1 / `population`.
        unit: what is protected; `user` is what these releases are proven for.
        mode: who adds noise.
        population: declared lower bound on the number of users.

    Raises:
        PlanError: `plan-epsilon`, `plan-delta`, `plan-unit`, `plan-mode`, or
            `plan-unreachable` if no noise meets the target.
    """
    _check(shapes, epsilon, delta, unit, mode, population)
    if epsilon is None:
        bare = tuple(Release(**shape.model_dump(), noise_multiplier=0.0) for shape in shapes)
        return PrivacyPlan(unit=unit, mode=mode, delta=delta, epsilon=None, releases=bare)
    releases = _search(shapes, epsilon, delta)
    _check_slack(releases, epsilon, delta)
    return PrivacyPlan(unit=unit, mode=mode, delta=delta, epsilon=epsilon, releases=releases)


def epsilon_of(plan: PrivacyPlan, delta: float) -> float:
    """ε of all releases of `plan` at `delta`; infinite in mode `none`."""
    return epsilon_of_events([event_of(release) for release in plan.releases], delta)


def guarantee_of(plan: PrivacyPlan, *, reproducible_noise: bool = False) -> Guarantee:
    """What `plan` promises, with everything that belongs to an ε."""
    return Guarantee(
        epsilon=epsilon_of(plan, plan.delta),
        delta=plan.delta,
        unit=plan.unit,
        mode=plan.mode,
        reproducible_noise=reproducible_noise,
    )


def _search(shapes: Sequence[ReleaseShape], target: float, delta: float) -> tuple[Release, ...]:
    """Bracket the scale, then close in by secants in logarithms kept inside the bracket."""
    evaluations = 0
    # a Gaussian mechanism with mu² = c has ε of about mu²/2 + mu·sqrt(2·log(1/δ))
    root = math.sqrt(-2 * math.log(delta))
    low = 2 * math.log(2 * target / (math.sqrt(root * root + 2 * target) + root))
    _check_slack(_scaled(shapes, math.exp(low)), target, delta)

    def excess(log_scale: float) -> float:
        nonlocal evaluations
        evaluations += 1
        if evaluations > _MOST_EVALUATIONS:
            raise _unreachable(f"no noise found for ε = {target:g}")
        events = [event_of(release) for release in _scaled(shapes, math.exp(log_scale))]
        found = epsilon_of_events(events, delta)
        return math.log(max(found, 1e-12) / target) if math.isfinite(found) else 50.0

    low_excess = excess(low)
    high, high_excess = low, low_excess
    step = 0.25
    while low_excess > 0:
        high, high_excess = low, low_excess
        low -= step
        low_excess, step = excess(low), 2 * step
    step = 0.25
    while high_excess <= 0:
        low, low_excess = high, high_excess
        if -low_excess <= _TOLERANCE:
            return _scaled(shapes, math.exp(low))
        high += step
        high_excess, step = excess(high), 2 * step
    while -low_excess > _TOLERANCE and high - low > _FINEST:
        # aim a little below the target, so that the guess lands on the side that counts
        share = (-_TOLERANCE / 3 - low_excess) / (high_excess - low_excess)
        # (halving where that does not help: on the fast grid multipliers come in steps)
        share = min(max(share, 0.02), 0.98) if evaluations < _SECANTS else 0.5
        guess = low + share * (high - low)
        guess_excess = excess(guess)
        if guess_excess <= 0:
            low, low_excess = guess, guess_excess
        else:
            high, high_excess = guess, guess_excess
    return _scaled(shapes, math.exp(low))


def _scaled(shapes: Sequence[ReleaseShape], scale: float) -> tuple[Release, ...]:
    shares = math.fsum(shape.share for shape in shapes)
    releases = []
    for shape in shapes:
        precision = scale * shape.share / shares / (shape.steps * shape.sampling_rate**2)
        if precision == 0:  # less than a float can say
            raise _unreachable("no sampler draws as much noise as that takes")
        multiplier = snap(shape.sampler, precision**-0.5, shape.step)
        releases.append(Release(**shape.model_dump(), noise_multiplier=multiplier))
    return tuple(releases)


def _check_slack(releases: Sequence[Release], epsilon: float, delta: float) -> None:
    events = [event_of(release) for release in releases]
    distance = math.fsum(e.total_variation for e in events if isinstance(e, GaussianSumEvent))
    if slack(distance, epsilon) > _LARGEST_SLACK * delta:
        raise _unreachable("the samplers' distance to a Gaussian would take over a tenth of δ")


def _check(
    shapes: Sequence[ReleaseShape],
    epsilon: float | None,
    delta: float,
    unit: Unit,
    mode: Mode,
    population: int,
) -> None:
    if not shapes:
        raise PlanError(Code.PLAN_UNREACHABLE, "nothing is released.", where="plan")
    if (mode == "none") != (epsilon is None):
        raise PlanError(
            Code.PLAN_MODE,
            f"mode {mode!r} with ε = {epsilon}.",
            where="mode",
            remedy="Mode `none` takes no ε; every other mode needs one.",
        )
    if unit != "user":
        raise PlanError(
            Code.PLAN_UNIT,
            f"no event sensitivity is proven for {shapes[0].step.split('.')[0]!r}.",
            where="unit",
            remedy="Use unit `user`.",
        )
    if epsilon is None:
        return
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PlanError(
            Code.PLAN_EPSILON,
            f"ε = {epsilon} is not positive and finite.",
            where="epsilon",
            remedy="Choose ε above 0; 8 is weak, 1 is strong.",
        )
    if not 0 < delta * population < 1:
        raise PlanError(
            Code.PLAN_DELTA,
            f"δ = {delta} is not between 0 and 1/{population}, one over the declared users.",
            where="delta",
            remedy="Choose δ well below one over the number of users.",
        )


def _unreachable(what: str) -> PlanError:
    return PlanError(
        Code.PLAN_UNREACHABLE,
        f"{what}.",
        where="plan",
        remedy="Choose another ε or δ, fewer releases, or the exact sampler.",
    )

"""From ε to noise and back, by the filter that enforces and the accountant that reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from common.errors import Code, PlanError
from common.privacy.accounting import Guarantee, slack
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.events import Event, NoisySumEvent, event_of, snap
from common.privacy.filters import SLACK_SHARE, Cap, Filter, make_filter, total_cost
from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import (
    Mode,
    NoiseShares,
    PrivacyPlan,
    Release,
    ReleaseShape,
    Sampler,
    Unit,
)
from common.privacy.roster import Terms
from common.privacy.samplers import grid_sigma
from common.privacy.words import shorter

__all__ = ["epsilon_of", "guarantee_of", "make_plan"]

_TOLERANCE: Final = 1e-4
_FINEST: Final = 1e-6
_STEP: Final = 0.25
_MOST_NOISE: Final = 700.0
"""Logarithm of a multiplier beyond every grid, and within what a float can say."""
_SECANTS: Final = 12
_ROUNDING: Final = 1e-9
"""A plan leaves this share of a filter free: its parts may be added up in any order."""


def make_plan(
    shapes: Sequence[ReleaseShape],
    *,
    epsilon: float | None,
    delta: float,
    unit: Unit,
    mode: Mode,
    population: int,
    renyi_order: int | None = None,
    terms: Terms | None = None,
) -> PrivacyPlan:
    """Decide the noise of every release.

    A release with share `s` gets 1/σ² = c · s / (steps · rate²), shares normalised: to
    first order the part `s` of the budget whatever its steps and sampling. One number c is
    then found so that the larger of ε by the accountant (PLD) and ε by the filter is at
    most `epsilon` and within 1e-4 of it, or as near as the grid's steps allow (those of
    `fast` are some 3e-4 apart). Without `renyi_order` the filter is that of Gaussian DP
    where no release is sampled; where one is, there is none: PLD alone decides.

    In mode `distributed` the multipliers are those of the honest shares together, always by
    the exact sampler, whatever a shape says. Words have 32 bits if that takes no more noise
    than 64 bits do, else 64.

    Guarantee:
        PLD's ε at `delta` is at most `epsilon`; and where there is a filter, one for
        (`epsilon`, `delta`) that has admitted nothing yet admits the plan, as a whole and
        release by release.

    Args:
        shapes: what the job's steps release, in order.
        epsilon: target ε; None in mode `none` only.
        delta: δ, below 1 / `population`.
        unit: what is protected; `user` is what these releases are proven for.
        mode: who adds noise.
        population: declared lower bound on the number of users.
        renyi_order: order of the Rényi filter that clients enforce, if they do.
        terms: of secure sums; in mode `distributed` and no other.

    Raises:
        PlanError: `plan-epsilon`, `plan-delta`, `plan-unit`, `plan-mode`, or
            `plan-unreachable` if no noise meets the target.
        PolicyError: `policy-threshold`, the terms are not safe.
    """
    _check(shapes, epsilon, delta, unit, mode, population)
    _check_sums(shapes, mode, terms)
    if epsilon is None:
        bare = tuple(Release(**shape.model_dump(), noise_multiplier=0.0) for shape in shapes)
        return PrivacyPlan(unit=unit, mode=mode, delta=delta, epsilon=None, releases=bare)
    cap = Cap(epsilon=epsilon, delta=delta)
    shares = None
    if terms is not None:
        shares = NoiseShares(**vars(terms), population=population, word_bits=64)
    releases = _search(shapes, cap, renyi_order, shares)
    _check_slack(releases, cap)
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
        terms=plan.terms,
    )


def _search(
    shapes: Sequence[ReleaseShape], cap: Cap, order: int | None, shares: NoiseShares | None
) -> tuple[Release, ...]:
    """The least noise that the filter admits, or more where the accountant asks for it."""
    sampled = any(shape.sampling_rate < 1 for shape in shapes)
    chosen = None if sampled and order is None else make_filter(cap, order)
    scale = _Scale(shapes, cap, chosen, shares)
    # a Gaussian mechanism with mu² = c has ε of about mu²/2 + mu·sqrt(2·log(1/δ))
    root = math.sqrt(-2 * math.log(cap.delta))
    start = 2 * math.log(2 * cap.epsilon / (math.sqrt(root * root + 2 * cap.epsilon) + root))
    start = min(start, scale.limit)
    _check_slack(scale.releases(start), cap)
    if chosen is not None:
        start = scale.checked(_largest(scale.admitted, start))
    if chosen is None or scale.excess(start) > 0:
        start = scale.checked(_meet(scale.excess, start))
    return scale.in_short_words(start) or scale.releases(start)


@dataclass(frozen=True)
class _Scale:
    """What the logarithm of c brings: the larger, the less noise."""

    shapes: Sequence[ReleaseShape]
    cap: Cap
    chosen: Filter | None
    shares: NoiseShares | None = None

    @cached_property
    def limit(self) -> float:
        """Up to here every release has more noise than the least of its grid."""
        return min(
            -2 * math.log(grid_sigma(self._sampler(shape), 1.0) / LARGEST_CLIP_GRID)
            - part
            - _ROUNDING
            for shape, part in zip(self.shapes, _parts(self.shapes), strict=True)
        )

    def releases(self, at: float) -> tuple[Release, ...]:
        """The plan."""
        return _scaled(self.shapes, at, self.shares)

    def events(self, at: float) -> list[Event]:
        """Of the plan."""
        return [event_of(release) for release in self.releases(at)]

    def admitted(self, at: float) -> bool:
        """Whether the plan leaves a hair of the filter free."""
        if self.chosen is None or at > self.limit:
            return False
        free = self.chosen.bound * (1 - _ROUNDING)
        return total_cost(self.chosen, self.events(at)).divergence <= free

    def excess(self, at: float) -> float:
        """Logarithm of the accountant's ε over the target, at most 50."""
        found = math.inf if at > self.limit else epsilon_of_events(self.events(at), self.cap.delta)
        return math.log(max(found, 1e-12) / self.cap.epsilon) if math.isfinite(found) else 50.0

    def checked(self, at: float) -> float:
        """A scale that was found, unless it is where noise ends."""
        if at > self.limit - 2 * _FINEST:
            raise _unreachable(f"next to no noise would do for ε = {self.cap.epsilon:g}")
        return at

    def in_short_words(self, at: float) -> tuple[Release, ...] | None:
        """The plan in words of 32 bits, if a grid so coarse asks for no more noise."""
        if self.shares is None:
            return None
        shares = self.shares.model_copy(update={"word_bits": 32})
        short = replace(self, shares=shares)
        releases = short.releases(at)
        try:
            _check_slack(releases, self.cap)
        except PlanError:  # the words have no room, or the grid is too coarse for δ
            return None
        fits = (self.chosen is None or short.admitted(at)) and short.excess(at) <= 0
        return releases if fits else None

    def _sampler(self, shape: ReleaseShape) -> Sampler:
        return shape.sampler if self.shares is None else "exact"


def _largest(holds: Callable[[float], bool], start: float) -> float:
    """The largest number that `holds`, to 1e-6 and never above; near `start`, if possible."""
    low, step = start, _STEP
    while not holds(low):
        low, step = low - step, 2 * step
    high, step = low + step, 2 * step
    while holds(high):
        low, high, step = high, high + step, 2 * step
    while high - low > _FINEST:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _meet(excess: Callable[[float], float], start: float) -> float:
    """Where `excess` is just not above 0: secants in logarithms, kept inside a bracket."""
    low = high = start
    low_excess = high_excess = excess(start)
    evaluations, step = 1, _STEP
    while low_excess > 0:
        high, high_excess = low, low_excess
        low, step = low - step, 2 * step
        low_excess, evaluations = excess(low), evaluations + 1
    step = _STEP
    while high_excess <= 0:
        low, low_excess = high, high_excess
        if -low_excess <= _TOLERANCE:
            return low
        high, step = high + step, 2 * step
        high_excess, evaluations = excess(high), evaluations + 1
    while -low_excess > _TOLERANCE and high - low > _FINEST:
        # aim a little below the target, so that the guess lands on the side that counts
        share = (-_TOLERANCE / 3 - low_excess) / (high_excess - low_excess)
        # (halving where that does not help: on the fast grid multipliers come in steps)
        share = min(max(share, 0.02), 0.98) if evaluations < _SECANTS else 0.5
        guess = low + share * (high - low)
        guess_excess, evaluations = excess(guess), evaluations + 1
        if guess_excess <= 0:
            low, low_excess = guess, guess_excess
        else:
            high, high_excess = guess, guess_excess
    return low


def _scaled(
    shapes: Sequence[ReleaseShape], log_scale: float, shares: NoiseShares | None
) -> tuple[Release, ...]:
    releases = []
    for shape, part in zip(shapes, _parts(shapes), strict=True):
        wanted = math.exp(min(-(log_scale + part) / 2, _MOST_NOISE))
        snapped = shorter(wanted) if shares else snap(shape.sampler, wanted, shape.step)
        releases.append(Release(**shape.model_dump(), noise_multiplier=snapped, shares=shares))
    return tuple(releases)


def _parts(shapes: Sequence[ReleaseShape]) -> list[float]:
    """log(share / (steps · rate²)) of every release, shares normalised."""
    shares = math.fsum(shape.share for shape in shapes)
    return [
        math.log(s.share) - math.log(shares) - math.log(s.steps) - 2 * math.log(s.sampling_rate)
        for s in shapes
    ]


def _check_slack(releases: Sequence[Release], cap: Cap) -> None:
    events = [event_of(release) for release in releases]
    try:
        distance = math.fsum(e.total_variation for e in events if isinstance(e, NoisySumEvent))
    except OverflowError:
        raise _unreachable("more values would be released than a float can count") from None
    if slack(distance, cap.epsilon) > SLACK_SHARE * (1 - _ROUNDING) ** 2 * cap.delta:
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


def _check_sums(shapes: Sequence[ReleaseShape], mode: Mode, terms: Terms | None) -> None:
    """One secure sum over everybody for each release, and somebody to make it with."""
    if (mode == "distributed") != (terms is not None):
        raise PlanError(
            Code.PLAN_MODE,
            f"mode {mode!r} with{'out' if terms is None else ''} terms of secure sums.",
            where="mode",
            remedy="Mode `distributed` takes a threshold and colluders; no other mode does.",
        )
    if terms is None:
        return
    terms.check()
    for shape in shapes:
        if shape.sampling_rate < 1 or shape.steps > 1:
            raise PlanError(
                Code.PLAN_MODE,
                "several local steps between sums would train on a client's own share of the "
                "noise alone, and who is sampled out of a secure sum would not be hidden.",
                where=f"release {shape.step!r}",
                remedy="Use sampling rate 1 and one sum per release, or mode `local`.",
            )


def _unreachable(what: str) -> PlanError:
    return PlanError(
        Code.PLAN_UNREACHABLE,
        f"{what}.",
        where="plan",
        remedy="Choose another ε or δ, fewer releases, or the exact sampler.",
    )

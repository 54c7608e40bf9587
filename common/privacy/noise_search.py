"""The least noise that meets an ε: one number scales the noise of all releases of a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from common.errors import Code, PlanError
from common.privacy.accounting import epsilon, slack
from common.privacy.events import Event, NoisySumEvent, event_of, snapped
from common.privacy.filters import SLACK_SHARE, Cap, Filter, make_filter, total_cost
from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import NoiseShares, Release, ReleaseShape, Sampler
from common.privacy.roots import FINEST, largest, meet
from common.privacy.samplers import grid_sigma
from common.privacy.words import shorter

__all__ = ["least_noise"]

_MOST_NOISE: Final = 700.0
"""Logarithm of a multiplier beyond every grid, and within what a float can say."""
_ROUNDING: Final = 1e-9
"""A plan leaves this share of a filter free: its parts may be added up in any order."""


def least_noise(
    shapes: Sequence[ReleaseShape], cap: Cap, order: int | None, shares: NoiseShares | None
) -> tuple[Release, ...]:
    """The least noise that the filter admits, or more where the accountant asks for it.

    A release with share `s` gets 1/σ² = c · s / (steps · rate²), shares normalised; the one
    number c is looked for.

    Args:
        shapes: what is released, in order.
        cap: target (ε, δ).
        order: of the Rényi filter that clients enforce, if they do.
        shares: who adds which part of the noise, in the longest words; None where a client
            adds all of its own.

    Returns:
        `shapes` with their noise.

    Raises:
        PlanError: `plan-unreachable`, no noise meets the target.
    """
    sampled = any(shape.sampling_rate < 1 for shape in shapes)
    chosen = None if sampled and order is None else make_filter(cap, order)
    scale = _Scale(shapes, cap, chosen, shares)
    # a Gaussian mechanism with mu² = c has ε of about mu²/2 + mu·sqrt(2·log(1/δ))
    root = math.sqrt(-2 * math.log(cap.delta))
    start = 2 * math.log(2 * cap.epsilon / (math.sqrt(root * root + 2 * cap.epsilon) + root))
    start = min(start, scale.limit)
    _check_slack(scale.releases(start), cap)
    if chosen is not None:
        start = scale.checked(largest(scale.admitted, start))
    if chosen is None or scale.excess(start) > 0:
        start = scale.checked(meet(scale.excess, start))
    found = scale.in_short_words(start) or scale.releases(start)
    _check_slack(found, cap)
    return found


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
        found = math.inf if at > self.limit else epsilon(self.events(at), self.cap.delta)
        return math.log(max(found, 1e-12) / self.cap.epsilon) if math.isfinite(found) else 50.0

    def checked(self, at: float) -> float:
        """A scale that was found, unless it is where noise ends."""
        if at > self.limit - 2 * FINEST:
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


def _scaled(
    shapes: Sequence[ReleaseShape], log_scale: float, shares: NoiseShares | None
) -> tuple[Release, ...]:
    releases = []
    for shape, part in zip(shapes, _parts(shapes), strict=True):
        wanted = math.exp(min(-(log_scale + part) / 2, _MOST_NOISE))
        noise = shorter(wanted) if shares else snapped(shape, wanted)
        releases.append(Release(**shape.model_dump(), noise_multiplier=noise, shares=shares))
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


def _unreachable(what: str) -> PlanError:
    return PlanError(
        Code.PLAN_UNREACHABLE,
        f"{what}.",
        where="plan",
        remedy="Choose another ε or δ, fewer releases, or the exact sampler.",
    )

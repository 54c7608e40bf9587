"""Privacy filters: what a client may still release when every plan depends on the last.

A filter holds two sums below bounds that were fixed before the first release; then the whole
history is (ε, δ)-DP however later plans were chosen.

- `GdpFilter`: Σ steps/σ² <= μ², for Gaussian sums (Koskela, Tobaben, Honkela 2022).
  A sampled sum is priced as if everybody had taken part, which is never less.
- `RenyiFilter`: Σ RDP of one order <= ρ (Feldman, Zrnic 2021), where sampling counts.

The samplers' distance τ to a rounded Gaussian adds (1 + e^ε)·Στ to δ. A tenth of δ is set
aside for it, also in advance; the rest is what the first bound is made for.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from common.config import Settings
from common.errors import Code, LedgerError, PlanError
from common.privacy.events import Event, NoisySumEvent
from common.privacy.gdp import gaussian_epsilon, gaussian_mu
from common.privacy.renyi import epsilon_beyond_rdp, sampled_gaussian_rdp
from common.privacy.samplers.base import LARGEST_SIGMA_GRID, grid_sigma, make_sampler

__all__ = [
    "ORDERS",
    "SLACK_SHARE",
    "Cap",
    "Cost",
    "Filter",
    "GdpFilter",
    "RenyiFilter",
    "best_order",
    "how_many",
    "make_filter",
    "numbers_left",
    "releases_left",
    "total_cost",
]

SLACK_SHARE: Final = 0.1
"""Part of δ that is set aside for the samplers' distance to a Gaussian."""
ORDERS: Final = range(2, 1025)
"""Orders that a Rényi filter may have."""
_MOST_NUMBERS: Final = 10**12
_HAIR: Final = 1e-9
"""Bounds are this much lower, relatively, than they could be: more than any rounding."""


class Cap(Settings):
    """The most that may ever be lost."""

    epsilon: float = Field(gt=0)
    """ε."""
    delta: float = Field(gt=0, lt=1)
    """δ."""


@dataclass(frozen=True)
class Cost:
    """What releases take from a filter; adds up.

    Attributes:
        divergence: Σ μ² or Σ RDP; infinite for a release without a mechanism.
        distance: Σ τ, the samplers' distance to rounded Gaussians.
    """

    divergence: float = 0.0
    distance: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.divergence + other.divergence, self.distance + other.distance)

    def times(self, count: int) -> Cost:
        """The cost of `count` such releases.

        Raises:
            LedgerError: `ledger-broken`, a count below zero, which would give budget back.
        """
        if count < 0:
            raise LedgerError(Code.LEDGER_BROKEN, f"{count} releases were counted.", where="ledger")
        return Cost(self.divergence * count, self.distance * count) if count else Cost()


@dataclass(frozen=True)
class Filter(ABC):
    """Bounds fixed in advance on what adaptively chosen releases may cost together.

    Attributes:
        cap: the guarantee that holds as long as the filter does.

    Guarantee:
        While `admits` holds for the sum of all costs, the releases together are
        `cap.epsilon`, `cap.delta`-DP in the unit of the events, under add/remove and fully
        adaptive choice of every next plan. Everything but the releases is public.

    Raises:
        PlanError: `plan-unreachable`, nothing at all could be admitted.
    """

    cap: Cap

    def __post_init__(self) -> None:
        finest = make_sampler("exact", LARGEST_SIGMA_GRID).total_variation(1)
        if self.bound <= 0 or self.distance_bound < finest:
            raise PlanError(
                Code.PLAN_UNREACHABLE,
                f"the {self.name} at ε = {self.cap.epsilon:g}, δ = {self.cap.delta:g} admits "
                "nothing at all.",
                where="cap",
                remedy=self._remedy(),
            )

    @property
    @abstractmethod
    def name(self) -> str:
        """Which filter, in words."""

    @functools.cached_property
    def bound(self) -> float:
        """Largest Σ of divergences."""
        return self._bound(_part(self.cap.delta))

    @functools.cached_property
    def distance_bound(self) -> float:
        """Largest Σ τ: (1 + e^ε)·Στ is at most the part of δ that is set aside."""
        return _distance_bound(self.cap.epsilon, self.cap.delta)

    def cost(self, event: Event) -> Cost:
        """What one event takes; infinite without a mechanism."""
        if not isinstance(event, NoisySumEvent):
            return Cost(math.inf, 0.0)
        try:
            return Cost(event.steps * self._divergence(event), event.total_variation)
        except OverflowError:  # more sums or values than a float can count
            return Cost(math.inf, 0.0)

    def admits(self, total: Cost) -> bool:
        """Whether everything together, `total`, is within both bounds."""
        return total.divergence <= self.bound and total.distance <= self.distance_bound

    def epsilon(self, total: Cost) -> float:
        """Smallest ε, at the cap's δ, of a filter of this kind that admits `total`.

        Infinite if there is none: of a divergence without bound, and where the samplers'
        share of δ is overdrawn.
        """
        if total == Cost():
            return 0.0
        if not math.isfinite(total.divergence):
            return math.inf
        found = self._epsilon(total.divergence, _part(self.cap.delta))
        fits = total.distance <= _distance_bound(found, self.cap.delta)
        return found if fits else math.inf

    @abstractmethod
    def _divergence(self, event: NoisySumEvent) -> float:
        """Of one of the event's sums."""

    @abstractmethod
    def _bound(self, delta: float) -> float:
        """Largest divergence that is (cap.epsilon, `delta`)-DP."""

    @abstractmethod
    def _epsilon(self, divergence: float, delta: float) -> float:
        """Its inverse."""

    def _remedy(self) -> str:
        return "Choose an ε that somebody can mean: 8 is weak, 1 is strong."


@dataclass(frozen=True)
class GdpFilter(Filter):
    """Adds up μ² = 1/σ² of Gaussian sums, sampled or not.

    Guarantee:
        As `Filter`.
    """

    @property
    def name(self) -> str:
        """Which filter, in words."""
        return "GDP filter"

    def _divergence(self, event: NoisySumEvent) -> float:
        return 1 / event.noise_multiplier**2

    def _bound(self, delta: float) -> float:
        return (gaussian_mu(self.cap.epsilon, delta) * (1 - _HAIR)) ** 2

    def _epsilon(self, divergence: float, delta: float) -> float:
        return gaussian_epsilon(math.sqrt(divergence) / (1 - _HAIR), delta)


@dataclass(frozen=True)
class RenyiFilter(Filter):
    """Adds up the Rényi divergences of one order.

    Attributes:
        order: α, an integer of `ORDERS`.

    Guarantee:
        As `Filter`.
    """

    order: int

    @property
    def name(self) -> str:
        """Which filter, in words."""
        return f"Rényi filter of order {self.order}"

    def _divergence(self, event: NoisySumEvent) -> float:
        return sampled_gaussian_rdp(event.noise_multiplier, event.sampling_rate, self.order)

    def _bound(self, delta: float) -> float:
        return self.cap.epsilon * (1 - _HAIR) - epsilon_beyond_rdp(self.order, delta)

    def _epsilon(self, divergence: float, delta: float) -> float:
        return max((divergence + epsilon_beyond_rdp(self.order, delta)) / (1 - _HAIR), 0.0)

    def _remedy(self) -> str:
        return f"Use another order, about {best_order(self.cap)}, or another ε."


def make_filter(cap: Cap, renyi_order: int | None = None) -> Filter:
    """The filter that holds `cap`: Rényi of that order, GDP without one.

    Raises:
        PlanError: `plan-unreachable`, it would admit nothing at all.
    """
    return GdpFilter(cap) if renyi_order is None else RenyiFilter(cap, renyi_order)


def total_cost(chosen: Filter, events: Iterable[Event]) -> Cost:
    """What `events` take together, in whatever order they come."""
    costs = [chosen.cost(event) for event in events]
    return Cost(math.fsum(c.divergence for c in costs), math.fsum(c.distance for c in costs))


def best_order(cap: Cap) -> int:
    """The integer order at which unsampled Gaussian sums get the most, 2 if none fits."""
    delta = _part(cap.delta)
    return max(ORDERS, key=lambda order: (cap.epsilon - epsilon_beyond_rdp(order, delta)) / order)


def how_many(chosen: Filter, total: Cost, events: Sequence[Event]) -> int:
    """How many times all of `events` still fit on top of `total`.

    Raises:
        PlanError: `plan-unreachable`, nothing is released, so that there is no number.
    """
    one = total_cost(chosen, events)
    if one == Cost():
        raise PlanError(Code.PLAN_UNREACHABLE, "nothing is released.", where="plan")
    low, high = 0, 1
    while chosen.admits(total + one.times(high)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fits = chosen.admits(total + one.times(middle))
        low, high = (middle, high) if fits else (low, middle)
    return low


def releases_left(chosen: Filter, total: Cost, events: Sequence[Event]) -> int:
    """How many releases still fit, made in the order of `events` again and again.

    Raises:
        PlanError: `plan-unreachable`, nothing is released, so that there is no number.
    """
    whole = how_many(chosen, total, events)
    spent = total + total_cost(chosen, events).times(whole)
    for position in range(len(events)):
        if not chosen.admits(spent + total_cost(chosen, events[: position + 1])):
            return whole * len(events) + position
    return whole * len(events)


def numbers_left(chosen: Filter, total: Cost) -> int:
    """How many noised numbers one release by the exact sampler may still have, at most 10^12.

    The samplers' part of δ shrinks as e^-ε: where a cap is high, it ends before the noise does.
    """
    sampler = make_sampler("exact", grid_sigma("exact", 1.0))
    room = chosen.distance_bound - total.distance
    low, high = 0, _MOST_NUMBERS
    while low < high:
        middle = (low + high + 1) // 2
        fits = sampler.total_variation(middle) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _part(delta: float) -> float:
    """What the samplers leave of δ."""
    return (1 - SLACK_SHARE) * delta


def _distance_bound(epsilon: float, delta: float) -> float:
    return SLACK_SHARE * delta * (1 - _HAIR) / (1 + math.exp(min(epsilon, 700.0)))

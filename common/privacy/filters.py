"""Privacy filters: what a client may still release when every plan depends on the last.

A filter holds one number per order of composition below a bound that was fixed before the
first release; then the whole history is (ε, δ)-DP however later plans were chosen.

- `GdpFilter`: Σ steps/σ² ≤ μ², for Gaussian sums (Koskela, Tobaben, Honkela 2022).
  A sampled sum is priced as if everybody had taken part, which is never less.
- `RenyiFilter`: Σ RDP of one order ≤ ρ (Feldman, Zrnic 2021), with the RDP of a
  sampled Gaussian by Mironov, Talwar, Zhang 2019, and the conversion of Canonne, Kamath,
  Steinke 2020, proposition 12.

The samplers' distance τ to a rounded Gaussian adds (1 + e^ε)·Στ to δ. A tenth of δ is set
aside for it, also in advance; the rest is what the bound is made for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

from common.config import Settings
from common.errors import Code, PlanError
from common.privacy.events import Event, GaussianSumEvent
from common.privacy.gdp import gaussian_delta, gaussian_mu

__all__ = [
    "SLACK_SHARE",
    "Cap",
    "Cost",
    "Filter",
    "GdpFilter",
    "RenyiFilter",
    "best_order",
    "make_filter",
    "sampled_gaussian_rdp",
    "total_cost",
]

SLACK_SHARE: Final = 0.1
"""Part of δ that is set aside for the samplers' distance to a Gaussian."""


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

    def __add__(self, other: Self) -> Cost:
        return Cost(self.divergence + other.divergence, self.distance + other.distance)

    def times(self, count: int) -> Cost:
        """The cost of `count` such releases."""
        return Cost(self.divergence * count, self.distance * count)


class Filter(Protocol):
    """A bound fixed in advance on what adaptively chosen releases may cost together."""

    @property
    def cap(self) -> Cap:
        """The guarantee that holds as long as the filter does."""
        ...

    @property
    def name(self) -> str:
        """Which filter, in words."""
        ...

    def cost(self, event: Event) -> Cost:
        """What one event takes."""
        ...

    def admits(self, total: Cost) -> bool:
        """Whether everything together, `total`, is within the bound."""
        ...

    def epsilon(self, total: Cost) -> float:
        """Smallest ε, at the cap's δ, of a filter of this kind that admits `total`."""
        ...


@dataclass(frozen=True)
class GdpFilter:
    """Adds up μ² of unsampled Gaussian sums.

    Guarantee:
        While `admits` holds for the sum of all costs, the releases together are
        `cap.epsilon`, `cap.delta`-DP in the unit of the events, under fully adaptive choice
        of every next plan.
    """

    cap: Cap

    @property
    def name(self) -> str:
        """Which filter."""
        return "GDP filter"

    def cost(self, event: Event) -> Cost:
        """μ² = steps/σ² and τ; infinite without a mechanism."""
        if not isinstance(event, GaussianSumEvent):
            return Cost(math.inf)
        return Cost(event.steps / event.noise_multiplier**2, event.total_variation)

    def admits(self, total: Cost) -> bool:
        """Whether Σ μ² and Σ τ are within their bounds."""
        bound = _gdp_bound(self.cap.epsilon, self.cap.delta)
        return total.divergence <= bound and _slack_fits(total, self.cap)

    def epsilon(self, total: Cost) -> float:
        """ε of Gaussian DP with μ² = Σ μ², infinite if the samplers' share is overdrawn."""
        if total.divergence == 0:
            return 0.0
        if not math.isfinite(total.divergence):
            return math.inf
        delta = (1 - SLACK_SHARE) * self.cap.delta
        found = _gdp_epsilon(math.sqrt(total.divergence), delta)
        return found if _slack_fits(total, Cap(epsilon=found, delta=self.cap.delta)) else math.inf


@dataclass(frozen=True)
class RenyiFilter:
    """Adds up the Rényi divergences of one order.

    Guarantee:
        As `GdpFilter`, also for Poisson-sampled sums.

    Raises:
        PlanError: `plan-unreachable`, no release at all fits at this order, ε and δ.
    """

    cap: Cap
    order: int

    def __post_init__(self) -> None:
        if self._bound() <= 0:
            raise PlanError(
                Code.PLAN_UNREACHABLE,
                f"order {self.order} alone costs more than ε = {self.cap.epsilon:g} at "
                f"δ = {self.cap.delta:g}.",
                where="renyi_order",
                remedy=f"Use a higher order, about {best_order(self.cap)}.",
            )

    @property
    def name(self) -> str:
        """Which filter."""
        return f"Rényi filter of order {self.order}"

    def cost(self, event: Event) -> Cost:
        """RDP of the event's sums, and τ; infinite without a mechanism."""
        if not isinstance(event, GaussianSumEvent):
            return Cost(math.inf)
        one = sampled_gaussian_rdp(event.noise_multiplier, event.sampling_rate, self.order)
        return Cost(event.steps * one, event.total_variation)

    def admits(self, total: Cost) -> bool:
        """Whether Σ RDP and Σ τ are within their bounds."""
        return total.divergence <= self._bound() and _slack_fits(total, self.cap)

    def epsilon(self, total: Cost) -> float:
        """ε of Σ RDP at this order, infinite if the samplers' share is overdrawn."""
        if total.divergence == 0:
            return 0.0
        if not math.isfinite(total.divergence):
            return math.inf
        found = max(total.divergence + _conversion(self.order, self.cap.delta), 1e-300)
        return found if _slack_fits(total, Cap(epsilon=found, delta=self.cap.delta)) else math.inf

    def _bound(self) -> float:
        return self.cap.epsilon - _conversion(self.order, self.cap.delta)


def make_filter(cap: Cap, renyi_order: int | None = None) -> Filter:
    """The filter that holds `cap`: Rényi of that order, GDP without one."""
    return GdpFilter(cap) if renyi_order is None else RenyiFilter(cap, renyi_order)


def total_cost(chosen: Filter, events: Iterable[Event]) -> Cost:
    """What `events` take together."""
    total = Cost()
    for event in events:
        total = total + chosen.cost(event)
    return total


def best_order(cap: Cap) -> int:
    """The integer order that suits one unsampled Gaussian best: 1 + 2·log(1/δ)/ε."""
    best = 1 + 2 * math.log(1 / ((1 - SLACK_SHARE) * cap.delta)) / cap.epsilon
    return min(max(2, round(best)), 1024)


@functools.lru_cache(maxsize=4096)
def sampled_gaussian_rdp(sigma: float, rate: float, order: int) -> float:
    """Rényi divergence of one Poisson-sampled Gaussian sum at an integer order.

    log(Σ_k C(α,k)·(1-q)^(α-k)·q^k·exp((k²-k)/(2σ²)))/(α-1) (Mironov, Talwar, Zhang 2019,
    section 3.3; add/remove, the larger of the two directions).
    """
    if rate >= 1:
        return order / (2 * sigma**2)
    k = np.arange(order + 1)
    choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    terms = choose + (order - k) * math.log1p(-rate) + k * math.log(rate)
    return float(logsumexp(terms + (k * k - k) / (2 * sigma**2))) / (order - 1)


def _slack_fits(total: Cost, cap: Cap) -> bool:
    worst = (1.0 + math.exp(min(cap.epsilon, 700.0))) * total.distance
    return worst <= SLACK_SHARE * cap.delta


def _conversion(order: int, delta: float) -> float:
    """What an order adds to RDP: ε = ρ + log((α-1)/α) - (log δ + log α)/(α-1)."""
    left = (1 - SLACK_SHARE) * delta
    return math.log1p(-1 / order) - (math.log(left) + math.log(order)) / (order - 1)


@functools.lru_cache(maxsize=256)
def _gdp_bound(epsilon: float, delta: float) -> float:
    """Largest μ² whose Gaussian DP is (ε, δ less the samplers' share), never above it."""
    left = (1 - SLACK_SHARE) * delta
    mu = gaussian_mu(epsilon, left)
    while gaussian_delta(mu, epsilon) > left:
        mu = math.nextafter(mu, 0.0)
    return mu * mu


def _gdp_epsilon(mu: float, delta: float) -> float:
    """Smallest ε of μ-GDP at δ, never below it."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2.0
    found = float(brentq(lambda at: gaussian_delta(mu, at) - delta, 0.0, high, xtol=1e-12))
    while gaussian_delta(mu, found) > delta:
        found = math.nextafter(found * (1 + 1e-15), math.inf)
    return found

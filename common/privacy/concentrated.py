"""ε of sums of exact discrete Gaussians by concentrated DP: looser than PLD, without a slack.

PLD takes discrete Gaussians for rounded ones, and pays (1 + e^ε) times their distance out of δ:
where ε is large, as for a user of several clients, that is more than δ. What Canonne, Kamath,
Steinke 2020 (theorem 4) and Kairouz, Liu, Steinke 2021 (proposition 14) prove of them needs none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from scipy.optimize import minimize_scalar

from common.privacy.accounting import beyond_measure
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    NoPrivacyEvent,
    SelectedSumEvent,
)
from common.privacy.renyi import epsilon_beyond_rdp
from common.privacy.samplers.shares import concentrated_epsilon

__all__ = ["CONCENTRATED", "epsilon_by_concentration"]

CONCENTRATED: Final = "concentrated DP (Canonne, Kamath, Steinke 2020)"
_ORDERS: Final = (1e-6, 1e6)
"""Orders less 1 among which the best is looked for; every one of them is valid."""
_HAIR: Final = 1e-9
"""More than any rounding takes away."""


def epsilon_by_concentration(events: Iterable[Event], delta: float) -> float:
    """ε of all events together at `delta`, as if all had been fixed in advance.

    The divergence of order α of all sums is at most α·Σ½ε², with each sum's ½ε²-concentrated
    DP; the best α is chosen.

    Returns:
        ε, 0 for no events; infinity where something was not a sum over everybody with noise by
        the exact sampler, or where ε would be in the thousands.
    """
    listed = list(events)
    if not listed:
        return 0.0
    if beyond_measure(listed):
        return math.inf
    rho = math.fsum(_rho(event) for event in listed)
    if math.isinf(rho):
        return math.inf
    low, high = (math.log(end) for end in _ORDERS)

    def at(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return order * rho + epsilon_beyond_rdp(order, delta)

    best = minimize_scalar(at, bounds=(low, high), method="bounded")
    return max(0.0, at(float(best.x)))


def _rho(event: Event) -> float:
    """Divergence of an event's sums, per order; infinite where none is proven here."""
    if isinstance(event, NoPrivacyEvent) or event.sampling_rate < 1:
        return math.inf
    values = event.rows * event.width
    if isinstance(event, DistributedDiscreteGaussianEvent):
        return _one(event.clip_grid, event.share_variance, event.honest, values)
    if event.sampler != "exact":
        return math.inf
    rho = _one(event.clip_grid, event.sigma_grid**2, 1, values)
    if isinstance(event, SelectedSumEvent):  # counts as well: two at once add up
        counted = event.rows - event.dense_rows
        rho += _one(event.count_clip_grid, event.count_sigma_grid**2, 1, counted)
    return event.steps * rho


def _one(clip_grid: int, variance: int, shares: int, values: int) -> float:
    """Of one vector with that noise."""
    return concentrated_epsilon(float(clip_grid), variance, shares, values) ** 2 / 2 * (1 + _HAIR)

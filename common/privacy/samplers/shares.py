"""Sums of discrete Gaussians: how near they are to the discrete Gaussian of the sum's variance.

The sum of h independent discrete Gaussians of variance parameter v is no discrete Gaussian,
but one of parameter h·v up to a factor e^±τ in every probability, with τ next to nothing once
v is not tiny (Kairouz, Liu, Steinke 2021; proof in docs/privacy/shared-noise.md).
"""

from __future__ import annotations

import math
import sys
from typing import Final

from common.privacy.samplers.exact import rounded_gaussian_distance

__all__ = [
    "SMALLEST_SHARE_VARIANCE",
    "closeness",
    "concentrated_epsilon",
    "shares_total_variation",
]

SMALLEST_SHARE_VARIANCE: Final = 2**8
"""v of a share, at least: τ is then below 10^-1000 for a million shares, next to any δ."""


def closeness(share_variance: int, shares: int) -> float:
    """τ: max-divergence, both ways, between the sum of `shares` and one discrete Gaussian.

    10·Σ_{k<h} exp(-2π²·v·k/(k+1)) (Kairouz, Liu, Steinke 2021, theorem 1), in which each
    term is at most the first. Per value; 0 for one share, which is one discrete Gaussian.
    """
    if shares <= 1:
        return 0.0
    # a float that is too small to tell is not nothing
    first = max(math.exp(-(math.pi**2) * share_variance), sys.float_info.min)
    return 10.0 * (shares - 1) * first


def shares_total_variation(share_variance: int, shares: int, draws: int) -> float:
    """Upper bound on the distance of `draws` sums of `shares` to rounded Gaussians.

    The max-divergence of all of them together is draws·τ, so that they are within
    tanh(draws·τ/2) <= draws·τ/2 of discrete Gaussians; and those within
    `rounded_gaussian_distance` of round(N(0, shares·share_variance)).

    Raises:
        OverflowError: more draws than a float can count.
    """
    apart = draws * closeness(share_variance, shares) / 2
    return min(1.0, apart + rounded_gaussian_distance(shares * share_variance, draws))


def concentrated_epsilon(sensitivity: float, share_variance: int, shares: int, draws: int) -> float:
    """ε of ½ε²-concentrated DP of the sum of `shares`, by Kairouz, Liu, Steinke 2021.

    Proposition 14: the Rényi divergence of order α is at most α/2·Δ²/(h·v) + τ·d, and at most
    α/2·(Δ/√(h·v) + τ·√d)², for d values with L2 sensitivity Δ in units of the grid. So
    ε = min(√(Δ²/(h·v) + 2·τ·d), Δ/√(h·v) + τ·√d). An opinion apart from the total variation
    that accounting uses; for cross-checks.
    """
    tau = closeness(share_variance, shares)
    ratio = sensitivity / math.sqrt(shares * share_variance)
    return min(math.sqrt(ratio**2 + 2 * tau * draws), ratio + tau * math.sqrt(draws))

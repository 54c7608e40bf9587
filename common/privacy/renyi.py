"""Rényi differential privacy of sampled Gaussian sums, at an integer order."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.special import gammaln

from common.arrays import Floats

__all__ = ["epsilon_beyond_rdp", "sampled_gaussian_rdp"]


@functools.lru_cache(maxsize=4096)
def sampled_gaussian_rdp(sigma: float, rate: float, order: int) -> float:
    """Rényi divergence of one Poisson-sampled Gaussian sum, the larger of both directions.

    log(Σ_k C(α,k) (1-q)^(α-k) q^k exp((k²-k)/2σ²)) / (α-1) (Mironov, Talwar, Zhang 2019,
    section 3.3). The binomial terms alone add up to 1, so that the sum is 1 and something;
    the something is computed by itself: a small rate keeps its digits, no cost is below 0.
    """
    if rate >= 1:
        return order / (2 * sigma**2)
    k = np.arange(2, order + 1)
    power = k * (k - 1) / (2 * sigma**2)
    beyond = power + np.log(-np.expm1(-power))  # log(exp(power) - 1)
    terms = _log_choose(order) + (order - k) * math.log1p(-rate) + k * math.log(rate) + beyond
    largest = float(terms.max())
    something = largest + math.log(float(np.exp(terms - largest).sum()))
    return float(np.logaddexp(0.0, something)) / (order - 1)


def epsilon_beyond_rdp(order: float, delta: float) -> float:
    """What comes on top of the divergence: ε = ρ + log((α-1)/α) - (log δ + log α)/(α-1).

    Canonne, Kamath, Steinke 2020, proposition 12.
    """
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


@functools.lru_cache(maxsize=64)
def _log_choose(order: int) -> Floats:
    """Logarithms of C(order, k) for k from 2 on."""
    k = np.arange(2, order + 1)
    found: Floats = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    return found

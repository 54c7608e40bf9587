"""The slow, obvious discrete Gaussian: Canonne, Kamath, Steinke 2020, in fractions.

Algorithm 1 (Bernoulli(exp(-γ))), algorithm 2 (discrete Laplace) and algorithm 3 (discrete
Gaussian) as printed. Tests hold the exact sampler to it.
"""

from __future__ import annotations

import math
from fractions import Fraction

from common.privacy.stream import NoiseSource

__all__ = ["bernoulli", "bernoulli_exp", "discrete_gaussian", "discrete_laplace"]


def bernoulli(p: Fraction, noise: NoiseSource) -> bool:
    """True with probability `p`."""
    return noise.below(p.denominator) < p.numerator


def bernoulli_exp(gamma: Fraction, noise: NoiseSource) -> bool:
    """True with probability exp(-gamma), `gamma >= 0` (algorithm 1)."""
    while gamma > 1:
        if not bernoulli_exp(Fraction(1), noise):
            return False
        gamma -= 1
    k = 1
    while bernoulli(gamma / k, noise):
        k += 1
    return k % 2 == 1


def discrete_laplace(t: int, noise: NoiseSource) -> int:
    """P(y) proportional to exp(-|y|/t) (algorithm 2 with s = 1)."""
    while True:
        u = noise.below(t)
        if not bernoulli_exp(Fraction(u, t), noise):
            continue
        v = 0
        while bernoulli_exp(Fraction(1), noise):
            v += 1
        size, negative = u + t * v, bool(noise.bits(1))
        if not (negative and size == 0):
            return -size if negative else size


def discrete_gaussian(variance: Fraction, noise: NoiseSource) -> int:
    """P(y) proportional to exp(-y²/2σ²) with σ² = `variance` (algorithm 3)."""
    t = math.isqrt(math.floor(variance)) + 1
    while True:
        y = discrete_laplace(t, noise)
        if bernoulli_exp((abs(y) - variance / t) ** 2 / (2 * variance), noise):
            return y

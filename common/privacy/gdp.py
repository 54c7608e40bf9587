"""Gaussian differential privacy in closed form: one number μ for unsampled Gaussian sums.

A Gaussian sum with σ = 1/μ times its sensitivity is μ-GDP; sums compose as μ² = Σ μ_i²
(Dong, Roth, Su 2022, corollary 3.3), and μ-GDP is (ε, δ)-DP exactly when
δ = Φ(-ε/μ + μ/2) - e^ε Φ(-ε/μ - μ/2) (Balle, Wang 2018, theorem 8).
"""

from __future__ import annotations

import math
from typing import Final

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from common.errors import Code, PlanError

__all__ = ["gaussian_delta", "gaussian_mu"]

_LEAST: Final = 1e-6
_MOST: Final = 1e3


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Smallest δ for which μ-GDP is (ε, δ)-DP."""
    upper = float(ndtr(-epsilon / mu + mu / 2))
    lower = math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2)))
    return max(upper - lower, 0.0)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Largest μ whose μ-GDP is (ε, δ)-DP.

    Raises:
        PlanError: `plan-epsilon` unless ε > 0, `plan-delta` unless 0 < δ < 1,
            `plan-unreachable` unless μ is between 1e-6 and 1e3.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PlanError(Code.PLAN_EPSILON, f"ε = {epsilon:g} cannot be meant.", where="epsilon")
    if not 0 < delta < 1:
        raise PlanError(Code.PLAN_DELTA, f"δ = {delta:g} is not between 0 and 1.", where="delta")
    if not gaussian_delta(_LEAST, epsilon) < delta < gaussian_delta(_MOST, epsilon):
        raise PlanError(
            Code.PLAN_UNREACHABLE,
            f"no noise that makes sense meets ε = {epsilon:g} at δ = {delta:g}.",
            where="plan",
            remedy="Choose another ε or δ.",
        )
    return float(brentq(lambda mu: gaussian_delta(mu, epsilon) - delta, _LEAST, _MOST, xtol=1e-12))

"""Gaussian differential privacy in closed form: one number μ for unsampled Gaussian sums.

A Gaussian sum with σ = 1/μ times its sensitivity is μ-GDP; sums compose as μ² = Σ μ_i²
(Dong, Roth, Su 2022, corollary 3.3), and μ-GDP is (ε, δ)-DP exactly when
δ = Φ(-ε/μ + μ/2) - e^ε Φ(-ε/μ - μ/2) (Balle, Wang 2018, theorem 8).

Both inverses halve an interval of which one end is known to hold, and return that end: they
end after a fixed number of steps, on the side that promises no more than is true.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from scipy.special import erfcx, ndtr

from common.errors import Code, PlanError

__all__ = ["gaussian_delta", "gaussian_epsilon", "gaussian_mu"]

_LEAST: Final = 1e-6
_MOST: Final = 1e3
_HALVINGS: Final = 128


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Smallest δ for which μ-GDP is (ε, δ)-DP.

    With x = ε/μ - μ/2 and e^ε φ(x + μ) = φ(x), both terms are φ(x) times a scaled
    complementary error function: nothing overflows, and little cancels.
    """
    x = epsilon / mu - mu / 2
    scale = math.exp(-x * x / 2) / 2
    lower = float(erfcx((x + mu) / math.sqrt(2)))
    if x > 0:
        return max(scale * (float(erfcx(x / math.sqrt(2))) - lower), 0.0)
    return max(float(ndtr(-x)) - scale * lower, 0.0)


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Largest μ whose μ-GDP is (ε, δ)-DP, never above it.

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
    return _closest(lambda mu: gaussian_delta(mu, epsilon) <= delta, _LEAST, _MOST)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest ε for which μ-GDP is (ε, δ)-DP, never below it; infinite for μ above 1e3.

    A μ below 1e-6 is taken for 1e-6.
    """
    if not mu <= _MOST:
        return math.inf
    mu = max(mu, _LEAST)
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    # δ(ε) < Φ(-x) <= exp(-x²/2)/2 with x = ε/μ - μ/2
    enough = mu * mu / 2 + mu * math.sqrt(-2 * math.log(delta))
    return _closest(lambda at: gaussian_delta(mu, at) <= delta, enough, 0.0)


def _closest(holds: Callable[[float], bool], good: float, bad: float) -> float:
    """From `good`, which holds, towards `bad`, which does not, as near as floats go."""
    for _ in range(_HALVINGS):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good

"""The closed form of Gaussian differential privacy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from common.errors import Code, PlanError
from common.privacy.gdp import gaussian_delta, gaussian_mu


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 0.1), (1.0, 1.0), (2.5, 8.0)])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    """δ(ε) = ∫ max(0, P - e^ε Q) for P = N(μ, 1), Q = N(0, 1), by numerical integration."""

    def excess(x: float) -> float:
        return max(0.0, norm.pdf(x, loc=mu) - 2.718281828459045**epsilon * norm.pdf(x))

    expected, _ = quad(excess, epsilon / mu + mu / 2, 40, limit=400)
    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 20), st.floats(1e-12, 0.2))
def test_mu_is_the_inverse(epsilon: float, delta: float) -> None:
    assert gaussian_delta(gaussian_mu(epsilon, delta), epsilon) == pytest.approx(delta, rel=1e-3)


@pytest.mark.parametrize(
    ("epsilon", "delta", "code"),
    [
        (1e9, 1e-6, Code.PLAN_UNREACHABLE),
        (1e-300, 1e-9, Code.PLAN_UNREACHABLE),
        (0.0, 1e-6, Code.PLAN_EPSILON),
        (float("inf"), 1e-6, Code.PLAN_EPSILON),
        (8.0, 0.0, Code.PLAN_DELTA),
        (8.0, 1.0, Code.PLAN_DELTA),
        (8.0, float("nan"), Code.PLAN_DELTA),
    ],
)
def test_what_no_mu_meets_is_a_code(epsilon: float, delta: float, code: Code) -> None:
    with pytest.raises(PlanError) as caught:
        gaussian_mu(epsilon, delta)
    assert caught.value.code is code

"""The closed form of Gaussian differential privacy."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from common.errors import Code, PlanError
from common.privacy.gdp import gaussian_delta, gaussian_epsilon, gaussian_mu

MU = st.floats(-6, 1.7).map(lambda power: 10.0**power)
DELTA = st.floats(-12, -0.1).map(lambda power: 10.0**power)


def exact_delta(mu: float, epsilon: float) -> mpmath.mpf:
    """The formula as printed, with 400 binary digits."""
    with mpmath.workprec(400):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        upper = mpmath.ncdf(-e / m + m / 2)
        return upper - mpmath.exp(e) * mpmath.ncdf(-e / m - m / 2)


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 0.1), (1.0, 1.0), (2.5, 8.0)])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    """δ(ε) = ∫ max(0, P - e^ε Q) for P = N(μ, 1), Q = N(0, 1), by numerical integration."""

    def excess(x: float) -> float:
        return max(0.0, norm.pdf(x, loc=mu) - 2.718281828459045**epsilon * norm.pdf(x))

    expected, _ = quad(excess, epsilon / mu + mu / 2, 40, limit=400)
    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=200, deadline=None)
@given(MU, st.floats(-2, 30))
@example(1e-6, 25.0)
@example(50.0, -1.0)
def test_delta_is_right_to_many_digits(mu: float, sigmas: float) -> None:
    """Where ε is `sigmas` deviations above the mean loss: the tails of every budget."""
    epsilon = max(0.0, mu * (mu / 2 + sigmas))
    expected = exact_delta(mu, epsilon)
    if expected > 1e-200:
        assert abs(gaussian_delta(mu, epsilon) / expected - 1) < 1e-8


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 20), DELTA)
def test_mu_is_the_inverse_and_never_above_it(epsilon: float, delta: float) -> None:
    mu = gaussian_mu(epsilon, delta)
    assert gaussian_delta(mu, epsilon) <= delta
    assert exact_delta(mu * (1 - 1e-9), epsilon) <= delta
    assert gaussian_delta(mu * (1 + 1e-7), epsilon) > delta


@settings(max_examples=100, deadline=None)
@given(MU, DELTA)
def test_epsilon_is_the_inverse_and_never_below_it(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    assert gaussian_delta(mu, epsilon) <= delta
    assert exact_delta(mu, epsilon * (1 + 1e-9)) <= delta
    if epsilon > 0:
        assert gaussian_delta(mu, epsilon * (1 - 1e-6)) > delta
    else:
        assert exact_delta(mu, 0.0) <= delta * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.floats(min_value=0, allow_nan=False), st.floats(0, 1, exclude_min=True, exclude_max=True))
@example(5e-324, 5e-324)
@example(1e3, 5e-324)
@example(math.inf, 1e-5)
def test_epsilon_ends_for_every_number(mu: float, delta: float) -> None:
    assert gaussian_epsilon(mu, delta) >= 0


def test_what_is_beyond_every_use_is_infinite_and_what_is_tiny_is_rounded_up() -> None:
    assert gaussian_epsilon(1e4, 1e-5) == math.inf
    assert gaussian_epsilon(math.nan, 1e-5) == math.inf
    assert gaussian_epsilon(1e-9, 1e-9) == gaussian_epsilon(1e-6, 1e-9) > 0


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

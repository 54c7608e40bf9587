"""Rényi divergences of sampled Gaussian sums, against mpmath and dp-accounting."""

from __future__ import annotations

import math

import mpmath
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import rdp_privacy_accountant as rdp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.privacy.renyi import epsilon_beyond_rdp, sampled_gaussian_rdp

SIGMA = st.floats(-0.5, 3).map(lambda power: 10.0**power)
RATE = st.floats(-12, 0).map(lambda power: 10.0**power)
ORDER = st.integers(2, 64)


def exact_rdp(sigma: float, rate: float, order: int) -> float:
    """The formula as printed, with 600 binary digits."""
    with mpmath.workprec(600):
        s, q = mpmath.mpf(sigma), mpmath.mpf(rate)
        total = mpmath.fsum(
            mpmath.binomial(order, k)
            * (1 - q) ** (order - k)
            * q**k
            * mpmath.exp((k * k - k) / (2 * s**2))
            for k in range(order + 1)
        )
        return float(mpmath.log(total) / (order - 1))


@settings(max_examples=100, deadline=None)
@given(SIGMA, RATE, ORDER)
@example(1000.0, 1e-12, 2)
@example(0.5, 1 - 1e-9, 64)
@example(1.0, 1e-9, 3)
def test_the_divergence_is_the_formula_and_never_lost_in_rounding(
    sigma: float, rate: float, order: int
) -> None:
    found = sampled_gaussian_rdp(sigma, rate, order)
    assert found > 0
    assert found == pytest.approx(exact_rdp(sigma, rate, order), rel=1e-10)


@pytest.mark.parametrize("order", [2, 3, 8, 32])
@pytest.mark.parametrize(("sigma", "rate"), [(0.7, 0.01), (1.5, 0.04), (3.0, 0.5), (2.0, 1.0)])
def test_the_divergence_agrees_with_dp_accounting(sigma: float, rate: float, order: int) -> None:
    accountant = rdp.RdpAccountant([order])
    gaussian = dp_event.GaussianDpEvent(sigma)
    accountant.compose(dp_event.PoissonSampledDpEvent(rate, gaussian))
    (expected,) = accountant._rdp
    assert sampled_gaussian_rdp(sigma, rate, order) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("order", [2, 5, 64, 1024])
@pytest.mark.parametrize("divergence", [0.5, 3.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 1e-2])
def test_the_conversion_agrees_with_dp_accounting(
    order: int, divergence: float, delta: float
) -> None:
    expected, _ = rdp.compute_epsilon([order], [divergence], delta)
    found = divergence + epsilon_beyond_rdp(order, delta)
    assert max(found, 0.0) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(SIGMA, RATE, ORDER)
def test_more_noise_and_fewer_users_cost_less_and_higher_orders_more(
    sigma: float, rate: float, order: int
) -> None:
    here = sampled_gaussian_rdp(sigma, rate, order)
    assert sampled_gaussian_rdp(sigma * 1.01, rate, order) < here
    assert sampled_gaussian_rdp(sigma, rate * 0.99, order) < here
    assert sampled_gaussian_rdp(sigma, rate, order + 1) > here


def test_sampling_everybody_is_not_sampling() -> None:
    assert sampled_gaussian_rdp(2.0, 1.0, 8) == 1.0
    assert sampled_gaussian_rdp(2.0, 1 - 1e-15, 8) == pytest.approx(1.0, rel=1e-9)


def test_next_to_no_noise_costs_more_than_anybody_has() -> None:
    assert 1e20 < sampled_gaussian_rdp(2.0**-40, 0.5, 4) < math.inf

"""Bounds from error rates against exact binomial sums and Gaussians whose truth is known."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from common.errors import Code, ConfigError
from common.privacy.gdp import gaussian_epsilon
from simulations.attacks.error_rates import (
    ErrorRates,
    many_run_ceiling,
    split_bound,
    upper_rate,
)

SURE = 1 - 1e-6


def at_most(count: int, trials: int, chance: float) -> float:
    """P[Binomial ≤ count], by exact fractions."""
    p = Fraction(chance)
    terms = (math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1))
    return float(sum(terms, start=Fraction(0)))


@pytest.mark.parametrize("level", [0.05, 0.025, 1e-6])
def test_at_the_upper_bound_so_few_errors_are_just_improbable(level: float) -> None:
    for trials in (1, 7, 40):
        bounds = upper_rate(np.arange(trials + 1), trials, level)
        for count in range(trials):
            assert at_most(count, trials, float(bounds[count])) == pytest.approx(level, rel=1e-9)
        assert bounds[trials] == 1.0


def test_the_upper_bound_fails_with_its_level_at_most() -> None:
    trials, level = 60, 0.05
    bounds = upper_rate(np.arange(trials + 1), trials, level)
    for rate in (0.01, 0.05, 0.3, 0.5, 0.9):
        too_low = [k for k in range(trials + 1) if bounds[k] < rate]
        failure = at_most(max(too_low), trials, rate) if too_low else 0.0
        assert failure <= level + 1e-12


def test_bounds_are_those_of_the_region_that_a_guarantee_allows() -> None:
    rates = ErrorRates(30, 700, 1000, 0.95)
    positive, negative = rates.upper
    by_hand = math.log((1 - 1e-5 - negative) / positive)
    assert rates.epsilon(1e-5) == pytest.approx(by_hand)
    turned = ErrorRates(700, 30, 1000, 0.95)
    assert turned.epsilon(1e-5) == pytest.approx(by_hand)
    assert turned.mu == pytest.approx(rates.mu)
    assert ErrorRates(500, 500, 1000, 0.95).epsilon(0.0) == 0.0
    assert ErrorRates(1000, 1000, 1000, 0.95).mu == 0.0


def test_the_ceiling_is_a_test_without_an_error() -> None:
    upper = 1 - 0.025 ** (1 / 1000)
    assert many_run_ceiling(1000) == pytest.approx(math.log((1 - upper) / upper))
    assert many_run_ceiling(100_000) == pytest.approx(10.2, abs=0.05)
    far = np.random.default_rng(1).permutation(np.arange(1000.0))
    found = split_bound(far, far + 5000, 0.0, 0.95)
    assert found.epsilon == pytest.approx(many_run_ceiling(500))
    assert math.isinf(found.gaussian_epsilon)


@pytest.mark.parametrize("mu", [0.3, 0.92, 2.0])
def test_a_gaussian_mechanism_is_bounded_from_below_and_closely(mu: float) -> None:
    """At a confidence of 1 - 1e-6 the bound is wrong once in a million; 5 σ cost little."""
    rng = np.random.default_rng(3)
    found = split_bound(rng.standard_normal(40_000), mu + rng.standard_normal(40_000), 1e-5, SURE)
    assert 0.92 * mu - 0.1 < found.mu <= mu
    assert found.epsilon <= found.gaussian_epsilon <= gaussian_epsilon(mu, 1e-5)
    assert found.runs == 20_000


def test_bounds_are_wrong_in_5_percent_of_audits_at_most() -> None:
    """2,000 audits of a mechanism with μ = 1, thresholds chosen anew in each."""
    rng = np.random.default_rng(4)
    epsilon, wrong_mu, wrong = gaussian_epsilon(1.0, 1e-2), 0, 0
    for _ in range(2000):
        without, having = rng.standard_normal((2, 200))
        found = split_bound(without, having + 1.0, 1e-2, 0.95)
        wrong_mu += found.mu > 1.0
        wrong += found.epsilon > epsilon
    # at a true rate of 5%, more than 8% of 2,000 has probability 1e-8
    assert wrong_mu <= 0.08 * 2000
    assert wrong <= 0.08 * 2000


def test_thresholds_come_from_the_first_half_alone() -> None:
    """A second half that is all noise shows nothing, whatever the first half promised."""
    rng = np.random.default_rng(5)
    without, having = rng.standard_normal((2, 4000))
    having[:2000] += 100.0
    assert split_bound(without, having, 0.0, SURE).epsilon == 0.0
    having[2000:] += 100.0
    having[:2000] -= 100.0
    # noise chose the thresholds, and what it chose still judges the second half fairly
    assert split_bound(without, having, 0.0, SURE).epsilon < many_run_ceiling(2000, SURE)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ErrorRates(11, 0, 10, 0.95),
        lambda: ErrorRates(0, -1, 10, 0.95),
        lambda: ErrorRates(0, 0, 0, 0.95),
        lambda: ErrorRates(0, 0, 10, 1.0),
        lambda: split_bound(np.zeros(3), np.zeros(3), 0.0, 0.95),
        lambda: split_bound(np.zeros(8), np.zeros(9), 0.0, 0.95),
        lambda: split_bound(np.zeros(8), np.zeros(8), 1.0, 0.95),
    ],
)
def test_what_cannot_be_meant_is_refused(call: object) -> None:
    with pytest.raises(ConfigError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code is Code.CONFIG_INVALID

"""Bounds of one run against exact sums, and against mechanisms whose truth is known."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Code, ConfigError
from common.privacy.gdp import gaussian_epsilon
from simulations.attacks.bounds import (
    epsilon_of_mu,
    one_run_ceiling,
    one_run_epsilon,
    one_run_mu,
    one_run_p_value,
)


def tail(count: int, trials: int, chance: Fraction) -> Fraction:
    """P[Binomial ≥ count], exactly."""
    return sum(
        (
            math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k)
            for k in range(max(count, 0), trials + 1)
        ),
        start=Fraction(0),
    )


def p_value_oracle(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> Fraction:
    """Theorem 5.2 written out: f(v) + 2 m δ max over i of (f(v - i) - f(v)) / i."""
    right = Fraction(math.exp(epsilon) / (1 + math.exp(epsilon)))
    here = tail(correct, guesses, right)
    slopes = [(tail(correct - i, guesses, right) - here) / i for i in range(1, canaries + 1)]
    return min(Fraction(1), here + 2 * canaries * Fraction(delta) * max(slopes))


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-2])
def test_the_p_value_is_the_theorem(epsilon: float, delta: float) -> None:
    for canaries in (1, 4, 9):
        for guesses in range(canaries + 1):
            for correct in range(guesses + 1):
                exact = p_value_oracle(canaries, guesses, correct, epsilon, delta)
                found = one_run_p_value(canaries, guesses, correct, epsilon, delta)
                assert found == pytest.approx(float(exact), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("delta", [1e-3, 0.05])
def test_a_mechanism_that_tells_the_truth_with_chance_delta_stays_below_it(delta: float) -> None:
    """Randomised response at ε that shows a coin openly with probability δ: the worst there is."""
    epsilon, canaries = 1.0, 12
    honest = Fraction(math.exp(epsilon) / (1 + math.exp(epsilon)))
    right = Fraction(delta) + (1 - Fraction(delta)) * honest
    for correct in range(canaries + 1):
        happens = float(tail(correct, canaries, right))
        assert happens <= one_run_p_value(canaries, canaries, correct, epsilon, delta) + 1e-12


def test_the_ceiling_is_what_the_specification_says() -> None:
    assert one_run_ceiling(1000) == pytest.approx(5.809, abs=1e-3)
    q = 0.05 ** (1 / 1000)
    assert one_run_ceiling(1000) == pytest.approx(math.log(q / (1 - q)), abs=1e-6)
    assert one_run_ceiling(1000, delta=1e-5) < one_run_ceiling(1000)
    assert one_run_ceiling(1000, 0.99) < one_run_ceiling(1000) < one_run_ceiling(10_000)


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0])
def test_randomised_response_is_over_estimated_in_5_percent_at_most(epsilon: float) -> None:
    """Exact coverage: the number of right guesses of r is Binomial(r, q)."""
    canaries, guesses = 300, 200
    right = Fraction(math.exp(epsilon) / (1 + math.exp(epsilon)))
    over = next(
        v for v in range(guesses + 1) if one_run_epsilon(canaries, guesses, v, 0.0) > epsilon
    )
    assert float(tail(over, guesses, right)) <= 0.05
    assert (
        one_run_epsilon(canaries, guesses, round(float(guesses * right)), 0.0) > 0.7 * epsilon - 0.3
    )


def correct_guesses(mu: float, canaries: int, each_way: int, runs: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    included = rng.random((runs, canaries)) < 0.5
    scores = rng.standard_normal((runs, canaries)) + mu * included
    order = np.argsort(scores, axis=1)
    ranked = np.take_along_axis(included, order, axis=1)
    right = ranked[:, -each_way:].sum(axis=1) + (~ranked[:, :each_way]).sum(axis=1)
    return [int(value) for value in right]


@pytest.mark.parametrize(("mu", "each_way"), [(0.5, 20), (1.0, 40), (2.0, 80)])
def test_a_gaussian_mechanism_is_over_estimated_in_5_percent_at_most(
    mu: float, each_way: int
) -> None:
    """The best attack on an exact Gaussian mechanism, 4,000 audits: both bounds hold."""
    canaries, delta, runs = 200, 1e-5, 4000
    found = correct_guesses(mu, canaries, each_way, runs, seed=1)
    bound_mu = cache(lambda v: one_run_mu(canaries, 2 * each_way, v))
    bound = cache(lambda v: one_run_epsilon(canaries, 2 * each_way, v, delta))
    epsilon = gaussian_epsilon(mu, delta)
    # at a true rate of 5%, more than 7% of 4,000 has probability 1e-8
    assert sum(bound_mu(v) > mu for v in found) <= 0.07 * runs
    assert sum(bound(v) > epsilon for v in found) <= 0.07 * runs
    assert np.median([bound_mu(v) for v in found]) > 0.2 * mu


def test_a_gaussian_bound_says_more_than_one_for_every_mechanism() -> None:
    mu = one_run_mu(1000, 100, 88)
    assert epsilon_of_mu(mu, 1e-5) > one_run_epsilon(1000, 100, 88, 1e-5) > 1.0


def test_nothing_is_shown_by_guesses_that_are_no_better_than_coins() -> None:
    assert one_run_epsilon(1000, 100, 50, 0.0) == 0.0
    assert one_run_epsilon(1000, 0, 0, 0.0) == 0.0
    assert one_run_mu(1000, 100, 50) == 0.0
    assert one_run_mu(1000, 100, 0) == 0.0
    assert epsilon_of_mu(0.0, 1e-5) == 0.0
    assert math.isinf(epsilon_of_mu(1.0, 0.0))


@given(
    canaries=st.integers(1, 400),
    share=st.floats(0, 1),
    right=st.floats(0, 1),
    delta=st.sampled_from([0.0, 1e-6, 1e-3]),
)
def test_more_right_guesses_show_more(
    canaries: int, share: float, right: float, delta: float
) -> None:
    guesses = round(share * canaries)
    correct = round(right * guesses)
    here = one_run_epsilon(canaries, guesses, correct, delta)
    assert here <= one_run_ceiling(canaries, delta=0.0) + 1e-9
    assert one_run_epsilon(canaries, guesses, correct, delta, 0.99) <= here + 1e-9
    if correct:
        assert one_run_epsilon(canaries, guesses, correct - 1, delta) <= here + 1e-9
        assert one_run_mu(canaries, guesses, correct - 1) <= one_run_mu(canaries, guesses, correct)


@pytest.mark.parametrize(
    "call",
    [
        lambda: one_run_epsilon(10, 11, 1, 0.0),
        lambda: one_run_epsilon(10, 5, 6, 0.0),
        lambda: one_run_epsilon(0, 0, 0, 0.0),
        lambda: one_run_epsilon(10, 5, 5, 0.0, 1.0),
        lambda: one_run_mu(10, 5, 5, 0.2),
        lambda: one_run_mu(10, 5, -1),
        lambda: one_run_p_value(10, 5, 5, -1.0, 0.0),
        lambda: one_run_p_value(10, 5, 5, 1.0, 2.0),
        lambda: one_run_p_value(10, 5, 5, math.nan, 0.0),
    ],
)
def test_what_cannot_be_meant_is_refused(call: object) -> None:
    with pytest.raises(ConfigError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code is Code.CONFIG_INVALID

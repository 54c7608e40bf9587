"""How many canaries are named is decided before the run, by public facts."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import Code, ConfigError
from simulations.attacks.bounds import one_run_epsilon
from simulations.attacks.guesses import guess, guesses_each_way


def test_without_privacy_as_many_as_coins_surely_leave() -> None:
    assert guesses_each_way(1000, None, 0.0, 0.95) == (452,)
    assert guesses_each_way(100, None, 0.0, 0.95) == (35,)


def test_under_a_promise_also_as_many_as_would_show_most() -> None:
    few, every = guesses_each_way(1000, 4.0, 1e-5, 0.95)
    assert every == 452
    assert 20 < few < 100
    weak, _ = guesses_each_way(1000, 12.0, 1e-5, 0.95)
    assert weak > few


def test_perfect_scores_are_all_right_and_their_bound_is_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    included = rng.random(1000) < 0.5
    scores = included + 0.01 * rng.random(1000)
    (found,) = guess(scores, included, (452,), 0.0, 0.95)
    assert (found.made, found.correct) == (904, 904)
    assert found.epsilon == found.ceiling > 5.7
    (wrong,) = guess(-scores, included, (452,), 0.0, 0.95)
    assert (wrong.correct, wrong.epsilon, wrong.mu) == (0, 0.0, 0.0)


def test_several_numbers_of_guesses_share_the_confidence() -> None:
    included = np.arange(200) < 100
    few, many = guess(included.astype(float), included, (10, 80), 1e-5, 0.95)
    assert few.confidence == many.confidence == pytest.approx(0.975)
    assert few.epsilon == one_run_epsilon(200, 20, 20, 1e-5, few.confidence)
    assert few.epsilon < many.epsilon < one_run_epsilon(200, 160, 160, 1e-5, 0.95)


def test_scores_that_say_nothing_show_nothing() -> None:
    """Equal scores leave the order of the canaries, which coins do not know."""
    included = np.random.default_rng(2).random(1000) < 0.5
    for found in guess(np.zeros(1000), included, (30, 452), 0.0, 1 - 1e-6):
        assert found.epsilon == 0.0


def test_too_few_canaries_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        guesses_each_way(19, None, 0.0, 0.95)
    assert caught.value.code is Code.CONFIG_INVALID
    assert guesses_each_way(20, None, 0.0, 0.95) == (3,)

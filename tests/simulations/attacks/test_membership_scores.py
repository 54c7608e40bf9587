"""Statistics against a slow oracle; the likelihood ratio where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from common.arrays import Histories
from common.models.mf import FoldIn, MatrixFactorisation
from simulations.attacks.membership_scores import (
    STATISTICS,
    likelihood_ratios,
    user_statistics,
)
from simulations.attacks.roc import roc_curve


def some_histories(rng: np.random.Generator, users: int, items: int) -> Histories:
    rows = [np.sort(rng.choice(items, rng.integers(1, 6), replace=False)) for _ in range(users)]
    indptr = np.cumsum([0, *map(len, rows)])
    return Histories(indptr, np.concatenate(rows), np.ones(indptr[-1]), items)


def some_model(rng: np.random.Generator, items: int, dim: int) -> MatrixFactorisation:
    return MatrixFactorisation.from_embeddings(
        rng.normal(size=(items, dim)), rng.random(items) + 0.1, FoldIn(regularisation=0.5)
    )


@given(st.integers(0, 2**32))
def test_statistics_agree_with_one_user_at_a_time(seed):
    rng = np.random.default_rng(seed)
    histories, model = some_histories(rng, 5, 12), some_model(rng, 12, 3)
    found = user_statistics(model, histories)
    assert found.shape == (5, len(STATISTICS))
    vectors = model.item_embeddings.astype(float)
    project = vectors @ np.linalg.pinv(vectors)
    share = model.popularity.astype(float) / model.popularity.sum(dtype=float)
    for user in range(5):
        items = histories.items[histories.indptr[user] : histories.indptr[user + 1]]
        row = np.zeros(12)
        row[items] = 1 / math.sqrt(len(items))
        mine = vectors[items]
        system = mine.T @ mine + 0.3 * vectors.T @ vectors + 0.5 * np.eye(3)
        folded = np.linalg.solve(system, mine.sum(axis=0))
        expected = [row @ share, row @ project @ row, (mine @ folded).mean()]
        assert found[user] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_model_of_popularity_alone_explains_nothing():
    histories = some_histories(np.random.default_rng(0), 4, 9)
    model = MatrixFactorisation.from_embeddings(np.zeros((9, 1)), np.ones(9), FoldIn())
    found = user_statistics(model, histories)
    assert (found[:, 1:] == 0).all()
    assert (found[:, 0] > 0).all()


def world(rng, distances, models=48, users=1_500):
    """Statistics that are Gaussian, `distances` spreads apart between in and out."""
    coins = rng.random((models, users)) < 0.5
    level = rng.normal(size=(users, len(distances))) * 10
    spread = np.exp(rng.normal(size=(users, len(distances))))
    noise = rng.normal(size=(models, users, len(distances)))
    return level + spread * (noise + coins[..., None] * np.array(distances)), coins


def area(statistics, coins):
    ratios = likelihood_ratios(statistics[0], statistics[1:], coins[1:])
    return roc_curve(ratios[coins[0]], ratios[~coins[0]]).auc


@pytest.mark.parametrize("distances", [(1.0,), (0.3,), (1.0, 0.5), (0.0, 2.0)])
def test_it_is_nearly_as_good_as_whoever_knows_the_gaussians(distances):
    best = ndtr(np.linalg.norm(distances) / math.sqrt(2))
    found = area(*world(np.random.default_rng(7), distances))
    assert best - 0.06 < found < best + 0.04


def test_nothing_is_seen_where_nothing_is():
    """The area of a guess has deviation √(1/12 (1/m + 1/n)): six of them either way."""
    deviation = math.sqrt((1 / 750 + 1 / 750) / 12)
    for seed in range(5):
        statistics, coins = world(np.random.default_rng(seed), (0.0, 0.0))
        assert abs(area(statistics, coins) - 0.5) < 6 * deviation


def test_the_mean_over_users_helps_where_each_user_tells_little():
    """With eight models, a distance of a third of a spread is lost in its own scatter."""
    found = area(*world(np.random.default_rng(2), (0.35,), models=9, users=6_000))
    assert found > 0.56


@given(st.integers(0, 2**32), st.floats(-1e3, 1e3), st.floats(1e-2, 1e2))
def test_levels_and_units_of_a_statistic_do_not_matter(seed, level, unit):
    rng = np.random.default_rng(seed)
    statistics, coins = world(rng, (1.0, 0.4), models=10, users=30)
    moved = statistics * np.array([unit, 1.0]) + np.array([level, 0.0])
    plain = likelihood_ratios(statistics[0], statistics[1:], coins[1:])
    assert likelihood_ratios(moved[0], moved[1:], coins[1:]) == pytest.approx(
        plain, rel=1e-3, abs=1e-4
    )


def test_a_user_whom_no_shadow_held_is_not_judged():
    statistics, coins = world(np.random.default_rng(1), (1.0,), models=12, users=40)
    coins[1:, 3], coins[1:, 4] = False, True
    ratios = likelihood_ratios(statistics[0], statistics[1:], coins[1:])
    assert ratios[3] == ratios[4] == 0.0
    assert np.isfinite(ratios).all()
    assert (ratios[5:] != 0).all()
    coins[1:] = False
    assert (likelihood_ratios(statistics[0], statistics[1:], coins[1:]) == 0).all()


def test_statistics_that_never_move_tell_nothing_and_break_nothing():
    statistics, coins = world(np.random.default_rng(1), (1.0, 0.0), models=12, users=200)
    statistics[:, :, 1] = 3.0
    ratios = likelihood_ratios(statistics[0], statistics[1:], coins[1:])
    alone = likelihood_ratios(statistics[0, :, :1], statistics[1:, :, :1], coins[1:])
    assert np.isfinite(ratios).all()
    assert np.corrcoef(ratios, alone)[0, 1] > 0.99

"""Errors of predicted ratings, against a slow loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.arrays import Floats, Histories
from common.evaluation import ratings
from common.evaluation.ratings import evaluate_ratings, global_mean, item_means

ITEMS, USERS = 12, 9


class Model:
    """Everybody rates item i at their number of known events plus i."""

    def fold_in(self, histories: Histories) -> Floats:
        return histories.lengths[:, None].astype(np.float64)

    def ratings(self, user_vectors: Floats) -> Floats:
        found: Floats = user_vectors + np.arange(ITEMS)
        return found


def histories(seed: int, fewest: int) -> Histories:
    rng = np.random.default_rng(seed)
    rows = [
        np.sort(rng.choice(ITEMS, rng.integers(fewest, 6), replace=False)) for _ in range(USERS)
    ]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    return Histories(indptr, items, rng.uniform(1, 5, len(items)), ITEMS)


@pytest.mark.parametrize("at_once", [1, 25, 1 << 22])
def test_errors_are_those_of_a_slow_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "_AT_ONCE", at_once)
    known, asked = histories(0, 1), histories(1, 0)
    errors = [
        known.lengths[user] + asked.items[event] - asked.weights[event]
        for user in range(USERS)
        for event in range(asked.indptr[user], asked.indptr[user + 1])
    ]
    found = evaluate_ratings(Model(), known, asked)
    assert found.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.mae == pytest.approx(np.mean(np.abs(errors)))
    assert found.squared.count == len(errors)


def test_means_are_those_of_the_ratings_that_are_there() -> None:
    rated = replace(histories(0, 1), weights=histories(0, 1).weights.copy())
    rated.weights[::3] = np.nan
    there = np.isfinite(rated.weights)
    mean = rated.weights[there].mean()
    np.testing.assert_allclose(global_mean(rated).by_item, mean)
    by_item = item_means(rated).by_item
    for item in range(ITEMS):
        mine = rated.weights[there & (rated.items == item)]
        assert by_item[item] == pytest.approx((mine.sum() + 5 * mean) / (len(mine) + 5))
    asked = histories(1, 0)
    found = evaluate_ratings(item_means(rated), rated, asked)
    assert found.mae == pytest.approx(np.abs(by_item[asked.items] - asked.weights).mean())


def test_what_was_not_rated_is_not_asked_for() -> None:
    known, asked = histories(0, 1), histories(1, 0)
    weights = asked.weights.copy()
    weights[1::2] = np.nan
    found = evaluate_ratings(Model(), known, replace(asked, weights=weights))
    there = asked.keep(np.isfinite(weights))
    assert found.squared.count == len(there.items)
    assert found.rmse == pytest.approx(evaluate_ratings(Model(), known, there).rmse)

"""Errors of predicted ratings, against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Floats, Histories
from common.evaluation import ratings
from common.evaluation.ratings import evaluate_ratings

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

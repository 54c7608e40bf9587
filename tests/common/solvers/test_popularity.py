"""Popularity: one sum of norm one per user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Histories
from common.solvers.base import NoisyTotal, PublicFacts
from common.solvers.popularity import Popularity, popularity_contribution, popularity_from


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: None = None


def two_users() -> Histories:
    indptr = np.array([0, 4, 5, 5], dtype=np.int64)
    return Histories(indptr, np.array([0, 1, 2, 3, 1], dtype=np.int64), np.full(5, 9.0), 5)


def test_each_user_contributes_norm_one_and_a_user_without_events_nothing() -> None:
    rows = popularity_contribution(two_users(), np.arange(3, dtype=np.int64))
    np.testing.assert_allclose(rows.values[:, 0], [0.5, 0.5, 0.5, 0.5, 1.0])
    assert list(rows.indptr) == [0, 4, 5, 5]


def test_released_popularity_is_positive_and_at_least_half_its_noise() -> None:
    total = NoisyTotal(np.array([[-3.0], [0.0], [5.0]]), noise_std=2.0, population=10)
    np.testing.assert_array_equal(popularity_from(total), [1.0, 1.0, 5.0])


def test_the_model_ranks_by_popularity_for_everybody() -> None:
    facts = PublicFacts(
        n_items=5, population=3, clients=1, epsilon=None, delta=0, signal=3.0, private=False
    )
    solver = Popularity(Popularity.Settings(), facts)
    total = np.zeros((5, 1))
    users = np.arange(3, dtype=np.int64)
    for batch in solver.contribute(0, {}, Data(two_users()), users):
        batch.add_to(total)
    model = solver.finish(solver.advance(0, {}, NoisyTotal(total, 0.0, 3)))
    scores = model.scores(model.fold_in(two_users()))
    assert (scores.argmax(axis=1) == 1).all()
    assert {n: a.shape for n, a in model.arrays().items()} == {
        n: spec.shape for n, spec in solver.model_specs.items()
    }

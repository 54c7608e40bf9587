from __future__ import annotations

import numpy as np

from common.arrays import Histories
from common.evaluation.baselines import (
    PopularityScorer,
    RandomScorer,
    popularity_counts,
    row_normalised_counts,
)

HISTORIES = Histories(np.array([0, 1, 1, 5]), np.array([2, 0, 1, 2, 3]), np.full(5, 7.0), 6)


def test_counts_are_of_users_whatever_the_weights() -> None:
    np.testing.assert_array_equal(popularity_counts(HISTORIES), [1, 1, 2, 1, 0, 0])


def test_row_normalised_counts_give_every_user_norm_one() -> None:
    np.testing.assert_allclose(row_normalised_counts(HISTORIES), [0.5, 0.5, 1.5, 0.5, 0, 0])


def test_popularity_is_the_same_for_everybody() -> None:
    scores = PopularityScorer(popularity_counts(HISTORIES)).scores(np.array([2, 0]))
    assert scores.shape == (2, 6)
    np.testing.assert_array_equal(scores[0], scores[1])


def test_chance_depends_on_seed_and_user_alone() -> None:
    scorer = RandomScorer(6, 1)
    whole = scorer.scores(np.arange(4))
    np.testing.assert_array_equal(scorer.scores(np.array([3, 1])), whole[[3, 1]])
    assert (RandomScorer(6, 2).scores(np.arange(4)) != whole).all()
    assert len(np.unique(whole)) == whole.size
    assert scorer.scores(np.zeros(0, np.int64)).shape == (0, 6)

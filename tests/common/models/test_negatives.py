from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.arrays import Histories
from common.models.negatives import complement_sizes, sample_negatives


def rows(lists: list[list[int]], n_items: int) -> Histories:
    items = np.array([i for part in lists for i in part], dtype=np.int64)
    indptr = np.cumsum([0, *map(len, lists)])
    return Histories(indptr, items, np.ones(len(items)), n_items)


users = st.lists(st.sets(st.integers(0, 11)).map(sorted), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(users, st.integers(1, 14), st.integers(0, 2**32 - 1))
def test_negatives_are_distinct_items_without_an_event(
    lists: list[list[int]], n: int, seed: int
) -> None:
    histories = rows(lists, 12)
    drawn = sample_negatives(histories, n, np.random.default_rng(seed))
    assert drawn.shape == (len(lists), n)
    for row, own, pool in zip(drawn.tolist(), lists, complement_sizes(histories), strict=True):
        given_ = [i for i in row if i >= 0]
        assert len(given_) == len(set(given_)) == min(n, pool)
        assert not set(given_) & set(own)
        assert set(given_) <= set(range(12))
        assert row[len(given_) :] == [-1] * (n - len(given_))


@pytest.mark.parametrize("n", [2, 3, 6])
def test_every_item_of_the_pool_is_equally_likely(n: int) -> None:
    own = [0, 3, 4, 11]
    many = rows([own] * 6000, 12)
    counts = np.bincount(sample_negatives(many, n, np.random.default_rng(5)).ravel(), minlength=12)
    assert not counts[own].any()
    pool = np.delete(counts, own)
    # without replacement the counts vary less than multinomial ones by 1 - n/pool
    spread = ((pool - pool.mean()) ** 2 / pool.mean()).sum() / (1 - n / 8) * 7 / 8
    assert 0.001 < stats.chi2.sf(spread, 7) < 0.999


def test_pairs_are_equally_likely() -> None:
    many = rows([[2]] * 30_000, 6)
    drawn = np.sort(sample_negatives(many, 2, np.random.default_rng(7)), axis=1)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 10
    assert stats.chisquare(counts).pvalue > 0.001


def test_the_same_generator_draws_the_same() -> None:
    histories = rows([[1, 2], [0]], 30)
    first = sample_negatives(histories, 5, np.random.default_rng(9))
    np.testing.assert_array_equal(first, sample_negatives(histories, 5, np.random.default_rng(9)))


def test_blocks_of_users_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.models.negatives._BLOCK_VALUES", 40)
    lists = [[u % 20] for u in range(50)]
    drawn = sample_negatives(rows(lists, 20), 3, np.random.default_rng(0))
    assert all(own[0] not in row for own, row in zip(lists, drawn.tolist(), strict=True))

"""Outer products written out and added up, own rows and shared ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import rank_one
from common.privacy.rank_one import RankOne, places_in
from tests.common.privacy.batches import shared_rank_one


def by_hand(batch: RankOne, n_rows: int) -> np.ndarray:
    """`[users, rows, width]`, entry by entry."""
    found = np.zeros((len(batch.users), n_rows, batch.right.shape[1]))
    for user in range(len(batch.users)):
        for entry in range(batch.indptr[user], batch.indptr[user + 1]):
            found[user, batch.rows[entry]] += batch.left[entry] * batch.right[user]
        for place, row in enumerate(batch.shared_rows):
            found[user, row] += batch.shared_left[user, place] * batch.right[user]
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    users=st.integers(0, 5),
    shared=st.integers(0, 6),
    at_once=st.sampled_from([1, 7, 40, 10**6]),
)
def test_every_way_is_the_sum_by_hand(seed: int, users: int, shared: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    batch = shared_rank_one(rng, np.arange(users) * 3, 9, 2, shared)
    expected = by_hand(batch, 9)
    found, seen = np.zeros_like(expected), []
    for block in batch.expand(at_once):
        for place, user in enumerate(block.users):
            mine = slice(block.indptr[place], block.indptr[place + 1])
            assert np.all(np.diff(block.rows[mine]) > 0)
            assert set(batch.shared_rows) <= set(block.rows[mine])
            found[user // 3, block.rows[mine]] = block.values[mine]
            seen.append(user)
    assert seen == batch.users.tolist()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    total = np.ones((9, 2))
    batch.add_to(total)
    np.testing.assert_allclose(total, 1.0 + expected.sum(axis=0), atol=1e-12)


def test_some_users_of_a_batch() -> None:
    batch = shared_rank_one(np.random.default_rng(1), np.arange(6), 9, 2, 3)
    expected = by_hand(batch, 9)
    for start, stop in ((0, 2), (2, 6), (3, 3)):
        part = batch.take(slice(start, stop))
        assert part.users.tolist() == list(range(start, stop))
        np.testing.assert_array_equal(by_hand(part, 9), expected[start:stop])


@pytest.mark.parametrize("largest", [0, 1 << 22])
@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 80)))
def test_places_by_table_and_by_search(largest: int, shared: set[int], rows: list[int]) -> None:
    everybody, asked = np.array(sorted(shared), dtype=np.int64), np.array(rows, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_one, "_LARGEST_LOOKUP", largest)
        found = places_in(everybody, asked).tolist()
    listed = everybody.tolist()
    assert found == [listed.index(row) if row in shared else -1 for row in rows]

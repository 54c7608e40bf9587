import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.gathered import GatheredRows, dense_rows
from tests.common.privacy.gathered_batches import by_hand, gathered


@settings(max_examples=150, deadline=None)
@given(gathered(), st.integers(1, 60))
def test_written_out_it_is_what_each_user_has_by_hand(batch, max_values):
    users, found = [], []
    for block in batch.expand(max_values):
        assert block.values.dtype == np.float64
        assert len(block.indptr) == len(block.users) + 1
        for b in range(len(block.users)):
            mine = slice(block.indptr[b], block.indptr[b + 1])
            assert np.all(np.diff(block.rows[mine]) > 0)
            found.append(dict(zip(block.rows[mine].tolist(), block.values[mine], strict=True)))
        users.extend(block.users.tolist())
    assert users == batch.users.tolist()
    for ours, slow in zip(found, by_hand(batch), strict=True):
        assert sorted(ours) == sorted(slow)
        for row, values in slow.items():
            np.testing.assert_array_equal(ours[row], values)


@settings(max_examples=60, deadline=None)
@given(gathered(items=9).filter(lambda batch: np.all(np.isfinite(batch.own_values))))
def test_the_plain_sum_is_in_float64(batch):
    total = np.zeros((12 + len(batch.dense_rows), batch.width))
    expected = total.copy()
    for mine in by_hand(batch):
        for row, values in mine.items():
            expected[row] += values
    batch.add_to(total)
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-12)


def test_float32_values_add_up_without_losing_a_bit_of_them():
    ones = np.array([[[2.0**24]], [[1.0]]], dtype=np.float32)  # 2^24 + 1 is no float32
    batch = GatheredRows(
        np.array([0, 1]),
        np.array([[3], [3]]),
        ones,
        np.array([4]),
        ones,
        range(5, 6),
        ones[:, 0],
    )
    total = np.zeros((6, 1))
    batch.add_to(total)
    assert total[:, 0].tolist() == [0, 0, 0, 2**24 + 1, 2**24 + 1, 2**24 + 1]
    assert batch.take(slice(1, 2)).users.tolist() == [1]


def test_a_row_that_is_own_and_shared_is_one_row():
    batch = GatheredRows(
        np.array([7]),
        np.array([[2, -1, 0]]),
        np.array([[[1.0, 2.0], [np.nan, 9.0], [3.0, 4.0]]], dtype=np.float32),
        np.array([1, 2]),
        np.array([[[10.0, 20.0], [30.0, 40.0]]], dtype=np.float32),
        range(3, 5),
        np.array([[5.0, 6.0, 7.0]], dtype=np.float32),
    )
    (block,) = batch.expand(1)
    assert block.rows.tolist() == [0, 1, 2, 3, 4]
    assert block.values.tolist() == [[3, 4], [10, 20], [31, 42], [5, 6], [7, 0]]
    assert batch.values_per_user == 5 * 2 + 3


@pytest.mark.parametrize(("parameters", "width", "rows"), [(0, 3, 0), (3, 3, 1), (4, 3, 2)])
def test_dense_rows_hold_all_parameters(parameters, width, rows):
    assert dense_rows(10, parameters, width) == range(10, 10 + rows)

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.privacy.contributions import SparseRows
from common.privacy.grid import LARGEST_CLIP_GRID, quantise

HOSTILE = st.one_of(
    st.floats(-2, 2),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(
        [0.0, -0.0, 5e-324, 1e-310, 1e154, -1e200, 1.7e308, float("inf"), float("nan")]
    ),
)


@st.composite
def blocks(draw):
    width = draw(st.integers(1, 4))
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    entries = sum(lengths)
    values = draw(st.lists(HOSTILE, min_size=entries * width, max_size=entries * width))
    rows = np.concatenate([np.arange(n) for n in lengths]).astype(np.int64)
    return SparseRows(
        np.arange(len(lengths)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        rows,
        np.array(values).reshape(entries, width),
    )


def one_user(values):
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    return SparseRows(np.array([0]), np.array([0, len(values)]), np.arange(len(values)), values)


def exact_squared_norm(units):
    return sum(int(unit) ** 2 for unit in units.ravel())


@settings(max_examples=200, deadline=None)
@given(
    blocks(),
    st.sampled_from([1e-300, 0.1, 1.0, 3.7, 1e300]),
    st.sampled_from([1, 2, 1023, 2**20, LARGEST_CLIP_GRID]),
)
@example(one_user([[1.7e308, 1.7e308]]), 1.0, 2**30)
@example(one_user([[5e-324, 5e-324]]), 1.0, 2**30)
def test_integer_norm_never_exceeds_the_clip(block, clip_norm, clip_grid):
    units = quantise(block, clip_norm, clip_grid)
    assert units.dtype == np.int64
    assert units.shape == block.values.shape
    for user in range(len(block.users)):
        mine = slice(block.indptr[user], block.indptr[user + 1])
        assert exact_squared_norm(units[mine]) <= clip_grid**2
        if not np.all(np.isfinite(block.values[mine])):
            assert not units[mine].any()
        alone = one_user(block.values[mine]) if mine.stop > mine.start else None
        if alone is not None:  # nobody else has a say in it
            assert np.array_equal(quantise(alone, clip_norm, clip_grid), units[mine])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.floats(0.01, 100))
def test_small_contributions_lose_less_than_a_unit(values, clip_norm):
    clip_grid = 2**20
    x = np.array(values) * clip_norm / np.sqrt(len(values)) * 0.999
    units = quantise(one_user(x[:, None]), clip_norm, clip_grid)[:, 0]
    exact = x * clip_grid / clip_norm
    assert np.all(np.abs(units) <= np.abs(exact) + 1e-9)  # towards zero
    assert np.all(np.abs(units - exact) < 1 + 1e-3)


def test_large_contributions_keep_their_direction_and_reach_the_clip():
    x = np.random.default_rng(0).normal(size=(200, 3)) * 1e6
    units = quantise(one_user(x), 2.0, 2**26)
    cosine = np.sum(units * x) / np.linalg.norm(units) / np.linalg.norm(x)
    assert cosine == pytest.approx(1, abs=1e-9)
    assert np.linalg.norm(units) == pytest.approx(2**26, rel=1e-5)


def test_a_huge_finite_contribution_is_clipped_not_dropped():
    units = quantise(one_user([[1e308, 0.0, -1e308]]), 1.0, 2**20)
    assert units[0, 0] == -units[0, 2] == pytest.approx(2**20 / np.sqrt(2), rel=1e-5)


def test_rounding_up_would_break_the_sensitivity_that_truncation_keeps():
    clip_grid, entries = 100, 40_000
    x = np.full((entries, 1), 1 / np.sqrt(entries)) * 1.2  # 0.6 of a unit each, if unclipped
    rounded = np.rint(x * clip_grid)
    assert np.sqrt((rounded**2).sum()) > clip_grid
    assert exact_squared_norm(quantise(one_user(x), 1.0, clip_grid)) <= clip_grid**2


def test_users_without_entries_do_not_disturb_their_neighbours():
    values = np.array([[3.0], [4.0], [1.0]])
    block = SparseRows(np.arange(5), np.array([0, 0, 2, 2, 3, 3]), np.array([0, 1, 0]), values)
    units = quantise(block, 1.0, 2**20)[:, 0] / 2**20
    assert units == pytest.approx([0.6, 0.8, 1.0], abs=1e-5)
    nobody = SparseRows(np.arange(2), np.zeros(3, np.int64), np.empty(0, np.int64), values[:0])
    assert quantise(nobody, 1.0, 100).shape == (0, 1)

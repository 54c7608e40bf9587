"""Features in fewer columns keep what rows have in common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.features.narrow import narrowed


def test_as_many_columns_as_the_rank_lose_nothing_but_the_scale() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 200))
    found = narrowed(wide, 3).astype(np.float64)
    ratio = (wide @ wide.T) / (found @ found.T)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-3)
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1.0, rel=1e-5)


def test_the_strongest_directions_come_first() -> None:
    wide = np.random.default_rng(1).normal(size=(80, 6)) * [1, 9, 3, 7, 2, 5]
    found = narrowed(wide, 4)
    size = np.square(found).sum(axis=0)
    assert (np.diff(size) < 0).all()
    best = np.linalg.svd(wide, compute_uv=False)[:4]
    np.testing.assert_allclose(np.sqrt(size) / np.sqrt(size[0]), best / best[0], rtol=1e-4)


@given(st.integers(1, 8), st.integers(1, 8))
def test_rows_without_features_stay_so(columns: int, width: int) -> None:
    wide = np.random.default_rng(2).normal(size=(12, columns))
    wide[[3, 5]] = 0.0
    found = narrowed(wide, width)
    assert found.shape == (12, width)
    assert found.dtype == np.float32
    assert not found[[3, 5]].any()
    assert found[[0, 1]].any(axis=1).all()


def test_nothing_known_is_nothing() -> None:
    assert not narrowed(np.zeros((4, 9)), 3).any()

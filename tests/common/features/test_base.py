"""Features of several encoders side by side."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import Code, DataError
from common.features.base import ItemFeatures, side_by_side, unit_rows
from common.features.hashed import HashedEncoder
from common.features.precomputed import Precomputed
from tests.common.features.encoders import CATALOGUE


def test_several_encoders_stand_side_by_side() -> None:
    images = Precomputed(("3", "1", "9"), np.eye(3, 2, dtype=np.float32) + 1)
    hashed = HashedEncoder()
    found = side_by_side([hashed, images], CATALOGUE)
    assert found.width == hashed.width + 2
    assert found.missing == ()  # item 3 has no title, but an image
    assert found.unknown == ("9",)
    np.testing.assert_array_equal(found.values[:, : hashed.width], hashed.encode(CATALOGUE).values)
    assert "Not in the catalogue: 1: 9." in found.summary()


def test_no_encoder_is_an_error() -> None:
    with pytest.raises(DataError):
        side_by_side([], CATALOGUE)


@pytest.mark.parametrize(
    "values", [np.zeros(3), np.zeros((0, 2)), np.array([[1.0, np.nan]])], ids=["1d", "none", "nan"]
)
def test_features_are_a_table_of_finite_numbers(values: np.ndarray) -> None:
    with pytest.raises(DataError) as caught:
        ItemFeatures(values.astype(np.float32))
    assert caught.value.code is Code.DATA_FORMAT


def test_rows_have_norm_one_or_zero() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-100, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]], atol=1e-7)

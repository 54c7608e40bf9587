"""Dense parameters as rows, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.models.networks.packing import Packing

SHAPES = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=4)


@given(SHAPES, st.integers(1, 7))
def test_what_is_packed_comes_back(shapes: list[list[int]], width: int) -> None:
    rng = np.random.default_rng(0)
    parameters = {str(place): rng.normal(size=shape) for place, shape in enumerate(shapes)}
    packing = Packing.of(parameters, width)
    rows = packing.pack(parameters)
    assert rows.shape == (packing.rows, width)
    assert not rows.ravel()[packing.size :].any()
    back = packing.unpack(rows)
    assert list(back) == list(parameters)
    for name, values in parameters.items():
        np.testing.assert_array_equal(back[name], values)


def test_names_decide_and_not_their_order() -> None:
    parameters = {"a": np.arange(3.0), "b": np.arange(2.0)}
    packing = Packing.of(parameters, 2)
    other = dict(reversed(parameters.items()))
    np.testing.assert_array_equal(packing.pack(other), packing.pack(parameters))
    with pytest.raises(KeyError):
        packing.pack({"a": np.arange(3.0)})

"""Exact top-k against a full sort; cosines against their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from client.service.index import cosines, top_items

SCORES = arrays.arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.sampled_from([-1.5, -0.0, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf, -np.inf]),
)


def by_sorting(scores, k, allowed=None):
    """The oracle: sort everything, in Python."""
    usable = [
        place
        for place, score in enumerate(scores)
        if np.isfinite(score) and (allowed is None or allowed[place])
    ]
    return sorted(usable, key=lambda place: (-scores[place], place))[:k]


@given(SCORES, st.integers(1, 70), st.data())
def test_the_best_are_those_of_a_full_sort(scores, k, data):
    allowed = data.draw(arrays.arrays(np.bool_, len(scores)))
    assert top_items(scores, k).tolist() == by_sorting(scores, k)
    assert top_items(scores, k, allowed).tolist() == by_sorting(scores, k, allowed)


@pytest.mark.parametrize("k", [1, 10, 999, 5000])
def test_the_best_of_many_without_ties(k):
    scores = np.random.default_rng(5).normal(size=5000)
    assert top_items(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()


def test_a_mask_is_not_changed():
    scores, allowed = np.array([1.0, np.nan]), np.array([True, True])
    assert top_items(scores, 2, allowed).tolist() == [0]
    assert allowed.tolist() == [True, True]


def test_cosines_are_those_of_the_definition():
    vectors = np.random.default_rng(6).normal(size=(30, 5)).astype(np.float32)
    vectors[7] = 0.0
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    found = cosines(directions, 3)
    for item in range(30):
        if item == 7:
            assert np.isnan(found[item])
        else:
            product = float(vectors[3] @ vectors[item])
            expected = product / (np.linalg.norm(vectors[3]) * np.linalg.norm(vectors[item]))
            assert found[item] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(cosines(directions, 7)).all()

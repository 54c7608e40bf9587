"""Contributions of events: they sum to the score, whatever the model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Histories
from common.models.explain import contributions
from common.models.mf import FoldIn, MatrixFactorisation


def made_model(rng, items, dim, *, noise, exponent):
    settings = FoldIn(frequency_exponent=exponent, regularisation=0.1, popularity_mix=0.3)
    return MatrixFactorisation(
        rng.normal(size=(items, dim)).astype(np.float32),
        rng.normal(size=items).astype(np.float32),
        rng.uniform(0.5, 2, items).astype(np.float32),
        rng.uniform(0.5, 2, items).astype(np.float32),
        settings,
        rng.uniform(0, 0.3, items).astype(np.float32) if noise else None,
    )


def history_of(rng, items, length):
    mine = np.sort(rng.choice(items, length, replace=False)).astype(np.int64)
    return Histories(np.array([0, length]), mine, rng.uniform(0.5, 3, length), items)


@given(
    seed=st.integers(0, 2**16),
    dim=st.integers(1, 8),
    length=st.integers(1, 20),
    noise=st.booleans(),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_they_sum_to_the_personal_part_of_the_score(seed, dim, length, noise, exponent):
    rng = np.random.default_rng(seed)
    model = made_model(rng, 20, dim, noise=noise, exponent=exponent)
    history = history_of(rng, 20, length)
    vector = model.fold_in(history)[0]
    for item in (0, 19):
        terms = contributions(model, history, item)
        assert terms.shape == (length,)
        expected = vector @ model.item_embeddings[item].astype(np.float64)
        assert terms.sum() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_each_is_what_its_event_adds_while_the_system_stays():
    """The definition, term by term: x = A⁻¹ Σ w v, by a dense inverse."""
    rng = np.random.default_rng(3)
    model = made_model(rng, 12, 4, noise=False, exponent=0.0)
    history = history_of(rng, 12, 5)
    vectors = model.item_embeddings.astype(np.float64)
    weights = history.weights * model.item_weight[history.items]
    own = vectors[history.items]
    system = own.T @ np.diag(weights) @ own + 0.3 * vectors.T @ vectors + 0.1 * np.eye(4)
    inverse = np.linalg.inv(system)
    terms = contributions(model, history, 7)
    for place in range(5):
        expected = weights[place] * own[place] @ inverse @ vectors[7]
        assert terms[place] == pytest.approx(expected, rel=1e-9)


def test_a_gramian_at_hand_changes_nothing():
    rng = np.random.default_rng(4)
    model, history = made_model(rng, 12, 4, noise=True, exponent=0.5), history_of(rng, 12, 5)
    vectors = model.item_embeddings.astype(np.float64)
    with_it = contributions(model, history, 2, vectors.T @ vectors)
    assert np.array_equal(with_it, contributions(model, history, 2))

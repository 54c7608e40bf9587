"""Contributions of events: they sum to the score, whatever the model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Histories
from common.models.explain import contributions, left_out, terms_of, terms_without
from common.models.mf import FoldIn, MatrixFactorisation
from tests.kinds import a_drift


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


def without(model, history, place, item):
    """The slow way: a history without one event, in the order of the others."""
    left = np.delete(np.arange(len(history.items)), place)
    order = None if history.order is None else np.argsort(np.argsort(history.order[left]))
    bounds = np.array([0, len(left)])
    fewer = Histories(bounds, history.items[left], history.weights[left], history.n_items, order)
    vector = model.fold_in(fewer)
    return float(model.scores(vector)[0, item]) if vector.any() else 0.0


@pytest.mark.parametrize("length", [1, 2, 7])
def test_left_out_is_the_score_less_the_score_without_each_event(length, monkeypatch):
    rng = np.random.default_rng(5)
    mine = np.sort(rng.choice(20, length, replace=False))
    order = rng.permutation(length)
    history = Histories(np.array([0, length]), mine, np.ones(length), 20, order)
    monkeypatch.setattr("common.models.explain._AT_ONCE", 60)  # three at a time
    calls = []
    for model in (a_drift(20), made_model(rng, 20, 3, noise=True, exponent=0.5)):
        score = float(model.scores(model.fold_in(history))[0, 4])
        amounts = left_out(model, history, 4, lambda: calls.append(1))
        expected = [score - without(model, history, place, 4) for place in range(length)]
        np.testing.assert_allclose(amounts, expected, rtol=1e-9, atol=1e-12)
    assert len(calls) == 2 * -(-length // 3)


def test_terms_are_exact_where_the_model_has_them():
    rng = np.random.default_rng(6)
    model, history = made_model(rng, 12, 4, noise=True, exponent=0.5), history_of(rng, 12, 5)
    terms = terms_of(model, history, model.fold_in(history), 3)
    assert terms.exact
    assert terms.amounts.sum() == pytest.approx(terms.total, rel=1e-9)
    left = terms_without(a_drift(12), history, 3)
    assert not left.exact
    assert left.total == pytest.approx(left.amounts.sum())

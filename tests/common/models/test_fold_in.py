"""Fold-in against the written-out normal equations and against its own loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Histories
from common.models.fold_in import FoldIn, fold_in_users

N_ITEMS = 12


def make_histories(rng: np.random.Generator, users: int) -> Histories:
    rows = [np.sort(rng.choice(N_ITEMS, rng.integers(0, N_ITEMS + 1), False)) for _ in range(users)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    return Histories(indptr, items, rng.uniform(0.5, 2.0, len(items)), N_ITEMS)


def loss(
    vector: Floats, own: Floats, vectors: Floats, settings: FoldIn, noise: Floats | None
) -> float:
    """Definition: observed, unobserved and regularisation terms, one by one."""
    scores = vectors @ vector
    squares = scores**2 if noise is None else scores**2 + noise * (vector @ vector)
    observed = own > 0
    fit = sum(own[i] * (1 - 2 * scores[i] + squares[i]) for i in np.flatnonzero(observed))
    power = (own.sum() + settings.unobserved_weight * N_ITEMS) ** settings.frequency_exponent
    penalty = settings.regularisation * power * (vector @ vector)
    return float(fit + settings.unobserved_weight * squares.sum() + penalty)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    dim=st.sampled_from([1, 3, 8]),
    exponent=st.sampled_from([0.0, 1.0]),
    noisy=st.booleans(),
)
def test_vector_minimises_the_loss(seed: int, dim: int, exponent: float, noisy: bool) -> None:
    rng = np.random.default_rng(seed)
    histories = make_histories(rng, 4)
    vectors = rng.normal(size=(N_ITEMS, dim))
    weight = rng.uniform(0.5, 2.0, N_ITEMS)
    noise = rng.uniform(0, 1, N_ITEMS) if noisy else None
    options = FoldIn(unobserved_weight=0.2, regularisation=0.1, frequency_exponent=exponent)
    result = fold_in_users(histories, vectors, weight, options, noise)
    for user in range(4):
        own = np.zeros(N_ITEMS)
        events = slice(histories.indptr[user], histories.indptr[user + 1])
        items = histories.items[events]
        own[items] = histories.weights[events] * weight[items]
        best = loss(result[user], own, vectors, options, noise)
        for step in (*np.eye(dim), *-np.eye(dim)):
            assert best <= loss(result[user] + 1e-3 * step, own, vectors, options, noise) + 1e-12


def test_user_without_events_gets_zero() -> None:
    histories = Histories(np.array([0, 0]), np.array([], np.int64), np.array([]), N_ITEMS)
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 4))
    result = fold_in_users(histories, vectors, np.ones(N_ITEMS), FoldIn())
    np.testing.assert_array_equal(result, np.zeros((1, 4)))


def test_one_user_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(5)
    histories = make_histories(rng, 20)
    vectors = rng.normal(size=(N_ITEMS, 4))
    together = fold_in_users(histories, vectors, np.ones(N_ITEMS), FoldIn())
    for user in range(20):
        alone = histories.take(np.array([user]))
        single = fold_in_users(alone, vectors, np.ones(N_ITEMS), FoldIn())
        np.testing.assert_allclose(single[0], together[user], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dim", [4, 60])
def test_zero_item_vectors_are_no_obstacle(dim: int) -> None:
    histories = make_histories(np.random.default_rng(2), 3)
    result = fold_in_users(histories, np.zeros((N_ITEMS, dim)), np.ones(N_ITEMS), FoldIn())
    np.testing.assert_array_equal(result, np.zeros((3, dim)))

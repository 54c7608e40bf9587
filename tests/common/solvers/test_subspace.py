"""Subspace iteration: what one user contributes, what the server makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.arrays import Histories, Ints
from common.privacy.rank_one import RankOne
from common.solvers.base import NoisyTotal, PublicFacts
from common.solvers.subspace import Subspace


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def histories_of(rows: list[list[int]], n_items: int) -> Histories:
    items = [sorted(set(row)) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in items])]).astype(np.int64)
    flat = np.array([item for row in items for item in row], dtype=np.int64)
    return Histories(indptr, flat, np.ones(len(flat)), n_items)


def planted(rng: np.random.Generator, users: int = 400, items: int = 60, groups: int = 3):
    """Users who like one of a few groups of items."""
    rows = []
    for user in range(users):
        own = np.arange(user % groups, items, groups)
        rows.append([*rng.choice(own, 6, replace=False), int(rng.integers(items))])
    return histories_of(rows, items)


def facts(n_items: int, population: int, epsilon: float | None = None) -> PublicFacts:
    return PublicFacts(
        n_items=n_items,
        population=population,
        clients=1,
        epsilon=epsilon,
        delta=1e-4,
        signal=float(population),
        private=epsilon is not None,
    )


def exact_sum(solver: Subspace, step: int, state: dict, histories: Histories) -> NDArray:
    release = solver.steps[step].release
    total = np.zeros((release.rows, release.width))
    users = np.arange(histories.n_users, dtype=np.int64)
    for batch in solver.contribute(step, state, Data(histories), users):
        batch.add_to(total)
    return total


def trained(solver: Subspace, histories: Histories, noise_std: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    state = solver.initial_state(seed)
    for step in range(len(solver.steps)):
        values = exact_sum(solver, step, state, histories)
        values = values + noise_std * rng.standard_normal(values.shape)
        state = solver.advance(step, state, NoisyTotal(values, noise_std, histories.n_users))
    return state


def slow_contribution(row: list[int], weight: NDArray, basis: NDArray) -> NDArray:
    """The formula of the module's docstring for one user, dense and obvious."""
    x = np.zeros(len(weight))
    x[row] = weight[row]
    if not row:
        return np.zeros((len(weight), basis.shape[1]))
    x /= np.linalg.norm(x)
    u = x @ basis
    norm = np.linalg.norm(u)
    return np.outer(x, u / norm) if norm > 1e-12 else np.zeros((len(weight), basis.shape[1]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 11), max_size=12), min_size=1, max_size=6),
    st.integers(0, 2**31),
)
def test_contributions_are_those_of_the_oracle(rows: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    solver = Subspace(Subspace.Settings(embedding_dim=3), facts(12, 100))
    state = {"item_weight": rng.uniform(0.1, 3, 12), "basis": rng.standard_normal((12, 3))}
    histories = histories_of(rows, 12)
    total = exact_sum(solver, 1, state, histories)
    slow = sum(
        slow_contribution(sorted(set(row)), state["item_weight"], state["basis"]) for row in rows
    )
    np.testing.assert_allclose(total, slow, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 11), max_size=12),
    st.floats(1e-30, 1e30),
    st.floats(1e-30, 1e30),
)
def test_no_user_contributes_more_than_norm_one(
    row: list[int], weight_scale: float, basis_scale: float
) -> None:
    """Sensitivity 1 under add/remove, whatever finite arrays the server sends."""
    rng = np.random.default_rng(len(row))
    solver = Subspace(Subspace.Settings(embedding_dim=4), facts(12, 100))
    state = {
        "item_weight": rng.uniform(0.5, 2, 12) * weight_scale,
        "basis": rng.standard_normal((12, 4)) * basis_scale,
    }
    histories = histories_of([row], 12)
    users = np.zeros(1, dtype=np.int64)
    for step in (0, 1):
        for batch in solver.contribute(step, state, Data(histories), users):
            for block in batch.expand(10_000):
                assert np.linalg.norm(block.values) <= 1 + 1e-9


def test_a_user_contributes_the_same_whoever_else_is_there() -> None:
    rng = np.random.default_rng(3)
    histories = planted(rng)
    solver = Subspace(Subspace.Settings(embedding_dim=4), facts(60, 400))
    state = {"item_weight": rng.uniform(0.5, 2, 60), "basis": rng.standard_normal((60, 4))}
    users = np.arange(400, dtype=np.int64)
    (everybody,) = solver.contribute(1, state, Data(histories), users)
    (without,) = solver.contribute(1, state, Data(histories), users[1:])
    assert isinstance(everybody, RankOne)
    assert isinstance(without, RankOne)
    np.testing.assert_allclose(everybody.right[1:], without.right, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(everybody.left[everybody.indptr[1] :], without.left)


def test_without_noise_whitened_iteration_finds_the_singular_subspace() -> None:
    """Against numpy's SVD of the rows, with the part that all rows share taken out.

    Users' u are normalised, so the operator is not quite X Xᵀ; on planted groups the
    leading directions are the same.
    """
    rng = np.random.default_rng(0)
    histories = planted(rng)
    solver = Subspace(Subspace.Settings(embedding_dim=2, rounds=8), facts(60, 400))
    state = trained(solver, histories)
    model = solver.finish(state)
    dense = np.zeros((400, 60))
    dense[histories.user_of_event, histories.items] = 1
    rows = dense * state["item_weight"]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    direction = state["popularity"] * state["item_weight"]
    direction /= np.linalg.norm(direction)
    rows -= np.outer(rows @ direction, direction)
    expected = np.linalg.svd(rows, full_matrices=False)[2][:2]
    found = np.linalg.qr(model.item_embeddings[:, :2].astype(np.float64))[0]
    cosines = np.linalg.svd(expected @ found)[1]
    assert cosines.min() > 0.95


def test_pure_noise_leaves_popularity_alone() -> None:
    """Directions that noise explains are dropped: no taste is read out of nothing."""
    rng = np.random.default_rng(1)
    histories = histories_of([[int(i)] for i in rng.integers(0, 200, 30)], 200)
    solver = Subspace(Subspace.Settings(embedding_dim=6, rounds=3), facts(200, 30, 1.0))
    model = solver.finish(trained(solver, histories, noise_std=20.0))
    kept = np.abs(model.item_embeddings[:, :-1]).sum(axis=0) > 0
    assert kept.sum() <= 1  # the edge is an expectation: one direction may pass it by chance


def test_signal_above_the_noise_is_kept() -> None:
    histories = planted(np.random.default_rng(2))
    solver = Subspace(Subspace.Settings(embedding_dim=2, rounds=3), facts(60, 400, 8.0))
    model = solver.finish(trained(solver, histories, noise_std=1.0))
    assert (np.abs(model.item_embeddings[:, :2]).sum(axis=0) > 0).all()
    vectors = model.item_embeddings[:, :2].astype(np.float64)
    group = np.arange(60) % 3
    means = np.array([vectors[group == g].mean(axis=0) for g in range(3)])
    spread = np.mean([vectors[group == g].std(axis=0) for g in range(3)])
    assert np.linalg.norm(means[0] - means[1]) > 2 * spread


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 16.0])
def test_dimension_grows_with_the_budget_and_fits_the_catalogue(epsilon: float) -> None:
    small = Subspace(Subspace.Settings(), facts(1000, 5000, epsilon)).dim
    assert small <= Subspace(Subspace.Settings(), facts(1000, 5000, 2 * epsilon)).dim
    assert 1 <= Subspace(Subspace.Settings(), facts(3, 5000, epsilon)).dim <= 2


def test_steps_state_and_model_agree_on_shapes() -> None:
    solver = Subspace(Subspace.Settings(rounds=2, embedding_dim=3), facts(60, 400, 8.0))
    state = trained(solver, planted(np.random.default_rng(5)), noise_std=0.5)
    for step in solver.steps[1:]:
        assert {name: state[name].shape for name in step.inputs} == {
            name: spec.shape for name, spec in step.inputs.items()
        }
    model = solver.finish(state)
    assert {n: a.shape for n, a in model.arrays().items()} == {
        n: spec.shape for n, spec in solver.model_specs.items()
    }


def test_before_the_first_round_popularity_is_the_model() -> None:
    histories = planted(np.random.default_rng(6))
    solver = Subspace(Subspace.Settings(embedding_dim=3), facts(60, 400, 8.0))
    state = solver.initial_state(0)
    values = exact_sum(solver, 0, state, histories)
    model = solver.finish(solver.advance(0, state, NoisyTotal(values, 1.0, 400)))
    assert not model.item_embeddings[:, :-1].any()
    assert model.item_embeddings[:, -1].any()

"""Exact federated ALS: the central algorithm, whoever holds the users."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Histories, Ints, State
from common.errors import Code, PlanError
from common.privacy.rank_one import RankOne
from common.solvers.base import NoisyTotal, PublicFacts
from common.solvers.ials import GramRows, Ials, IalsSettings, pack, packed_width

SPLIT = Path(__file__).parents[3].parent / "shared" / "data" / "ml-1m-ncf.zip"


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def from_pairs(users: Ints, items: Ints, n_users: int, n_items: int) -> Histories:
    order = np.lexsort((items, users))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
    return Histories(indptr.astype(np.int64), items[order], np.ones(len(items)), n_items)


def random_histories(rng: np.random.Generator, n_users: int, n_items: int) -> Histories:
    dense = rng.random((n_users, n_items)) < rng.random(n_items) * 0.5
    dense[0] = False  # somebody without events
    users, items = np.nonzero(dense)
    return from_pairs(users, items, n_users, n_items)


def facts(histories: Histories, clients: int = 1) -> PublicFacts:
    users = histories.n_users
    return PublicFacts(histories.n_items, users, clients, None, 0.0, float(users), private=False)


def train(solver: Ials, parts: list[Histories], wire: str = "float32") -> State:
    """A federation without a network: sums in float64, what travels in `wire`."""
    state = solver.initial_state(3)
    for number, step in enumerate(solver.steps):
        total = np.zeros((step.release.rows, step.release.width))
        for part in parts:
            local = np.zeros_like(total)
            users = np.arange(part.n_users)
            for batch in solver.contribute(number, state, Data(part), users):
                batch.add_to(local)
            total += local.astype(wire)
        state = solver.advance(number, state, NoisyTotal(total, 0.0, 1.0))
    return state


def split(histories: Histories, clients: int) -> list[Histories]:
    users = np.random.default_rng(8).permutation(histories.n_users)
    return [histories.take(np.sort(part)) for part in np.array_split(users, clients)]


def relative(left: Floats, right: Floats) -> float:
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))


def central(histories: Histories, options: IalsSettings, vectors: Floats) -> Floats:
    """Rendle et al. 2021 written out densely, one epoch at a time."""
    dense = np.zeros((histories.n_users, histories.n_items))
    dense[histories.user_of_event, histories.items] = histories.weights
    dense = dense[dense.any(axis=1)]
    for _ in range(options.rounds):
        users = np.array([ridge(row, vectors, options, options.user_factor) for row in dense])
        vectors = np.array([ridge(column, users, options) for column in dense.T])
        vectors = vectors.astype(np.float32).astype(np.float64)
    return vectors


def ridge(weights: Floats, others: Floats, options: IalsSettings, factor: float = 1.0) -> Floats:
    alpha, dim = options.unobserved_weight, others.shape[1]
    power = (weights.sum() + alpha * len(weights)) ** options.frequency_exponent
    system = others.T @ np.diag(weights + alpha) @ others
    return np.linalg.solve(
        system + factor * options.regularisation * power * np.eye(dim), others.T @ weights
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), dim=st.sampled_from([1, 2, 7]), block=st.integers(1, 200))
def test_fast_sum_is_the_sum_of_the_written_out_rows(seed: int, dim: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    histories = random_histories(rng, 9, 6)
    users = np.flatnonzero(histories.lengths)
    own = histories.take(users)
    left, vectors = rng.uniform(0.1, 2, len(own.items)), rng.normal(size=(len(users), dim))
    fast = GramRows(users, own.indptr, own.items, left, vectors)
    right = np.array([pack(vector) for vector in vectors]).reshape(-1, packed_width(dim))
    slow = RankOne(users, own.indptr, own.items, left, right)
    totals = [np.ones((6, packed_width(dim))) for _ in range(3)]
    fast.add_to(totals[0])
    for rows in fast.expand(block):
        rows.add_to(totals[1])
    slow.add_to(totals[2])
    np.testing.assert_allclose(totals[0], totals[1], rtol=1e-10)
    np.testing.assert_allclose(totals[0], totals[2], rtol=1e-10)


def test_blocks_name_every_user_once() -> None:
    histories = random_histories(np.random.default_rng(0), 9, 6)
    solver = Ials(IalsSettings(embedding_dim=2), facts(histories))
    state = solver.initial_state(0)
    (batch,) = solver.contribute(0, state, Data(histories), np.arange(9))
    named = np.concatenate([rows.users for rows in batch.expand(1)])
    np.testing.assert_array_equal(named, batch.users)
    np.testing.assert_array_equal(named, np.flatnonzero(histories.lengths))
    assert all((np.diff(rows.rows) > 0).all() for rows in batch.expand(1))


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_federation_is_the_central_algorithm(exponent: float) -> None:
    histories = random_histories(np.random.default_rng(4), 60, 25)
    options = IalsSettings(
        embedding_dim=5, rounds=4, regularisation=0.02, frequency_exponent=exponent
    )
    solver = Ials(options, facts(histories))
    start = solver.initial_state(3)["item_embeddings"].astype(np.float64)
    expected = central(histories, options, start)
    got = train(solver, [histories], wire="float64")["item_embeddings"]
    assert relative(got, expected) < 1e-5


def test_weights_of_events_count() -> None:
    histories = random_histories(np.random.default_rng(4), 40, 15)
    weights = np.random.default_rng(5).uniform(0.2, 3.0, len(histories.items))
    histories = replace(histories, weights=weights)
    options = IalsSettings(embedding_dim=4, rounds=3, regularisation=0.02)
    solver = Ials(options, facts(histories))
    start = solver.initial_state(3)["item_embeddings"].astype(np.float64)
    got = train(solver, [histories], wire="float64")["item_embeddings"]
    assert relative(got, central(histories, options, start)) < 1e-5


@pytest.mark.parametrize("clients", [8, 100])
def test_items_do_not_depend_on_who_holds_the_users(clients: int) -> None:
    histories = random_histories(np.random.default_rng(6), 300, 60)
    solver = Ials(IalsSettings(embedding_dim=16), facts(histories, clients))
    one = train(solver, [histories])["item_embeddings"]
    many = train(solver, split(histories, clients))["item_embeddings"]
    assert relative(many, one) < 1e-4


def test_private_jobs_and_noisy_totals_are_refused() -> None:
    histories = random_histories(np.random.default_rng(0), 9, 6)
    with pytest.raises(PlanError) as caught:
        Ials(IalsSettings(), replace(facts(histories), private=True, epsilon=8.0))
    assert caught.value.code == Code.PLAN_MODE
    solver = Ials(IalsSettings(embedding_dim=2), facts(histories))
    total = NoisyTotal(np.zeros((7, packed_width(2))), 0.1, 9.0)
    with pytest.raises(PlanError):
        solver.advance(0, solver.initial_state(0), total)


def test_model_is_what_the_specification_says() -> None:
    histories = random_histories(np.random.default_rng(0), 30, 10)
    solver = Ials(IalsSettings(embedding_dim=3, rounds=2), facts(histories))
    model = solver.finish(train(solver, [histories]))
    assert {k: v.shape for k, v in model.arrays().items()} == {
        k: spec.shape for k, spec in solver.model_specs.items()
    }
    counts = np.bincount(histories.items, minlength=10)
    np.testing.assert_array_equal(model.popularity, np.maximum(counts, 0.5))
    assert len({step.release.step for step in solver.steps}) == len(solver.steps) == 2


@pytest.mark.skipif(not SPLIT.exists(), reason=f"{SPLIT} is not there")
def test_movielens_factors_agree_over_partitions() -> None:
    with ZipFile(SPLIT) as archive:
        member = next(name for name in archive.namelist() if name.endswith("train.rating"))
        table = pd.read_csv(archive.open(member), sep="\t", header=None, usecols=[0, 1])
    users, items = table[0].to_numpy(), table[1].to_numpy()
    histories = from_pairs(users, items, 6040, 3706)
    solver = Ials(IalsSettings(embedding_dim=12, rounds=3), facts(histories))
    results = [train(solver, split(histories, n))["item_embeddings"] for n in (1, 8, 100)]
    for left, right in pairwise(results):
        assert relative(left, right) < 1e-4


@pytest.mark.parametrize("n_users", [0, 3])
def test_a_client_without_any_event_adds_nothing(n_users: int) -> None:
    nothing = Histories(np.zeros(n_users + 1, np.int64), np.array([], np.int64), np.array([]), 9)
    solver = Ials(IalsSettings(embedding_dim=3), facts(nothing))
    total = np.zeros((10, packed_width(3)))
    for batch in solver.contribute(0, solver.initial_state(0), Data(nothing), np.arange(n_users)):
        batch.add_to(total)
    assert not total.any()

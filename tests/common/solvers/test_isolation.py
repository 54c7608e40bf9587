"""What a user contributes is a function of that user alone, to the last bit.

A server that chooses tables full of ties could otherwise turn a last bit, moved by somebody
else's presence, into a rank or a sign. Everything here is compared as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories, Ints, State
from common.evaluation import private
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from common.solvers.base import PublicFacts, Solver
from common.solvers.registry import make_solver

ITEMS, USERS = 70, 310
Rows = Mapping[int, tuple[bytes, bytes]]


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def make_data(seed: int = 0) -> Data:
    """Users with 0 to 60 events of all weights, some of them twins of each other."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(ITEMS, rng.integers(0, 60), replace=False)) for _ in range(USERS)]
    rows[1::7] = [rows[0]] * len(rows[1::7])
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    heldout = np.where(rng.random(USERS) < 0.8, rng.integers(0, ITEMS, USERS), -1)
    return Data(Histories(indptr, items, rng.uniform(0.1, 5.0, len(items)), ITEMS), heldout)


def ordinary(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.normal(0.0, 0.3, shape)


def ties(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Every row a permutation of one row: sums that are equal up to the order of terms."""
    row = rng.normal(size=shape[-1])
    return np.stack([rng.permutation(row) for _ in range(shape[0])])


def identical(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return np.tile(rng.normal(size=shape[-1]), (shape[0], 1))


def largest(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Identical rows at the bound of what a client accepts, where λ drowns."""
    return 1e6 * np.sign(identical(rng, shape))


def tiny(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return 1e-25 * ties(rng, shape)


def zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    del rng
    return np.zeros(shape)


TABLES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    make.__name__: make for make in (ordinary, ties, identical, largest, tiny, zero)
}
FLOOR = {"unobserved_weight": 1e-9, "regularisation": 1e-6}
SOLVERS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "subspace": {"embedding_dim": 9, "rounds": 2, "unobserved_weight": 0.3},
    "dpsgd": {"embedding_dim": 10, "rounds": 1, "negatives": 30},
    "transitions": {"embedding_dim": 9, "rounds": 1, "length": 6},
    "sequential": {
        "network": "attention",
        "embedding_dim": 8,
        "rounds": 1,
        "negatives": 30,
        "length": 20,
    },
    "neural": {"embedding_dim": 8, "rounds": 1, "negatives": 30, "length": 20},
}
RECENCY = {"network": "recency"}
GRU = {"network": "gru", "train_items": True, "length": 12}
PERSONAL = {"share_head": False, "personal_steps": 2, "head": 3}
RIDGE = {"pooling": "ridge", "train_items": True}
TOWERS = {"feature_width": 5, "train_items": True, "personal_steps": 1}


def solver_for(name: str, **settings: Any) -> Solver:
    facts = PublicFacts(
        n_items=ITEMS,
        population=USERS,
        clients=1,
        epsilon=8.0,
        delta=1e-6,
        signal=float(USERS),
        private=True,
    )
    asked = {**SOLVERS[name], **settings}
    if asked.get("network") == "recency":
        del asked["embedding_dim"]  # its start says it
    return make_solver(name, asked, facts)


def state_for(solver: Solver, step: int, table: str) -> State:
    """What a server may send in `step`, as a client widens it."""
    rng = np.random.default_rng(5)
    state: dict[str, Any] = {}
    for name, spec in solver.steps[step].inputs.items():
        if spec.positive:
            values = 10.0 ** rng.integers(-3, 4, spec.shape)
        else:
            values = TABLES[table](rng, spec.shape) if len(spec.shape) == 2 else np.ones(spec.shape)
        state[name] = values.astype(np.float32).astype(np.float64)
    return state


def by_user(batches: Any) -> Rows:
    """Rows and values of each user, written out, as bytes; users without rows left out."""
    found: dict[int, tuple[bytes, bytes]] = {}
    for batch in batches:
        for block in batch.expand(4_000):
            for place, user in enumerate(block.users):
                own = slice(block.indptr[place], block.indptr[place + 1])
                if own.start < own.stop:
                    found[int(user)] = (block.rows[own].tobytes(), block.values[own].tobytes())
    return found


def assert_alone_as_together(contribute: Callable[[Ints], Any]) -> None:
    """Each user alone, in batches of 2, 7, 50, 300, and with others removed."""
    everybody = np.arange(USERS, dtype=np.int64)
    together = by_user(contribute(everybody))
    assert together
    alone: dict[int, tuple[bytes, bytes]] = {}
    for user in everybody:
        alone.update(by_user(contribute(everybody[user : user + 1])))
    assert alone == together
    for size in (2, 7, 50, 300):
        found: dict[int, tuple[bytes, bytes]] = {}
        for start in range(0, USERS, size):
            found.update(by_user(contribute(everybody[start : start + size])))
        assert found == together, size
    for removed in (0, 64, USERS - 1):
        rest = by_user(contribute(np.delete(everybody, removed)))
        assert rest == {user: rows for user, rows in together.items() if user != removed}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("subspace", {}),
        ("dpsgd", {}),
        ("dpsgd", {"embedding_dim": 13, "negatives": ITEMS}),
        ("dpsgd", FLOOR),
    ],
    ids=["subspace", "dpsgd", "dpsgd-all", "dpsgd-floor"],
)
def test_a_round(name: str, table: str, settings: dict[str, Any]) -> None:
    solver, data = solver_for(name, **settings), make_data()
    state = state_for(solver, 1, table)
    assert_alone_as_together(lambda users: solver.contribute(1, state, data, users))


def _begun(settings: dict[str, Any]) -> dict[str, Any]:
    """With the shortest start."""
    return settings if settings.get("network") == "recency" else {**settings, "start": "random"}


@pytest.mark.parametrize(
    ("name", "settings", "table"),
    [
        ("sequential", {}, "ordinary"),
        ("sequential", {}, "ties"),
        ("sequential", {"train_items": True}, "largest"),
        ("sequential", GRU, "ordinary"),
        ("sequential", RECENCY, "ordinary"),
        ("sequential", RECENCY, "ties"),
        ("sequential", RECENCY, "zero"),
        ("neural", {}, "ordinary"),
        ("neural", {}, "ties"),
        ("neural", PERSONAL, "ordinary"),
        ("neural", TOWERS, "ordinary"),
        ("neural", TOWERS, "tiny"),
        ("neural", RIDGE, "ordinary"),
        *(("neural", RIDGE, table) for table in TABLES if table != "ordinary"),
        *(("neural", {**RIDGE, "embedding_dim": 13}, table) for table in ("ordinary", "largest")),
        ("neural", {"loss": "explicit"}, "ordinary"),
    ],
)
def test_a_round_of_a_network(name: str, settings: dict[str, Any], table: str) -> None:
    """Chunks hold 32 users: alone, in every place of a chunk, and with nobody beside."""
    solver, data = solver_for(name, **_begun(settings)), make_data()
    step = len(solver.steps) - 1
    state = state_for(solver, step, table)
    together = by_user(solver.contribute(step, state, data, np.arange(70)))
    assert together
    for users in (
        *np.array_split(np.arange(70), 9),
        *([user] for user in range(0, 70, 11)),
        np.delete(np.arange(70), [0, 33]),
    ):
        found = by_user(solver.contribute(step, state, data, np.array(users)))
        assert found == {user: together[user] for user in users if user in together}


@pytest.mark.parametrize("logarithm", [-1e6, -20.0, -12.0])
def test_a_ridge_that_a_server_makes_all_but_singular(logarithm: float) -> None:
    """Vectors on one line, and next to no penalty: no user, and no empty place, fails another."""
    solver: Any = solver_for("neural", **_begun(RIDGE))
    data, step = make_data(), len(solver.steps) - 1
    state = state_for(solver, step, "ordinary")
    shared = solver._draw(0, state).shared
    parameters = state["parameters"].copy()
    table, dense = parameters[:ITEMS], solver._packing.unpack(parameters[ITEMS:])
    table[:] = np.random.default_rng(2).normal(size=ITEMS)[:, None] * np.ones(table.shape[1])
    table[shared] = 1000.0
    parameters[ITEMS:] = solver._packing.pack({**dense, "ridge": np.full(2, logarithm)})
    state["parameters"] = parameters
    whole = by_user(solver.contribute(step, state, data, np.arange(USERS)))
    assert len(whole) == int((data.histories.lengths > 0).sum())
    assert_alone_as_together(lambda users: solver.contribute(step, state, data, users))


@pytest.mark.parametrize("table", TABLES)
def test_the_sum_of_contexts(table: str) -> None:
    solver, data = solver_for("transitions"), make_data()
    step = len(solver.steps) - 1
    state = state_for(solver, step, table)
    assert_alone_as_together(lambda users: solver.contribute(step, state, data, users))


@pytest.mark.parametrize("name", [name for name in SOLVERS if name not in ("sequential", "neural")])
def test_the_popularity_sum(name: str) -> None:
    solver, data = solver_for(name), make_data()
    assert_alone_as_together(lambda users: solver.contribute(0, {}, data, users))


@pytest.mark.parametrize("settings", [{}, FLOOR], ids=["defaults", "floor"])
@pytest.mark.parametrize("table", TABLES)
def test_private_evaluation(table: str, settings: dict[str, Any]) -> None:
    data = make_data()
    vectors = TABLES[table](np.random.default_rng(1), (ITEMS, 11))
    fold_in = FoldIn(**settings, popularity_mix=0.3, frequency_exponent=0.7)
    model = MatrixFactorisation.from_embeddings(vectors, np.arange(1, ITEMS + 1), fold_in)
    assert data.heldout is not None
    heldout = data.heldout
    assert_alone_as_together(
        lambda users: [private.contribution(data.histories, heldout, model, users)]
    )


def test_another_log_beside_a_user_changes_nothing() -> None:
    """Not only who takes part: the users' places in the log and all other events differ."""
    solver, data = solver_for("dpsgd"), make_data()
    state = state_for(solver, 1, "ties")
    some = np.array([3, 40, 41, 200])
    alone = Data(data.histories.take(some))
    there = by_user(solver.contribute(1, state, data, some))
    here = by_user(solver.contribute(1, state, alone, np.arange(4)))
    assert [there[int(user)] for user in some] == [here[place] for place in range(4)]


def test_a_user_who_cannot_be_scored_is_ranked_last_and_nobody_else_is() -> None:
    data = make_data()
    assert data.heldout is not None
    broken = data.histories.take(np.array([40])).items

    class Breaking(MatrixFactorisation):
        def fold_in(self, histories: Histories) -> Floats:
            if np.array_equal(histories.items, broken):
                raise np.linalg.LinAlgError
            return super().fold_in(histories)

    vectors = ordinary(np.random.default_rng(1), (ITEMS, 5)).astype(np.float32)
    ones = np.ones(ITEMS, np.float32)
    heldout, users = data.heldout.copy(), np.arange(USERS)
    heldout[40] = 0
    plain, failing = (
        by_user([private.contribution(data.histories, heldout, model, users)])
        for model in (
            MatrixFactorisation(vectors, ones, ones, ones),
            Breaking(vectors, ones, ones, ones),
        )
    )
    assert {user for user in plain if plain[user] != failing[user]} <= {40}
    assert np.frombuffer(failing[40][1])[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", SOLVERS)
def test_nobody_contributes_nothing(name: str) -> None:
    solver, data = solver_for(name), make_data()
    nobody = np.array([], dtype=np.int64)
    for step in range(len(solver.steps)):
        state = state_for(solver, step, "ordinary")
        assert by_user(solver.contribute(step, state, data, nobody)) == {}


@pytest.mark.parametrize("users", [0, USERS])
def test_evaluation_of_a_shop_without_held_out_items(users: int) -> None:
    data = make_data()
    model = MatrixFactorisation.from_embeddings(np.ones((ITEMS, 3)), np.ones(ITEMS), FoldIn())
    nothing = private.contribution(
        data.histories, np.full(USERS, -1), model, np.arange(users, dtype=np.int64)
    )
    assert len(nothing.users) == 0
    assert by_user([nothing]) == {}

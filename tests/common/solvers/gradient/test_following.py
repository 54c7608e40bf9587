"""Rounds that follow the running total: what they read, what they make of it, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories, Ints, State
from common.errors import PrivacyError
from common.solvers.base import NoisyTotal
from common.solvers.following import FollowsTotal
from common.solvers.gradient.gradients import Held
from common.solvers.popularity import Popularity
from common.solvers.registry import make_solver
from tests.common.solvers.test_networks import ITEMS, Data, facts, histories_of

USERS, POPULATION = 70, 100.0
PLAIN: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.0, "warm_up": 0.0, "decay": "constant", "sampler": "exact",
    "train_items": True, "local_steps": 5, "rounds": 2, "start": "random", "negatives": 5,
    "embedding_dim": 8, "length": 4, "learning_rate": 0.7, "clip_norm": 0.5,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("sequential", {"network": "attention", "blocks": 1}),
    "gru": ("sequential", {"network": "gru"}),
    "neural": ("neural", {}),
    "personal": ("neural", {"personal_steps": 2, "share_head": False}),
    "explicit": ("neural", {"loss": "explicit"}),
}


def solver_of(kind: str = "neural", **changes: Any) -> Any:
    name, settings = KINDS[kind]
    return make_solver(name, {**PLAIN, **settings, **changes}, facts(private=True))


def log() -> Histories:
    """Users with one to eleven events, and some with none."""
    rng = np.random.default_rng(5)
    rows = [rng.permutation(ITEMS)[: number % 12].tolist() for number in range(USERS)]
    ratings = [rng.uniform(1.0, 5.0, len(row)).tolist() for row in rows]
    return histories_of(rows, ratings)


def start_of(solver: Any) -> State:
    """What the server sends in the first round, away from its first values."""
    rng = np.random.default_rng(0)
    state = solver.initial_state(3)
    state = solver.advance(0, state, NoisyTotal(rng.uniform(1, 9, (ITEMS, 1)), 1.0, POPULATION))
    moved = state["parameters"] + rng.normal(0, 0.1, state["parameters"].shape)
    return {**state, "parameters": moved}


def total_of(values: Floats) -> NoisyTotal:
    return NoisyTotal(values, 1.0, POPULATION)


def written(contributions: Any, rows: int) -> dict[int, bytes]:
    """Bits of each user's contribution."""
    found = {}
    for batch in contributions:
        for block in batch.expand(1 << 30):
            for user, number in enumerate(block.users):
                part = slice(block.indptr[user], block.indptr[user + 1])
                out = np.zeros((rows, block.values.shape[1]))
                out[block.rows[part]] = block.values[part]
                found[int(number)] = out.tobytes()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_contribution_reads_no_row_but_those_that_are_said_of_its_user_alone(kind: str) -> None:
    """A row that only another user's events bring would carry that user into this one's part."""
    solver, data = solver_of(kind), Data(log())
    start = start_of(solver)
    shape = start["parameters"].shape
    total = np.random.default_rng(1).normal(0, 3, shape)
    for sums in (0, 3):
        whole = solver.after_sums(1, start, sums, total_of(total))
        everybody = written(solver.contribute(1, whole, data, np.arange(USERS)), len(total))
        assert len(everybody) > USERS / 2
        for user in range(0, USERS, 7):
            only = np.array([user])
            rows = solver.rows_read(1, start, sums, data, only)
            assert (np.diff(rows) > 0).all()
            state = solver.after_sums(1, start, sums, total_of(total[rows]), rows)
            found = written(solver.contribute(1, state, data, only), len(total))
            assert found == {u: bits for u, bits in everybody.items() if u == user}
    rows = solver.rows_read(1, start, 3, data, np.arange(USERS))
    state = solver.after_sums(1, start, 3, total_of(total[rows]), rows)
    assert written(solver.contribute(1, state, data, np.arange(USERS)), len(total)) == everybody


def test_rows_are_few_where_users_are() -> None:
    solver, data = solver_of(), Data(log())
    start = start_of(solver)
    dense = start["parameters"].shape[0] - ITEMS
    nobody = solver.rows_read(1, start, 0, data, np.zeros(0, np.int64))
    assert len(nobody) <= PLAIN["negatives"] + 1 + dense
    one = solver.rows_read(1, start, 0, data, np.array([3]))
    assert set(nobody) < set(one)
    assert len(one) <= len(nobody) + 3
    later = solver.rows_read(1, start, 1, data, np.zeros(0, np.int64))
    assert set(later) != set(nobody)  # every step has a draw of its own


def test_a_row_that_was_not_asked_for_is_no_row() -> None:
    held = Held(np.array([2, 5, 9]), 20)
    np.testing.assert_array_equal(held.places(np.array([[9, 2], [5, 5]])), [[2, 0], [1, 1]])
    for item in (0, 3, 10, 19):
        with pytest.raises(PrivacyError, match="not asked for"):
            held.places(np.array([2, item]))


def test_users_whose_rows_are_missing_contribute_nothing_and_nobody_else_is_missed() -> None:
    solver, data = solver_of("attention"), Data(log())
    start, users = start_of(solver), np.array([1, 11])
    rows = solver.rows_read(1, start, 0, data, users[:1])
    state = solver.after_sums(1, start, 0, total_of(np.zeros((len(rows), 8))), rows)
    found = written(solver.contribute(1, state, data, users), len(start["parameters"]))
    assert set(found) == {1}


def test_the_value_of_a_row_is_the_same_whatever_else_is_read() -> None:
    """Who fuses two roundings into one may do so where a register is full, and not behind."""
    solver, rng = solver_of(embedding_dim=7), np.random.default_rng(2)
    start = start_of(solver)
    total = rng.normal(0, 1e5, start["parameters"].shape)
    whole = solver.after_sums(1, start, 2, total_of(total))["parameters"]
    for count in (1, 2, 3, 7, 13, 30):
        rows = np.sort(rng.choice(len(total), count, replace=False))
        some = solver.after_sums(1, start, 2, total_of(total[rows]), rows)["parameters"]
        np.testing.assert_array_equal(some, whole[rows])
        assert some.tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_the_steps_of_advance(kind: str) -> None:
    """Opacus' optimiser, one sum after another; equal to the rounding of a float64."""
    solver, rng = solver_of(kind), np.random.default_rng(4)
    start = start_of(solver)
    state, total = start, np.zeros(start["parameters"].shape)
    for sums in range(1, 6):
        values = rng.normal(0, 4, total.shape)
        total += values
        state = solver.advance(1, state, NoisyTotal(values, 1.0, POPULATION, 0.5))
        followed = solver.after_sums(1, start, sums, NoisyTotal(total, 2.0, POPULATION, 0.5))
        apart = np.abs(followed["parameters"] - state["parameters"]).max()
        assert apart <= 1e-14 * np.abs(state["parameters"]).max()
        assert solver._time(1, followed) == solver._time(1, state) == sums
    assert followed.keys() == state.keys()


NOT: dict[str, dict[str, Any]] = {
    "memory": {"momentum": 0.5},
    "adam": {"optimizer": "adam"},
    "rates that fall": {"decay": "cosine"},
    "items that stay": {"train_items": False},
    "one sum": {"local_steps": 1},
    "draws that add up to another law": {"sampler": "fast"},
    "chosen rows": {"row_selection": {"threshold": 9.0}},
}


@pytest.mark.parametrize("kind", ["attention", "neural"])
def test_who_follows_is_decided_by_the_settings(kind: str) -> None:
    solver = solver_of(kind)
    assert isinstance(solver, FollowsTotal)
    assert [solver.defers(step) for step in range(len(solver.steps))] == [False, True, True]
    for changes in NOT.values():
        other = solver_of(kind, **changes)
        assert not any(other.defers(step) for step in range(len(other.steps)))
    warm = solver_of(kind, warm_up=0.5)  # the first round's rates grow, the second's is one
    assert [warm.defers(step) for step in range(3)] == [False, False, True]
    name, settings = KINDS[kind]
    bare = make_solver(name, {**PLAIN, **settings}, facts())
    assert isinstance(bare, FollowsTotal)
    assert not bare.defers(1)
    alone = {**PLAIN, **settings, "local_steps": 1}
    central = make_solver(name, alone, facts(private=True, central=True))
    assert isinstance(central, FollowsTotal)
    assert not central.defers(1)


def test_not_every_solver_follows() -> None:
    assert not isinstance(Popularity(Popularity.Settings(), facts(private=True)), FollowsTotal)


def test_padding_reads_a_row_that_is_there() -> None:
    """Windows that are not full: item 0 stands for the padding, whether anybody has it or not."""
    solver = solver_of("attention", length=12, negatives=1)
    rows: list[list[int]] = [[5], [7, 9]]
    data, users = Data(histories_of(rows)), np.arange(2)
    start = start_of(solver)
    read: Ints = solver.rows_read(1, start, 0, data, users)
    assert read[0] == 0
    state = solver.after_sums(1, start, 0, total_of(np.zeros((len(read), 8))), read)
    assert set(written(solver.contribute(1, state, data, users), ITEMS + 2000)) == {0, 1}

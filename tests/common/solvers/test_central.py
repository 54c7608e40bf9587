"""Solvers where the noise is added to the total: one suite for all that give a guarantee.

Every step is one sum over all users at a state that all clients share, so how users are dealt
to clients, and which client adds which part of the noise, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Floats, Histories, Ints, State
from common.errors import Code, PlanError
from common.evaluation import private
from common.job import Job
from common.schedule import count_steps, facts_of
from common.solvers.base import NoisyTotal, PublicFacts, Solver, Step
from common.solvers.descent import MOMENTS
from common.solvers.dpsgd import TABLE, DpSgd
from common.solvers.local_steps import LOCAL_STEP
from common.solvers.registry import SOLVERS, make_solver
from common.solvers.subspace import Subspace

ITEMS, USERS = 40, 60
START: dict[str, Any] = {"subspace": {"rounds": 2, "embedding_dim": 3}}
SMALL: dict[str, dict[str, Any]] = {
    "subspace": {"rounds": 3, "embedding_dim": 3},
    "dpsgd": {"rounds": 3, "embedding_dim": 4, "negatives": 5},
    "sequential": {
        "rounds": 2,
        "embedding_dim": 4,
        "length": 6,
        "negatives": 9,
        "network": "attention",
        **START,
    },
    "neural": {"rounds": 2, "embedding_dim": 4, "length": 6, "negatives": 9, **START},
    "transitions": {"rounds": 2, "embedding_dim": 3, "length": 4},
    "popularity": {},
}
PRIVATE = [name for name in SOLVERS if name != "ials"]
GRID = 1e-9
"""What contributions are rounded to here: far below what a test looks at."""
FINE = 1e-6
"""As good as no noise."""


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def job(solver: str, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": "0" * 32,
        "catalogue_version": "c",
        "n_items": ITEMS,
        "clients": 4,
        "population": USERS,
        "signal": USERS * (2 / 4) ** 0.5,
        "mode": "distributed",
        "epsilon": 8.0,
        "delta": 1e-4,
        "solver": solver,
        "settings": SMALL.get(solver, {}),
        "roster": "0" * 64,
        "threshold": 3,
        "colluders": 1,
    }
    return Job.load({**values, **changes})


def solver_of(name: str, **values: Any) -> Solver:
    asked = job(name)
    return make_solver(name, {**SMALL[name], **values}, facts_of(asked))


def make_data() -> Data:
    rng = np.random.default_rng(0)
    likes = np.where((np.arange(USERS)[:, None] % 2) == (np.arange(ITEMS) < ITEMS // 2), 0.4, 0.05)
    users, items = np.nonzero(rng.random((USERS, ITEMS)) < likes)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=USERS))])
    heldout = rng.integers(-1, ITEMS, USERS)
    return Data(Histories(indptr.astype(np.int64), items, np.ones(len(items)), ITEMS), heldout)


def rounded(batches: Any, step: Step) -> Floats:
    """The sum of all contributions, each on a grid, as the words of a secure sum are."""
    total = np.zeros((step.release.rows, step.release.width))
    for batch in batches:
        for block in batch.expand(4_000):
            owner = np.repeat(np.arange(len(block.users)), np.diff(block.indptr))
            dense = np.zeros((len(block.users), *total.shape))
            dense[owner, block.rows] = block.values
            total += np.rint(dense / GRID).sum(axis=0)
    return total * GRID


def train(solver: Solver, clients: list[Data], noise: float = FINE) -> State:
    """A job of secure sums, as clients and server see it; noise is the same in every split."""
    rng, state = np.random.default_rng(3), solver.initial_state(1)
    for index, step in enumerate(solver.steps):
        sent = {n: np.float32(state[n]).astype(np.float64) for n in step.inputs}
        total = sum(
            rounded(solver.contribute(index, sent, one, np.arange(one.histories.n_users)), step)
            for one in clients
        )
        values = total + rng.normal(0.0, noise, np.shape(total))
        state = solver.advance(index, state, NoisyTotal(values, noise, float(USERS)))
    return state


def dealt(data: Data, clients: Ints) -> list[Data]:
    """The users of each client; a client may have none."""
    return [
        Data(data.histories.take(np.flatnonzero(clients == one).astype(np.int64)))
        for one in range(4)
    ]


@pytest.mark.parametrize("name", PRIVATE)
def test_every_step_is_one_sum_over_all_users(name: str) -> None:
    for step in solver_of(name).steps:
        assert (step.release.steps, step.release.sampling_rate) == (1, 1.0)
        assert step.aggregate in ("sum", "count")
        assert list(step.outputs) == ["sum"]


@pytest.mark.parametrize("name", PRIVATE)
def test_defaults_take_as_many_noisy_sums_as_where_clients_add_all_the_noise(name: str) -> None:
    alone = job(name, settings={}, mode="local", roster=None, threshold=None, colluders=None)
    here, there = (
        make_solver(name, {}, facts_of(asked)).steps for asked in (job(name, settings={}), alone)
    )
    assert sum(step.release.steps for step in here) == sum(step.release.steps for step in there)
    assert len(here) >= len(there)


@pytest.mark.parametrize("name", PRIVATE)
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=USERS, max_size=USERS))
def test_any_split_of_users_gives_the_state_of_one_client(name: str, clients: list[int]) -> None:
    data, solver = make_data(), solver_of(name)
    together = solver.finish(train(solver, [data]))
    apart = solver.finish(train(solver, dealt(data, np.array(clients))))
    np.testing.assert_allclose(apart.popularity, together.popularity, rtol=1e-5)
    # singular vectors have no sign: scores are what a state amounts to
    np.testing.assert_allclose(
        apart.scores(apart.fold_in(data.histories)),
        together.scores(together.fold_in(data.histories)),
        atol=1e-3,
    )


@pytest.mark.parametrize("name", PRIVATE)
def test_a_solver_works_with_the_survivors_of_each_sum(name: str) -> None:
    """Clients drop out and come back: population and noise of the totals move."""
    data, solver = make_data(), solver_of(name)
    state = solver.initial_state(1)
    rng = np.random.default_rng(4)
    for index, step in enumerate(solver.steps):
        users = np.arange(USERS if index % 2 else USERS - 15, dtype=np.int64)
        noise = 0.2 * step.release.clip_norm * (len(users) / USERS) ** 0.5
        total = rounded(solver.contribute(index, state, data, users), step)
        values = total + rng.normal(0.0, noise, total.shape)
        state = solver.advance(index, state, NoisyTotal(values, noise, float(len(users))))
    model = solver.finish(state)
    assert np.isfinite(model.scores(model.fold_in(data.histories))).all()


def test_subspace_weighs_each_total_by_the_noise_that_it_has() -> None:
    """The same total under half the noise counts as twice as strong in the stack."""
    solver = solver_of("subspace")
    values = np.random.default_rng(0).normal(size=(ITEMS, 3))
    popularity = NoisyTotal(np.full((ITEMS, 1), 5.0), 0.1, float(USERS))
    state = solver.advance(0, solver.initial_state(0), popularity)
    few = solver.advance(1, state, NoisyTotal(values, 0.5, float(USERS)))
    many = solver.advance(1, state, NoisyTotal(values, 1.0, float(USERS)))
    np.testing.assert_allclose(few["releases"], 2 * many["releases"])


def test_subspace_has_dimensions_for_the_noise_of_the_total() -> None:
    """Four equal clients: `signal` is half of the users where each adds all of its noise."""
    alone = {"mode": "local", "roster": None, "threshold": None, "colluders": None}
    local, shared = job("subspace", signal=USERS / 2, **alone), job("subspace")
    dims = []
    for asked in (local, shared):
        solver = make_solver("subspace", {"dim_factor": 6.0}, facts_of(asked))
        assert isinstance(solver, Subspace)
        dims.append(solver.dim)
    assert dims[0] < dims[1] < ITEMS - 1


def test_moments_stay_with_the_server() -> None:
    solver = solver_of("dpsgd", optimizer="adam", momentum=0.9)
    assert isinstance(solver, DpSgd)
    state = solver.initial_state(0)
    rng = np.random.default_rng(0)
    first, total = (NoisyTotal(rng.normal(size=(ITEMS, 3)), 1.0, float(USERS)) for _ in range(2))
    once = solver.advance(1, state, first)
    twice = solver.advance(2, once, total)
    moments = {name for name in twice if name.startswith(MOMENTS)}
    assert moments
    assert LOCAL_STEP not in twice
    for step in solver.steps:
        assert not moments & step.inputs.keys()
    forgetful = solver.advance(2, {n: once[n] for n in once if n not in moments}, total)
    assert not np.allclose(twice[TABLE], forgetful[TABLE])


def test_moments_outlive_a_checkpoint(tmp_path: Any) -> None:
    from common.artifacts import arrays_from_bytes, arrays_to_bytes

    solver = solver_of("dpsgd", optimizer="adam", momentum=0.9)
    total = NoisyTotal(np.random.default_rng(0).normal(size=(ITEMS, 3)), 1.0, float(USERS))
    once = solver.advance(1, solver.initial_state(0), total)
    again = arrays_from_bytes(arrays_to_bytes(once))
    whole, resumed = (solver.advance(2, state, total) for state in (once, again))
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_every_round_has_negatives_of_its_own() -> None:
    solver = solver_of("dpsgd", rounds=8)
    assert isinstance(solver, DpSgd)
    state = solver.initial_state(3)
    draws = {tuple(solver._negatives(step, state)) for step in range(1, 9)}
    assert len(draws) == 8


def test_a_gradient_step_goes_by_the_population_of_the_total() -> None:
    solver = solver_of("dpsgd")
    state = solver.initial_state(0)
    values = np.random.default_rng(0).normal(size=(ITEMS, 3))
    whole, part = (solver.advance(1, state, NoisyTotal(values, 1.0, n)) for n in (60.0, 30.0))
    np.testing.assert_allclose(2 * (whole[TABLE] - state[TABLE]), part[TABLE] - state[TABLE])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"local_steps": 2}, "own share of the noise alone"),
        ({"sampling_rate": 0.5}, "over all users"),
        ({"row_selection": {"threshold": 3.0}}, "choice of rows"),
    ],
    ids=["local-steps", "sampled", "chosen"],
)
def test_what_would_train_on_a_share_of_the_noise_is_refused(
    values: dict[str, Any], says: str
) -> None:
    with pytest.raises(PlanError, match=says) as caught:
        solver_of("dpsgd", **values)
    assert caught.value.code is Code.PLAN_MODE
    with pytest.raises(PlanError):
        count_steps(job("dpsgd", settings=values))


def test_one_local_step_may_be_said() -> None:
    assert len(solver_of("dpsgd", local_steps=1).steps) == len(solver_of("dpsgd").steps)


def test_ials_refuses() -> None:
    with pytest.raises(PlanError) as caught:
        count_steps(job("ials"))
    assert caught.value.code is Code.PLAN_MODE


def test_a_private_evaluation_counts_users_of_an_unweighted_total() -> None:
    """Users and ratios of a total with survivors' noise: the error is that of this noise."""
    data = make_data()
    assert data.heldout is not None
    heldout = data.heldout
    model = solver_of("popularity").finish(train(solver_of("popularity"), [data]))
    shape = private.evaluation_shape(1.0)
    step = Step(shape, {}, "count")
    everybody = np.arange(USERS, dtype=np.int64)
    exact = rounded([private.contribution(data.histories, heldout, model, everybody)], step)
    noise = 1.5 * (3 / 2) ** 0.5
    rng = np.random.default_rng(0)
    seen = [
        private.read_total(NoisyTotal(exact + rng.normal(0, noise, exact.shape), noise, USERS))
        for _ in range(2_000)
    ]
    users = np.array([one.users for one in seen])
    assert users.mean() == pytest.approx((heldout >= 0).sum(), abs=0.3)
    assert users.std() == pytest.approx(seen[0].users_std, rel=0.06)
    rates = np.array([one.hit_rate for one in seen if one.hit_rate is not None])
    assert np.std(rates) == pytest.approx(np.mean([o.hit_rate_std or 0 for o in seen]), rel=0.1)


def test_facts_say_who_adds_the_noise() -> None:
    assert facts_of(job("subspace")).central
    bare = PublicFacts(1, 1, 1, 8.0, 0.1, 1.0, private=True)
    assert not bare.central

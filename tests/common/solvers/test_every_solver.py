"""What every solver must be: one suite for all names in the registry, evaluation included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from common.arrays import Histories, Ints
from common.job import Job
from common.privacy.grid import quantise
from common.privacy.inbound import check_arrays
from common.privacy.mechanisms import mechanism_for
from common.privacy.stream import NoiseSource
from common.schedule import METRICS, Schedule
from common.solvers.base import NoisyTotal
from common.solvers.registry import SOLVERS

ITEMS, USERS = 40, 60
SMALL = {
    "subspace": {"rounds": 2, "embedding_dim": 3},
    "ials": {"rounds": 2, "embedding_dim": 3},
    "dpsgd": {"rounds": 2, "local_steps": 2, "embedding_dim": 3, "negatives": 5},
    "sequential": {
        "rounds": 2,
        "length": 6,
        "blocks": 1,
        "negatives": 9,
        "transitions": {"rounds": 2, "embedding_dim": 3, "length": 4},
    },
    "neural": {"rounds": 2, "embedding_dim": 4, "length": 6, "negatives": 9},
    "transitions": {"rounds": 2, "embedding_dim": 3, "length": 4},
    "popularity": {},
}
WITHOUT_PRIVACY = {name: {"local_steps": 2} for name in ("sequential", "neural")}
PRIVATE = [name for name in SOLVERS if name != "ials"]


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None


@pytest.fixture
def data() -> Data:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(ITEMS, 8, replace=False)) for _ in range(USERS)]
    indptr = np.arange(USERS + 1, dtype=np.int64) * 7
    items = np.concatenate([row[:7] for row in rows]).astype(np.int64)
    heldout = np.array([row[7] for row in rows], dtype=np.int64)
    return Data(Histories(indptr, items, np.ones(len(items)), ITEMS), heldout)


def job(solver: str, *, private: bool) -> Job:
    return Job(
        job_id="0" * 32,
        catalogue_version="c",
        n_items=ITEMS,
        clients=1,
        population=USERS,
        signal=float(USERS),
        mode="local" if private else "none",
        epsilon=8.0 if private else None,
        delta=1e-4 if private else 0.0,
        solver=solver,
        settings={**SMALL[solver], **({} if private else WITHOUT_PRIVACY.get(solver, {}))},
        evaluation_share=0.2,
    )


def wire(arrays: dict) -> dict:
    return {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}


def run(schedule: Schedule, data: Data, sent: list | None = None) -> dict:
    """One client's job, arrays in their wire type between client and server; `sent` by step."""
    state = schedule.initial_state()
    for index, step in enumerate(schedule.steps):
        inputs = check_arrays(wire(schedule.inputs(index, state)), step.inputs)
        inputs = {name: array.astype(np.float64) for name, array in inputs.items()}
        if sent is not None:
            sent.append(inputs)
        mechanism = mechanism_for(schedule.plan, index, NoiseSource.seeded(index))
        for _ in range(step.release.steps if step.aggregate == "average" else 1):
            users = mechanism.sample(data.histories.n_users)
            values = mechanism.sum(schedule.contribute(index, inputs, data, users))
            assert values.shape == (step.release.rows, step.release.width)
            total = NoisyTotal(values, mechanism.noise_std, USERS, step.release.sampling_rate)
            if step.aggregate == "average":
                inputs = schedule.advance(index, inputs, total)
        if step.aggregate == "average":
            state = {**state, **{name: inputs[name] for name in step.outputs}}
        else:
            state = schedule.advance(index, state, total)
    return state


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_step_runs_and_the_model_is_whole(solver: str, private: bool, data: Data) -> None:
    if private and solver not in PRIVATE:
        pytest.skip("refuses privacy, which a test of its own holds")
    schedule = Schedule(job(solver, private=private))
    state = run(schedule, data)
    assert state[METRICS].shape == (3, 1)
    model = schedule.finish(state)
    specs = schedule.solver.model_specs
    check_arrays(wire(model.arrays()), specs)
    assert model.settings == schedule.solver.model_settings
    scores = model.scores(model.fold_in(data.histories))
    assert scores.shape == (USERS, ITEMS)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("solver", PRIVATE)
def test_no_user_moves_a_sum_by_more_than_the_clip_norm(solver: str, data: Data) -> None:
    """What one user adds to the exact sum, at every step, clipped as the mechanism does."""
    schedule, sent = Schedule(job(solver, private=True)), []
    run(schedule, data, sent)
    grid, sizes = 1 << 20, []
    for index, (step, inputs) in enumerate(zip(schedule.steps, sent, strict=True)):
        for user in range(0, USERS, 7):
            only, size = np.array([user], dtype=np.int64), 0
            for batch in schedule.contribute(index, inputs, data, only):
                assert list(batch.users) in ([user], [])
                for block in batch.expand(1 << 62):
                    units = quantise(block, step.release.clip_norm, grid)
                    size += int((units**2).sum())
            sizes.append(size)
    assert 0 < max(sizes) <= grid**2


@pytest.mark.parametrize("population", [10**4, 10**6])
@pytest.mark.parametrize(
    ("solver", "settings"),
    [*((name, {}) for name in PRIVATE), ("neural", {"loss": "explicit"})],
)
def test_with_defaults_there_is_a_plan_for_few_users_and_for_many(
    solver: str, settings: dict, population: int
) -> None:
    """The δ of many users is small, and samplers may take a tenth of it."""
    asked = job(solver, private=True).model_copy(
        update={
            "settings": settings, "n_items": 1000, "population": population,
            "signal": float(population), "delta": population**-1.1,
        }
    )  # fmt: skip
    assert Schedule(asked).plan.epsilon == asked.epsilon


def test_the_registry_is_what_the_suite_covers() -> None:
    assert set(SMALL) == set(SOLVERS)

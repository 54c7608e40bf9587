"""The schedule of a job: steps, plan, and a private evaluation that is paid for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError, PlanError, PolicyError
from common.evaluation.private import read_total
from common.job import Job
from common.privacy.events import event_of
from common.privacy.filters import Cap, Cost, how_many, make_filter, total_cost
from common.privacy.planner import epsilon_of
from common.schedule import METRICS, Schedule, count_steps, schedule_of
from common.solvers.base import NoisyTotal

JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=40, clients=2, population=200,
    signal=150.0, epsilon=4.0, delta=1e-3, solver="subspace",
    settings={"rounds": 2, "embedding_dim": 4},
)  # fmt: skip


def job(**changes: Any) -> Job:
    return JOB.model_copy(update=changes)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_the_plan_covers_every_step_and_keeps_to_epsilon(share: float) -> None:
    schedule = Schedule(job(evaluation_share=share))
    assert len(schedule.steps) == 3 + (share > 0)
    assert [r.step for r in schedule.plan.releases] == [s.release.step for s in schedule.steps]
    assert 3.95 < epsilon_of(schedule.plan, JOB.delta) <= 4.0
    for release, step in zip(schedule.plan.releases, schedule.steps, strict=True):
        found = release.model_dump(exclude={"noise_multiplier", "shares"})
        assert found == step.release.model_dump()


SUMS = {"mode": "distributed", "clients": 8, "threshold": 7, "colluders": 1, "roster": "0" * 64}


@pytest.mark.parametrize("solver", ["subspace", "popularity"])
def test_secure_sums_have_all_their_noise_from_the_fewest_honest_clients(solver: str) -> None:
    asked = Job.load({**job(solver=solver, settings={}).model_dump(), **SUMS})
    schedule = Schedule(asked)
    assert schedule.facts.central
    alone = Schedule(job(solver=solver, settings=schedule_settings(schedule), clients=1))
    for release, own in zip(schedule.plan.releases, alone.plan.releases, strict=True):
        assert release.shares is not None
        assert (release.shares.clients, release.shares.honest) == (8, 6)
        assert (release.sampling_rate, release.steps) == (1, 1)
        # the guarantee is that of one client's noise, and costs next to nothing more of it
        assert release.noise_multiplier == pytest.approx(own.noise_multiplier, rel=1e-2)
    assert 3.95 < epsilon_of(schedule.plan, JOB.delta) <= 4.0


def schedule_settings(schedule: Schedule) -> dict[str, Any]:
    """What gives another job the same steps, whatever its signal."""
    width = schedule.steps[-1].release.width
    return {} if width == 1 else {"embedding_dim": width}


def test_secure_sums_that_are_not_safe_have_no_plan() -> None:
    with pytest.raises(PolicyError) as caught:
        Schedule(Job.load({**JOB.model_dump(), **SUMS, "threshold": 4}))
    assert caught.value.code is Code.POLICY_THRESHOLD


@pytest.mark.parametrize("solver", ["subspace", "dpsgd", "popularity"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_steps_are_counted_without_a_plan(solver: str, share: float) -> None:
    asked = job(solver=solver, evaluation_share=share, settings={})
    assert count_steps(asked) == len(Schedule(asked).steps)
    impossible = asked.model_copy(update={"unit": "interaction"})
    assert count_steps(impossible) == count_steps(asked)
    with pytest.raises(ConfigError):
        count_steps(job(solver="unheard of"))


def test_the_plan_is_aimed_at_the_filter_that_the_job_names() -> None:
    for order in (None, 4):
        chosen = make_filter(Cap(epsilon=4.0, delta=JOB.delta), order)
        plan = Schedule(job(renyi_order=order)).plan
        events = [event_of(release) for release in plan.releases]
        assert how_many(chosen, Cost(), events) == 1
        assert chosen.epsilon(total_cost(chosen, events)) == pytest.approx(4.0, rel=1e-5)


def test_an_evaluation_gets_the_share_it_was_promised() -> None:
    plan = Schedule(job(evaluation_share=0.2)).plan
    precision = np.array([release.noise_multiplier**-2 for release in plan.releases])
    assert precision[-1] / precision.sum() == pytest.approx(0.2, rel=1e-3)


def test_without_evaluation_nobody_pays_for_it() -> None:
    with_it, without = Schedule(job(evaluation_share=0.2)), Schedule(JOB)
    assert without.plan.releases[0].noise_multiplier < with_it.plan.releases[0].noise_multiplier


def walk(schedule: Schedule) -> Any:
    """All steps on totals of nothing but noise."""
    rng, state = np.random.default_rng(0), schedule.initial_state()
    for index, step in enumerate(schedule.steps):
        inputs = schedule.inputs(index, state)
        assert set(inputs) == set(step.inputs)
        for name, spec in step.inputs.items():
            assert inputs[name].shape == spec.shape
        noise = rng.normal(size=(step.release.rows, step.release.width))
        state = schedule.advance(index, state, NoisyTotal(noise, 1.0, 200.0))
    return state


def test_every_step_sends_what_it_declares_and_the_last_leaves_metrics() -> None:
    schedule = Schedule(job(evaluation_share=0.2))
    state = walk(schedule)
    assert state[METRICS].shape == (3, 1)
    assert read_total(NoisyTotal(state[METRICS], 1.0, 200.0)).users == pytest.approx(
        float(state[METRICS][0, 0]) * np.sqrt(3)
    )
    model = schedule.finish(state)
    assert {name: array.shape for name, array in model.arrays().items()} == {
        name: spec.shape for name, spec in schedule.solver.model_specs.items()
    }


def test_the_evaluation_contributes_nothing_without_held_out_items(shop: Any) -> None:
    scheduled = Schedule(shop.job.model_copy(update={"evaluation_share": 0.2}))
    index, store = len(scheduled.steps) - 1, shop.store
    inputs = scheduled.inputs(index, walk(scheduled))
    users = np.arange(store.histories.n_users)
    with_items = list(scheduled.contribute(index, inputs, store, users))
    assert sum(len(batch.users) for batch in with_items) > 0

    class Bare:
        histories = store.histories
        heldout = None

    assert list(scheduled.contribute(index, inputs, Bare(), users)) == []


def test_one_job_is_planned_once_and_two_that_differ_are_not_mixed_up() -> None:
    assert schedule_of(JOB) is schedule_of(Job.model_validate_json(JOB.model_dump_json()))
    assert schedule_of(job(seed=1)) is not schedule_of(JOB)
    assert not np.allclose(
        schedule_of(job(seed=1)).initial_state()["start"], schedule_of(JOB).initial_state()["start"]
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epsilon": None}, Code.PLAN_MODE),
        ({"mode": "none"}, Code.PLAN_MODE),
        ({"epsilon": 0.0}, Code.PLAN_EPSILON),
        ({"delta": 1 / 200}, Code.PLAN_DELTA),
        ({"unit": "interaction"}, Code.PLAN_UNIT),
        ({"solver": "nothing"}, Code.CONFIG_INVALID),
        ({"settings": {"round": 2}}, Code.CONFIG_UNKNOWN_KEY),
    ],
)
def test_a_job_without_a_plan(changes: dict[str, Any], code: Code) -> None:
    with pytest.raises((PlanError, ConfigError)) as caught:
        schedule_of(job(**changes))
    assert caught.value.code is code


def test_features_of_the_items_are_made_of_the_catalogue_of_the_job() -> None:
    ids = tuple(f"i{place:02d}" for place in range(40))
    catalogue = Catalogue(ids, {"title": tuple(f"word{place % 5}" for place in range(40))})
    asked = job(solver="neural", settings={"embedding_dim": 4, "feature_width": 3})
    schedule = Schedule(asked.model_copy(update={"catalogue_version": catalogue.version}))
    features = schedule.initial_state(lambda: catalogue)["features"]
    assert features.shape == (40, 3)
    np.testing.assert_array_equal(features[2], features[7])
    assert "features" in schedule.steps[-1].inputs
    with pytest.raises(ConfigError) as missing:
        schedule.initial_state()
    assert missing.value.code is Code.CONFIG_NOT_FOUND
    with pytest.raises(DataError) as other:
        Schedule(asked).initial_state(lambda: catalogue)
    assert other.value.code is Code.CATALOGUE_MISMATCH


@pytest.mark.parametrize("solver", ["subspace", "sequential", "neural"])
def test_the_catalogue_is_loaded_for_features_alone(solver: str) -> None:
    def unread() -> Catalogue:
        raise AssertionError

    settings = {"rounds": 1} if solver == "sequential" else {"rounds": 1, "embedding_dim": 4}
    schedule = Schedule(job(solver=solver, settings=settings))
    assert "features" not in schedule.initial_state(unread)

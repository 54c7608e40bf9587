"""Rounds that follow the running total, at a real client: the law, the charge, and failures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from client import training
from common.arrays import Floats
from common.audit.ledgers import audit_ledger
from common.errors import Code
from common.privacy import deferred, mechanisms
from common.privacy.deferred import DeferredSum
from common.privacy.events import event_of, read_event
from common.privacy.mechanisms import GaussianSum, mechanism_for
from common.privacy.samplers import ExactSampler
from common.privacy.stream import NoiseSource
from common.protocol import OK
from common.schedule import Schedule
from common.solvers.base import Given
from tests.defects.support import task_for

STEPS = 6
SETTINGS: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.0, "warm_up": 0.0, "decay": "constant", "sampler": "exact",
    "train_items": True, "local_steps": STEPS, "rounds": 1, "start": "random", "negatives": 3,
    "embedding_dim": 4, "length": 6, "learning_rate": 50.0, "clip_norm": 0.5,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    "neural": {"blocks": 0, "head": 0},
    "sequential": {"network": "gru"},
}


@pytest.fixture
def asked(shop: Any) -> Callable[..., Any]:
    """The shop, about to be asked for a round of local steps."""

    def make(solver: str = "neural", **changes: Any) -> Any:
        settings = {**SETTINGS, **NETWORKS[solver], **changes}
        fields = {"solver": solver, "settings": settings, "job_id": "df" * 16}
        one = replace(shop, job=shop.job.model_copy(update=fields))
        one.allow(solvers=(solver,))
        return one

    return make


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Rows that running sums are asked for, in order."""
    rows: list[list[int]] = []
    sound = DeferredSum.read

    def spy(self: DeferredSum, some: Any) -> Floats:
        rows.append(some.tolist())
        return sound(self, some)

    monkeypatch.setattr(DeferredSum, "read", spy)
    return rows


def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same client without the offer."""
    monkeypatch.setattr(training, "_follower", lambda *_: None)


class NoNoise(ExactSampler):
    """σ = 0."""

    def draw(self, shape: Any, noise: Any) -> Any:
        return np.zeros(shape, np.int64)


def released(one: Any, noise: NoiseSource) -> Floats:
    """The parameters that a round would release."""
    task, schedule = task_for(one, 1), one.schedule
    compute = training.prepared_step(task, schedule, one.store)
    return np.asarray(compute(mechanism_for(schedule.plan, 1, noise))["parameters"])


@pytest.mark.parametrize("solver", NETWORKS)
def test_without_noise_it_is_the_eager_round(
    asked: Callable[..., Any], solver: str, monkeypatch: pytest.MonkeyPatch, read: list[list[int]]
) -> None:
    """To rounding: sums of floats depend on their order, sums of integers do not."""
    monkeypatch.setattr(mechanisms, "make_sampler", lambda *_: NoNoise())
    monkeypatch.setattr(deferred, "make_sampler", lambda *_: NoNoise())
    monkeypatch.setattr(deferred, "discrete_gaussian", lambda shape, *_: np.zeros(shape, np.int64))
    one = asked(solver, learning_rate=1.0)
    followed = released(one, NoiseSource.seeded(1))
    assert len(read) == STEPS
    eager(monkeypatch)
    in_turn = released(one, NoiseSource.seeded(1))
    assert len(read) == STEPS
    moved = np.abs(followed - task_for(one, 1).inputs["parameters"]).max()
    assert moved > 1e-3
    np.testing.assert_allclose(followed, in_turn, rtol=0, atol=1e-5 * moved)


def noise_of(one: Any, repeats: int) -> Floats:
    """Noise of a round's total, in units of one sum's σ, `[repeats, rows, dim]`."""
    (planned,) = one.schedule.plan.releases[1:2]
    sent = task_for(one, 1).inputs["parameters"].astype(np.float64)
    settings = one.store.settings
    scale = SETTINGS["learning_rate"] / (planned.sampling_rate * settings.population)
    found = [(sent - released(one, NoiseSource.seeded(seed))) / scale for seed in range(repeats)]
    return np.array(found) / planned.noise_std


def accepted(noise: Floats) -> bool:
    """Sum of squares of the noise of STEPS sums, two-sided 10^-6."""
    scaled = noise.ravel() / np.sqrt(STEPS)
    low, high = chi2.ppf([5e-7, 1 - 5e-7], df=scaled.size)
    return bool(low < float(scaled @ scaled) < high)


def test_rows_have_the_noise_of_all_sums_however_often_they_are_read(
    asked: Callable[..., Any], read: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody adds anything, and rows are read for the users who were sampled."""
    monkeypatch.setattr(Schedule, "contribute", lambda *_: iter(()))
    one, repeats = asked(sampling_rate=0.1), 60
    noise = noise_of(one, repeats)
    times = np.zeros(noise.shape[:2], np.int64)
    for number, rows in enumerate(read):
        times[number // STEPS, rows] += 1
    kinds = {"never": times == 0, "once": times == 1, "often": times == STEPS}
    for name, kind in kinds.items():
        assert np.count_nonzero(kind) > 60, name
        assert accepted(noise[kind]), name
        assert not accepted(noise[kind] * 2 / 3), name
        assert not accepted(noise[kind] * 3 / 2), name
    assert kstest(noise.ravel() / np.sqrt(STEPS), norm.cdf).pvalue > 1e-4
    within = noise.reshape(repeats, -1)
    products = within[:, 1:] * within[:, :-1] / STEPS
    assert abs(products.mean()) < 5 / np.sqrt(products.size)
    eager(monkeypatch)
    assert accepted(noise_of(one, 10))


@pytest.mark.parametrize("solver", NETWORKS)
def test_what_is_charged_is_what_eager_sums_are_charged(
    asked: Callable[..., Any], solver: str, read: list[list[int]]
) -> None:
    one = asked(solver)
    replies = [one.ask(task_for(one, step)) for step in (0, 1)]
    assert [reply.code for reply in replies] == [OK, OK]
    assert len(read) == STEPS
    events = [read_event(row.body["event"]) for row in one.rows("reserve")]
    assert events == [event_of(release) for release in one.schedule.plan.releases]
    assert events[1].kind == "gaussian-sum"
    found = audit_ledger(one.rows())
    assert found.findings == ()
    assert found.total.agrees
    again = one.ask(task_for(one, 1))
    assert again.arrays["parameters"].tobytes() == replies[1].arrays["parameters"].tobytes()
    assert len(read) == STEPS  # from the disk, and free
    assert len(one.rows("reserve")) == 2


@pytest.mark.parametrize("method", ["sample", "read", "add", "settle"])
def test_a_failure_in_the_middle_leaves_what_the_ledger_says(
    asked: Callable[..., Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserved is spent; asked again, the round is charged again and made anew."""
    one, sound, calls = asked(), getattr(DeferredSum, method), []
    one.allow_much()

    def fails(self: DeferredSum, *args: Any) -> Any:
        calls.append(method)
        if method == "settle" or len(calls) == 3:
            raise MemoryError
        return sound(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(DeferredSum, method, fails)
        assert one.ask(task_for(one, 1)).code == Code.INTERNAL
    assert one.kinds() == ["open", "admit", "reserve", "refuse"]
    assert not one.rows("spend")
    reply = one.ask(task_for(one, 1))
    assert reply.code == OK
    in_ledger = one.kinds()[4:]
    assert in_ledger == ["reserve", "spend"]
    with monkeypatch.context() as patch:
        eager(patch)
        patch.setattr(GaussianSum, "sum", lambda *_: 1 / 0)
        other = one.variant(job_id="ef" * 16)
        before = len(one.rows())
        assert other.ask(task_for(other, 1)).code == Code.INTERNAL
    again = other.ask(task_for(other, 1))
    assert again.code == reply.code
    assert one.kinds()[before:] == ["admit", "reserve", "refuse", *in_ledger]


def test_no_code_tells_that_it_is_not_known_what_a_user_reads(
    asked: Callable[..., Any],
    read: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All rows are read then, so that nobody's gradient is made of anything else."""
    one = asked()

    def failing(*_: object) -> Any:
        raise MemoryError("of one user's events")

    monkeypatch.setattr(type(one.schedule.solver), "rows_read", failing)
    with caplog.at_level(logging.ERROR):
        assert one.ask(task_for(one, 1)).code == OK
    rows = one.schedule.plan.releases[1].rows
    assert [len(some) for some in read] == [rows] * STEPS
    assert any("all rows are read" in record.message for record in caplog.records)
    assert one.kinds() == ["open", "admit", "reserve", "spend"]


def test_who_says_what_is_read_is_given_what_contributes_is_given(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histories and held-out items: no ratings, and nothing else that the store has."""
    one, given = asked(), []
    sound = type(one.schedule.solver).rows_read

    def spy(self: Any, step: int, start: Any, sums: int, data: Any, users: Any) -> Any:
        given.append(data)
        return sound(self, step, start, sums, data, users)

    monkeypatch.setattr(type(one.schedule.solver), "rows_read", spy)
    assert one.ask(task_for(one, 1)).code == OK
    assert len(given) == STEPS
    for data in given:
        assert type(data) is Given
        assert (data.histories.weights == 1).all()


def test_no_code_tells_that_contributing_failed(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = asked()

    def failing(*_: object) -> Iterator[Any]:
        raise RuntimeError("of one user's events")

    monkeypatch.setattr(Schedule, "contribute", failing)
    assert one.ask(task_for(one, 1)).code == OK
    assert one.kinds() == ["open", "admit", "reserve", "spend"]

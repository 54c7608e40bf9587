"""Trainings at intervals: what was planned is in the folders, and a restart misses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import Code, ConfigError, RunError
from server.app import read_job
from server.training.folder import OK, Outcome, Training, trainings
from server.training.locks import alone
from server.training.request import Request
from server.training.schedule import Schedule, read_interval

START = datetime(2026, 11, 21, 3, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class World:
    """A clock that goes on when somebody sleeps, and trainings that end as they are told."""

    home: Path
    now: datetime = START
    takes: timedelta = timedelta(hours=1)
    ends: list[Any] = field(default_factory=list)
    driven: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def drive(self, training: Training) -> Outcome:
        self.driven.append(training.name)
        self.now += self.takes
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, BaseException):
            raise end
        outcome = Outcome(run_id=1, code=OK)
        outcome.save(training.path)
        return outcome

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def schedule(self, every: timedelta = DAY) -> Schedule:
        return Schedule(
            self.home, "nightly", every, Request(), self.drive, self.said.append,
            now=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_planned_start_has_its_training_and_its_line(world: World) -> None:
    world.schedule().run(most=3)
    assert world.driven == [f"nightly-202611{day}-030000" for day in (21, 22, 23)]
    assert world.said == [f"planned   2026-11-{day} 03:00:00 UTC" for day in (21, 22, 23)]
    assert [one.name for one in trainings(world.home)] == world.driven


def test_started_again_it_goes_on_an_interval_after_the_last_start(world: World) -> None:
    world.schedule().run(most=1)
    world.now = START + timedelta(hours=20)
    world.schedule().run(most=1)
    assert world.driven[1] == "nightly-20261122-030000"


def test_missed_starts_are_made_up_for_by_one_and_said(world: World) -> None:
    world.schedule().run(most=1)
    world.now = START + timedelta(days=3, hours=5)
    world.schedule().run(most=2)
    assert world.driven[1:] == ["nightly-20261124-080000", "nightly-20261125-080000"]
    assert "2026-11-22 03:00:00 UTC, which is past: now" in world.said[1]


def test_a_training_that_was_begun_is_finished_first(world: World) -> None:
    world.ends = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.schedule().run()
    world.schedule().run(most=2)
    first, again, second = world.driven
    assert first == again != second


def test_an_error_ends_a_training_and_not_the_schedule(world: World) -> None:
    refused = RunError(Code.RUN_QUORUM, "shop-1: policy-bundle.", where="start")
    world.ends = [refused]
    world.schedule().run(most=2)
    assert len(set(world.driven)) == 2
    assert "ended     nightly-20261121-030000 run-quorum: start: shop-1" in world.said[1]
    world.schedule().run(most=1)
    assert len(set(world.driven)) == 3


def test_a_training_that_somebody_follows_is_waited_for(world: World) -> None:
    world.ends = [RunError(Code.RUN_IN_USE, "another.")]
    world.schedule().run(most=2)
    assert world.driven[0] == world.driven[1]


def test_other_trainings_are_no_part_of_it(world: World) -> None:
    for name in ("nightly-1", "other-20261201-030000", "nightly-x-20261201-030000"):
        Training.create(world.home, Request(), name)
    world.schedule().run(most=1)
    assert world.driven == ["nightly-20261121-030000"]


def test_one_schedule_of_a_name_at_a_time(world: World) -> None:
    with alone(world.home, ".every-nightly.lock"), pytest.raises(RunError) as caught:
        world.schedule().run(most=1)
    assert caught.value.code is Code.RUN_IN_USE


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800)]
)
def test_intervals(text: str, seconds: int) -> None:
    assert read_interval(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "24", "0h", "-1h", "1.5h", "24 h", "1w", "99999999d"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(ConfigError):
        read_interval(text)


def test_each_training_has_a_job_of_its_own(trained: Any) -> None:
    """The real server app, over real clients."""

    def drive(training: Training) -> Outcome:
        trained.run(folder=training.path)
        found = Outcome.of_run(training.path)
        assert found is not None
        return found

    world = World(trained.home)
    request = Request(rounds=1, dim=4, epsilon=1.0, delta=0.004, wait_seconds=0, promote=False)
    Schedule(
        world.home, "n", DAY, request, drive, world.said.append,
        now=lambda: world.now, sleep=world.sleep,
    ).run(most=2)  # fmt: skip
    first, second = (read_job(one.path) for one in trainings(world.home))
    assert first.job_id != second.job_id
    assert first == second.model_copy(update={"job_id": first.job_id})

"""The driver against a server in memory: when it starts another run, and when it does not.

The server's answers are those of Flower's that the deployment's tests see; what happens in the
training's folder is done by the same classes as in a server app.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.address import Address
from common.errors import Code, RunError
from server.gateway.control import Control, RunState
from server.gateway.folder import ServerFolder
from server.training.driver import Driver, Pace
from server.training.folder import OK, Outcome, Training
from server.training.locks import DRIVER_LOCK, alone
from server.training.request import Request

AT_ONCE = Pace(look_seconds=0, ask_seconds=0, waits_seconds=(0,), most_in_vain=3)
RUNNING, STOPPED = RunState("running"), RunState("finished", "stopped: by user")
FAILED = RunState("finished", "failed: no heartbeat")


@dataclass(frozen=True)
class Desk(Control):
    """A server whose runs do what a test says, when they are started."""

    training: Training
    does: list[Callable[[Training, int], RunState | None]]
    states: dict[int, RunState | None] = field(default_factory=dict)
    stopped: list[int] = field(default_factory=list)
    configured: list[Mapping[str, str]] = field(default_factory=list)

    def start(self, bundle: bytes, settings: Mapping[str, str]) -> int:
        run_id = len(self.states) + 1
        self.configured.append(settings)
        does = self.does[min(run_id, len(self.does)) - 1]
        self.states[run_id] = does(self.training, run_id)
        return run_id

    def state(self, run_id: int) -> RunState | None:
        return self.states.get(run_id)

    def stop(self, run_id: int) -> None:
        self.stopped.append(run_id)
        self.states[run_id] = STOPPED


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training.create(tmp_path, Request(), "first")


@dataclass
class Scene:
    desk: Desk
    driver: Driver
    lines: list[str]

    @property
    def runs(self) -> int:
        return len(self.desk.configured)


@pytest.fixture
def scene(training: Training) -> Callable[..., Scene]:
    def make(*does: Callable[[Training, int], RunState | None], **more: object) -> Scene:
        home, lines = training.path.parents[1], list[str]()
        folder = ServerFolder.opened(home / "table")
        desk = Desk(folder, Address.read("127.0.0.1:8000"), training, list(does))
        driver = Driver(training, home, desk, b"", lines.append, pace=AT_ONCE, **more)  # type: ignore[arg-type]
        return Scene(desk, driver, lines)

    return make


def succeeds(training: Training, run_id: int) -> RunState:
    with training.working(run_id, patience_seconds=0):
        Outcome(run_id=run_id, code=OK, version="0001-a").save(training.path)
    return RunState("finished", "completed")


def dies(state: RunState) -> Callable[[Training, int], RunState]:
    """Its process is gone without a word, and Flower says so."""

    def die(training: Training, run_id: int) -> RunState:
        with training.working(run_id, patience_seconds=0):
            return state

    return die


def never_begins(state: RunState | None) -> Callable[[Training, int], RunState | None]:
    return lambda _, __: state


def ends(state: RunState, code: Code, *, passes: bool) -> Callable[[Training, int], RunState]:
    """With an error that it could write down."""

    def end(training: Training, run_id: int) -> RunState:
        with training.working(run_id, patience_seconds=0):
            Outcome(run_id=run_id, code=str(code), message="why", passes=passes).save(training.path)
        return state

    return end


def code_of(driver: Driver) -> Code:
    with pytest.raises(RunError) as caught:
        driver.run()
    return caught.value.code


def test_a_run_that_comes_to_its_model_is_the_only_one(scene: Callable[..., Scene]) -> None:
    made = scene(succeeds)
    assert made.driver.run().version == "0001-a"
    assert made.runs == 1
    assert made.desk.configured[0]["run"].endswith("runs/first")


@pytest.mark.parametrize(
    "does",
    [
        dies(STOPPED),
        never_begins(STOPPED),
        ends(STOPPED, Code.INTERNAL, passes=True),
        ends(STOPPED, Code.RUN_QUORUM, passes=True),
    ],
    ids=["process gone", "never begun", "unforeseen error", "too few"],
)
def test_what_somebody_stopped_is_not_started_again(
    scene: Callable[..., Scene], does: Callable[[Training, int], RunState]
) -> None:
    made = scene(does, succeeds)
    assert code_of(made.driver) is Code.RUN_STOPPED
    assert made.runs == 1


@pytest.mark.parametrize(
    "does",
    [
        dies(FAILED),
        dies(RUNNING),
        never_begins(FAILED),
        never_begins(None),
        ends(RUNNING, Code.INTERNAL, passes=True),
        ends(RUNNING, Code.RUN_QUORUM, passes=True),
    ],
    ids=["failed", "not noticed yet", "never begun", "unknown", "unforeseen error", "silence"],
)
def test_what_died_is_started_again(
    scene: Callable[..., Scene], does: Callable[[Training, int], RunState]
) -> None:
    made = scene(does, succeeds)
    assert made.driver.run().code == OK
    assert made.runs == 2
    assert any(line.startswith("stopped   ") for line in made.lines)


def test_a_run_whose_process_is_gone_is_ended_at_the_server(scene: Callable[..., Scene]) -> None:
    made = scene(dies(RUNNING), succeeds)
    made.driver.run()
    assert made.desk.stopped == [1]


def test_what_takes_a_person_ends_it_with_its_code(scene: Callable[..., Scene]) -> None:
    made = scene(ends(RUNNING, Code.RUN_QUORUM, passes=False))
    assert code_of(made.driver) is Code.RUN_QUORUM
    assert made.runs == 1


def test_server_apps_that_only_die_are_not_started_for_ever(scene: Callable[..., Scene]) -> None:
    made = scene(dies(FAILED))
    assert code_of(made.driver) is Code.INTERNAL
    assert made.runs == AT_ONCE.most_in_vain


def test_restarts_are_as_many_as_were_allowed(scene: Callable[..., Scene]) -> None:
    made = scene(ends(RUNNING, Code.RUN_QUORUM, passes=True), restarts=1)
    assert code_of(made.driver) is Code.RUN_QUORUM
    assert made.runs == 2


def test_only_a_person_lets_programs_repeat_anew(
    scene: Callable[..., Scene], training: Training
) -> None:
    made = scene(ends(RUNNING, Code.RUN_QUORUM, passes=False))
    assert code_of(made.driver) is Code.RUN_QUORUM
    again = scene(ends(RUNNING, Code.RUN_QUORUM, passes=True), restarts=2)
    assert code_of(again.driver) is Code.RUN_QUORUM
    assert training.resumed == 0
    Outcome(run_id=9, code=str(Code.RUN_QUORUM)).save(training.path)
    by_hand = scene(ends(RUNNING, Code.RUN_QUORUM, passes=True), by_hand=True, restarts=2)
    assert code_of(by_hand.driver) is Code.RUN_QUORUM
    assert training.resumed == 1


def test_a_run_that_goes_on_is_followed(scene: Callable[..., Scene], training: Training) -> None:
    made = scene(never_begins(RUNNING))
    training.began(made.desk.start(b"", {}))

    def answers(lines: list[str]) -> Callable[[str], None]:
        def say(line: str) -> None:
            lines.append(line)
            succeeds(training, 1)

        return say

    made.driver.say = answers(made.lines)
    assert made.driver.run().code == OK
    assert made.lines == ["follows   run 1"]
    assert made.runs == 1


def test_two_drivers_do_not_have_one_training(
    scene: Callable[..., Scene], training: Training
) -> None:
    with alone(training.path, DRIVER_LOCK):
        assert code_of(scene(succeeds).driver) is Code.RUN_IN_USE


def test_a_server_that_is_away_is_waited_for(scene: Callable[..., Scene]) -> None:
    made = scene(succeeds)
    found, away = made.desk, [1, 1, 1]

    @dataclass(frozen=True)
    class Away(Desk):
        def start(self, bundle: bytes, settings: Mapping[str, str]) -> int:
            if away:
                away.pop()
                raise RunError(Code.SERVER_UNREACHABLE, "nobody there.", where="127.0.0.1:8000")
            return super().start(bundle, settings)

    made.driver.control = Away(found.folder, found.inside, found.training, found.does)
    assert made.driver.run().code == OK
    assert [line.split()[0] for line in made.lines] == ["waits", "goes", "started"]


def test_a_delivery_follows_no_run_that_may_be_sending_the_model_before(
    scene: Callable[..., Scene], training: Training
) -> None:
    made = scene(never_begins(RUNNING), succeeds, attaches=False)
    training.began(made.desk.start(b"", {}))
    assert made.driver.run().run_id == 2
    assert made.lines == ["started   run 2"]

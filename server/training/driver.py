"""Drives one training to its model: starts Flower runs on its folder, and again when one dies.

A server app may be killed, a server restarted, a shop be away. The folder remembers how far the
training has come, so that whoever starts a run on it goes on from there, and clients repeat what
they released at no cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from common.errors import Code, RunError
from server.gateway.control import Control, RunState
from server.record import RoundRecord
from server.registry import Registry
from server.training.folder import OK, Outcome, Training
from server.training.locks import DRIVER_LOCK, alone

__all__ = ["Driver", "Pace", "round_line"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Pace:
    """How often the driver looks, and how long it waits.

    Attributes:
        look_seconds: between two looks at the folder.
        ask_seconds: between two questions to the server.
        patient_seconds: how long a run may wait for a process before the operator is told.
        waits_seconds: before another run is started, longer each time that nothing was won.
        most_in_vain: runs in a row that may fail for no reason of ours and win nothing.
    """

    look_seconds: float = 0.5
    ask_seconds: float = 5.0
    patient_seconds: float = 60.0
    waits_seconds: Sequence[float] = (1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0)
    most_in_vain: int = 10


@dataclass
class Driver:
    """One training and the server that it runs at.

    Attributes:
        training: its folder.
        home: the server's, absolute.
        control: the server.
        bundle: what each run comes with.
        say: is told in one line each what happens.
        settings: more of the run configuration.
        restarts: most runs after the first of this driver.
        by_hand: a person goes on with a training that had ended with an error, and so allows
            its programs as many repeats once more.
        attaches: follow the run of an earlier driver that still goes on; else start another one,
            since what is to be done may have changed meanwhile.
        pace: of the driver.
    """

    training: Training
    home: Path
    control: Control
    bundle: bytes
    say: Callable[[str], None]
    settings: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 1000
    pace: Pace = field(default_factory=Pace)
    by_hand: bool = False
    attaches: bool = True
    _told: int = field(default=0, init=False)
    _reachable: bool = field(default=True, init=False)

    def run(self) -> Outcome:
        """Drive until the model is there.

        Raises:
            RunError: `run-in-use`, another driver has the training; or what ended it, with the
                code of the server app's own error.
        """
        with alone(self.training.path, DRIVER_LOCK):
            self._told = len(self._registry.rounds())
            in_vain = 0
            for begun in range(self.restarts + 1):
                before = self._told
                run_id = self._attached()
                if run_id is None:
                    if self.by_hand and begun == 0:
                        self.training.resume()
                    run_id = self._started()
                found = self._followed(run_id)
                if found.code == OK:
                    return found
                in_vain = 0 if self._told > before else in_vain + 1
                self._judge(found, begun, in_vain)
        raise found.error

    def _judge(self, found: Outcome, begun: int, in_vain: int) -> None:
        """Wait before another run, where that may help.

        Raises:
            RunError: it would not.
        """
        lost = found.code == Code.INTERNAL and in_vain >= self.pace.most_in_vain
        if not found.passes or lost or begun >= self.restarts:
            raise found.error
        wait = self.pace.waits_seconds[min(in_vain, len(self.pace.waits_seconds) - 1)]
        place = f"{found.where}: " if found.where else ""
        self.say(f"stopped   {found.code}: {place}{found.message} Again in {wait:g} s.")
        time.sleep(wait)

    def _attached(self) -> int | None:
        """The run that still goes on, of an earlier driver."""
        ids = self.training.run_ids
        if not self.attaches or not ids or self.training.outcome(ids[-1]) is not None:
            return None
        state = self._asked(lambda: self.control.state(ids[-1]))
        if state is None or state.is_finished:
            return None
        self.say(f"follows   run {ids[-1]}")
        return ids[-1]

    def _started(self) -> int:
        settings = {"run": str(self.training.path), "server-home": str(self.home)}
        settings |= self.settings
        run_id = self._asked(lambda: self.control.start(self.bundle, settings))
        self.training.began(run_id)
        self.say(f"started   run {run_id}")
        return run_id

    def _followed(self, run_id: int) -> Outcome:
        """How a run ended, after all its rounds were told."""
        began = asked = time.monotonic()
        impatient = False
        while True:
            self._tell_rounds()
            outcome = self.training.outcome(run_id)
            if outcome is not None:
                self._tell_rounds()
                return self._unless_stopped(run_id, outcome)
            if self.training.is_dead(run_id) and self.training.outcome(run_id) is None:
                return self._buried(run_id)
            if time.monotonic() - asked >= self.pace.ask_seconds:
                state = self._asked(lambda: self.control.state(run_id))
                asked = time.monotonic()
                if (ended := self._ended(run_id, state)) is not None:
                    return ended
                late = asked - began >= self.pace.patient_seconds
                if late and not impatient and state is not None and state.is_waiting:
                    self.say("waits     no process has taken the run yet: does one start apps?")
                    impatient = True
            time.sleep(self.pace.look_seconds)

    def _buried(self, run_id: int) -> Outcome:
        """A server app that let go of the folder without a word: it died, or was stopped.

        Flower ends a server app whose run is stopped, and leaves it no time for a last word.
        """
        self._tell_rounds()
        if self._was_stopped(run_id):
            return _stopped(run_id)
        self._asked(lambda: self.control.stop(run_id))
        return _died(run_id, "its process ended without a word.")

    def _unless_stopped(self, run_id: int, outcome: Outcome) -> Outcome:
        """A server app whose run is stopped under it may end with what else would pass."""
        again = outcome.code != OK and outcome.passes
        return _stopped(run_id) if again and self._was_stopped(run_id) else outcome

    def _was_stopped(self, run_id: int) -> bool:
        state = self._asked(lambda: self.control.state(run_id))
        return state is not None and state.was_stopped

    def _ended(self, run_id: int, state: RunState | None) -> Outcome | None:
        """What Flower says of a run that it counts as ended."""
        if state is not None and not state.is_finished:
            return None
        self._tell_rounds()
        if (outcome := self.training.outcome(run_id)) is not None:
            return self._unless_stopped(run_id, outcome)
        if state is None:
            return _died(run_id, "the server does not know it.")
        return _stopped(run_id) if state.was_stopped else _died(run_id, _says(state))

    def _asked(self, call: Callable[[], _Answer]) -> _Answer:
        """What the server answers, however long it is away."""
        while True:
            try:
                found = call()
            except RunError as error:
                if error.code is not Code.SERVER_UNREACHABLE:
                    raise
                if self._reachable:
                    self.say(f"waits     {error.code}: {error.where}: {error.message}")
                self._reachable = False
                self._tell_rounds()
                time.sleep(self.pace.ask_seconds)
                continue
            if not self._reachable:
                self.say("goes on   the server answers again")
            self._reachable = True
            return found

    @property
    def _registry(self) -> Registry:
        return Registry(self.training.path / "server")

    def _tell_rounds(self) -> None:
        records = self._registry.rounds(after=self._told)
        for record in records:
            self.say(round_line(record))
        self._told += len(records)


def round_line(record: RoundRecord) -> str:
    """One round in one line: who answered, who did not and why."""
    refused = ", ".join(f"{name}: {code}" for name, code in sorted(record.refused.items()))
    parts = [
        f"{len(record.answered)} answered",
        f"{len(record.refused)} refused ({refused})" if refused else "0 refused",
        *([f"{len(record.sessions)} sessions"] if record.sessions else []),
        f"{record.seconds:.1f} s",
    ]
    return f"round     {record.step + 1}/{record.of} {record.name}: {', '.join(parts)}"


def _says(state: RunState) -> str:
    return f"Flower says {state.details}."


def _stopped(run_id: int) -> Outcome:
    return Outcome(
        run_id=run_id,
        code=str(Code.RUN_STOPPED),
        message=f"run {run_id} was stopped at the server.",
        remedy="Continue the training with --resume.",
    )


def _died(run_id: int, details: str) -> Outcome:
    return Outcome(
        run_id=run_id,
        code=str(Code.INTERNAL),
        passes=True,
        message=f"the server app of run {run_id} is gone: {details}",
        remedy="Its last lines are in the log of the process that starts server apps; "
        "continue with --resume.",
    )

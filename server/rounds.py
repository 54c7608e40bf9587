"""A job from its first step to its model: ask, wait, combine, checkpoint, go on.

The server sees what clients release, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.serverapp import Grid

from common.arrays import Floats, State
from common.catalogue import Catalogue
from common.errors import Code, RunError
from common.job import Job
from common.privacy.heads import SignedHead
from common.privacy.roster import Roster, Terms
from common.protocol import Task
from common.schedule import Schedule, schedule_of
from common.solvers.base import NoisyTotal
from server.asking import Asking
from server.combine import Combiner
from server.keys import key_of
from server.optimiser import after_average
from server.promise import privacy_of
from server.quorum import TAKES_A_PERSON, QuorumError
from server.record import Observer, RoundRecord, SilentObserver
from server.registry import Checkpoint, Registry
from server.repeats import Repeats
from server.roster import Attendance, Member
from server.seen import Recorder
from server.sessions import SessionRecord, Sessions
from server.sums import SecureSums, check_enough
from server.witness import Witness

__all__ = ["Rounds"]

_RECEIPT_SECONDS: Final = 60.0
"""How long a finished job waits for clients to take their last receipt."""
_LOG: Final = logging.getLogger("hushrec.server")


@dataclass(frozen=True)
class _Heard:
    """What a step came to, however its noise was added."""

    total: NoisyTotal | None
    arrays: Mapping[str, Floats]
    answered: Sequence[Member]
    heads: Mapping[str, SignedHead]
    refused: dict[str, str]
    bytes_down: int
    bytes_up: int
    sessions: tuple[SessionRecord, ...] = ()


@dataclass(frozen=True)
class Rounds:
    """Drives one job over a Flower grid.

    Attributes:
        grid: where messages go.
        job: what is trained.
        members: the clients that take part, in order of name.
        attendance: who is there, looked at before every round: clients that come back take part
            again; None asks `members` in every round.
        registry: where checkpoints go.
        quorum: fewest clients whose releases make a round, at least 1; a job of mode
            `distributed` has its own threshold, and robust aggregation its own least number.
        timeout_seconds: how long a round, or a stage of a secure sum, waits for its clients.
        observer: told about every round.
        home: the server's home, with its key and what it witnessed; None is the registry's
            folder.
        attempts: most sessions of one step's secure sum before the run ends; each that came to
            masked words costs clients what a release costs.
        roster: public roster keys of the job's clients; mode `distributed` needs them, so that
            who is not on it, or signs wrongly, is dropped and stops nobody else.
        record_sums: keep what the server receives in secure sums.
        resumed: how often a person has resumed the training: what its programs may cost clients
            by repeats begins anew each time; None where a person starts every process.
        catalogue: loads the job's catalogue, for solvers that read features of its items.
    """

    grid: Grid
    job: Job
    members: Sequence[Member]
    registry: Registry
    quorum: int = 1
    timeout_seconds: float = 3600.0
    observer: Observer = field(default_factory=SilentObserver)
    home: Path | None = None
    attempts: int = 2
    roster: Roster | None = None
    record_sums: bool = False
    attendance: Attendance | None = None
    resumed: int | None = None
    catalogue: Callable[[], Catalogue] | None = None

    def run(self) -> Checkpoint:
        """All remaining steps, from the last checkpoint if there is one.

        Raises:
            RunError: `run-quorum`, too few clients answered a step; `run-mismatch`, the job
                names another server or roster, there is no roster for its secure sums, or the
                folder holds another job.
        """
        roster = self._roster()
        asking = Asking(self.grid, self._members(roster), self._witness(), self._repeats())
        asking.meet()
        if self.job.terms is not None:
            self.job.terms.check()
            check_enough(asking.asked, self.job.terms, asking.left_out)
        schedule = schedule_of(self.job)
        checkpoint = self.registry.latest(self.job) or Checkpoint(
            0, schedule.initial_state(self.catalogue), {}, self.job.mode != "none"
        )
        while checkpoint.completed < len(schedule.steps):
            asking = self._looked(asking, roster)
            checkpoint = self._round(schedule, checkpoint, asking, roster)
        self.registry.publish(
            self.job,
            schedule.finish(checkpoint.state),
            checkpoint,
            _privacy(schedule, checkpoint),
        )
        asking.hand_over(min(self.timeout_seconds, _RECEIPT_SECONDS))
        return checkpoint

    def _roster(self) -> Roster | None:
        """The roster of a job with secure sums.

        Raises:
            RunError: `run-mismatch`, there is none, or it is not the one that the job means.
        """
        if self.job.terms is None:
            return None
        if self.roster is None or self.roster.digest != self.job.roster:
            here = "none" if self.roster is None else f"{self.roster.digest[:16]}…"
            raise RunError(
                Code.RUN_MISMATCH,
                f"the job's secure sums are among roster {self.job.roster}, here is {here}.",
                where="roster.toml",
                remedy="Put the table [roster] of the clients' policies into roster.toml in the "
                "run's folder: without it any node could end every sum.",
            )
        return self.roster

    def _members(self, roster: Roster | None) -> Sequence[Member]:
        """Who may take part: in secure sums who is on the roster, whatever calls itself so."""
        members = self.members if self.attendance is None else self.attendance.present
        if roster is None:
            return members
        for member in members:
            if member.name not in roster.keys:
                _LOG.warning("%s is not on the roster and is not asked", member.name)
        return [member for member in members if member.name in roster.keys]

    def _looked(self, asking: Asking, roster: Roster | None) -> Asking:
        """With those who are there now."""
        if self.attendance is None:
            return asking
        self.attendance.look()
        found = replace(asking, members=self._members(roster))
        found.meet()
        return found

    @property
    def _absent(self) -> dict[str, str]:
        """Why clients that are counted on are not asked, by name."""
        return {} if self.attendance is None else self.attendance.absent

    def _repeats(self) -> Repeats | None:
        """Of a job whose clients are asked for releases one by one."""
        if self.resumed is None or self.job.terms is not None:
            return None
        return Repeats.open(self.registry.folder, self.resumed)

    def _witness(self) -> Witness | None:
        home = self.registry.folder if self.home is None else self.home
        key = key_of(self.job, home)
        return None if key is None else Witness.open(home, key)

    def _round(
        self, schedule: Schedule, before: Checkpoint, asking: Asking, roster: Roster | None
    ) -> Checkpoint:
        started = time.monotonic()
        index = before.completed
        inputs = {
            name: np.asarray(array, dtype=np.float32, order="C")
            for name, array in schedule.inputs(index, before.state).items()
        }
        heard = (
            self._combined(schedule, index, inputs, asking)
            if self.job.terms is None or roster is None
            else self._summed(schedule, index, inputs, asking, (self.job.terms, roster))
        )
        after = self._advance(schedule, before, heard)
        record = self._record(schedule, index, heard, time.monotonic() - started)
        self.registry.save(self.job, after, _privacy(schedule, after), record)
        self.observer.round_done(record)
        return after

    def _record(self, schedule: Schedule, index: int, heard: _Heard, seconds: float) -> RoundRecord:
        """What a step was, for whoever watches."""
        total = heard.total
        return RoundRecord(
            step=index,
            of=len(schedule.steps),
            name=schedule.plan.releases[index].step,
            answered=tuple(member.name for member in heard.answered),
            refused={**self._absent, **heard.refused},
            seconds=seconds,
            bytes_down=heard.bytes_down,
            bytes_up=heard.bytes_up,
            noise_std=None if total is None else total.noise_std,
            signal_to_noise=None if total is None else _signal_to_noise(total),
            sessions=heard.sessions,
        )

    def _combined(self, schedule: Schedule, index: int, inputs: State, asking: Asking) -> _Heard:
        """A step in which every client adds its own noise, or nobody any."""
        combiner = Combiner(
            schedule.steps[index], schedule.plan.releases[index], asking.asked, self.job.mode
        )
        task = Task(self.job, index, dict(inputs))
        refused = asking.ask(task, combiner, self.timeout_seconds)
        self._check_quorum(index, combiner, asking, refused)
        total, arrays = combiner.total()
        return _Heard(
            total=total,
            arrays=arrays,
            answered=combiner.answered,
            heads=combiner.heads,
            refused=refused,
            bytes_down=len(combiner.members) * sum(array.nbytes for array in inputs.values()),
            bytes_up=combiner.bytes_up,
        )

    def _summed(
        self,
        schedule: Schedule,
        index: int,
        inputs: State,
        asking: Asking,
        among: tuple[Terms, Roster],
    ) -> _Heard:
        """A step as a secure sum."""
        sums = SecureSums(
            asking=asking,
            job=self.job,
            terms=among[0],
            sessions=Sessions(self.registry.folder),
            roster=among[1],
            recorder=Recorder(self.registry.folder) if self.record_sums else None,
            attempts=self.attempts,
            timeout_seconds=self.timeout_seconds,
            resumed=self.resumed,
        )
        summed = sums.sum(index, inputs, schedule.plan.releases[index])
        return _Heard(
            total=summed.total,
            arrays={},
            answered=summed.survivors,
            heads=summed.heads,
            refused=summed.refused,
            bytes_down=summed.bytes_down,
            bytes_up=summed.bytes_up,
            sessions=summed.sessions,
        )

    def _check_quorum(
        self, index: int, combiner: Combiner, asking: Asking, refused: Mapping[str, str]
    ) -> None:
        answered = len(asking.members) - len(refused)
        rule = combiner.step.combine
        needed = max(1, self.quorum, 1 if rule is None else rule.least_clients)
        if answered >= needed:
            return
        everybody = {**self._absent, **refused}
        reasons = ", ".join(f"{name}: {code}" for name, code in sorted(everybody.items()))
        held = set(asking.held(index))
        costly = {name for name, code in refused.items() if code in TAKES_A_PERSON}
        raise QuorumError(
            f"{answered} of {answered + len(everybody)} clients answered, "
            f"{needed} are needed ({reasons}).",
            where=f"step {combiner.release.step}",
            remedy=f"{_asked_enough(held)}Look at those clients' own logs, then resume. Who has "
            "answered is not charged again; who failed within its release is.",
            missing=needed - answered,
            refused=everybody,
            held=held | costly,
        )

    def _advance(self, schedule: Schedule, before: Checkpoint, heard: _Heard) -> Checkpoint:
        index = before.completed
        if heard.total is None:
            state = after_average(schedule.steps[index], before.state, heard.arrays)
        else:
            state = schedule.advance(index, before.state, heard.total)
        private = before.private and all(member.private for member in heard.answered)
        charged = sum(session.may_have_cost for session in heard.sessions)
        return Checkpoint(
            completed=index + 1,
            state=state,
            heads={**before.heads, **heard.heads},
            private=private,
            charged=(*before.charged, charged) if heard.sessions else before.charged,
        )


def _asked_enough(held: Collection[str]) -> str:
    names = ", ".join(sorted(held))
    return f"No program asks {names} again, since each ask may cost a release. " if held else ""


def _privacy(schedule: Schedule, checkpoint: Checkpoint) -> dict[str, Any]:
    return privacy_of(schedule.plan, checkpoint.charged, private=checkpoint.private)


def _signal_to_noise(total: NoisyTotal) -> float | None:
    if total.noise_std == 0.0:
        return None
    power = float(np.mean(total.values**2))
    return float(max(power / total.noise_std**2 - 1.0, 0.0) ** 0.5)

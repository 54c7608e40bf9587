"""A job from its first step to its model: ask, wait, combine, checkpoint, go on.

The server sees what clients release, and nothing else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.serverapp import Grid

from common.arrays import Floats, State
from common.errors import Code, RunError
from common.job import Job
from common.privacy.accounting import Guarantee
from common.privacy.heads import SignedHead
from common.privacy.plan import PrivacyPlan
from common.privacy.planner import guarantee_of
from common.privacy.roster import Roster, Terms
from common.protocol import Task
from common.schedule import Schedule, schedule_of
from common.solvers.base import NoisyTotal
from server.asking import Asking
from server.combine import Combiner
from server.keys import key_of
from server.record import Observer, RoundRecord, SilentObserver
from server.registry import Checkpoint, Registry
from server.roster import Member
from server.seen import Recorder
from server.sessions import SessionRecord, Sessions
from server.sums import SecureSums, check_enough
from server.witness import Witness

__all__ = ["Rounds"]

_RECEIPT_SECONDS: Final = 60.0
"""How long a finished job waits for clients to take their last receipt."""


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
        registry: where checkpoints go.
        quorum: fewest clients whose releases make a round, at least 1; a job of mode
            `distributed` has its own threshold.
        timeout_seconds: how long a round, or a stage of a secure sum, waits for its clients.
        observer: told about every round.
        home: the server's home, with its key and what it witnessed; None is the registry's
            folder.
        attempts: most sessions of a secure sum before the run ends; each that came to masked
            words costs clients what a release costs.
        roster: public roster keys of the job's clients, if the server has them: then a client
            that signs wrongly is dropped, where otherwise it stops the sum.
        record_sums: keep what the server receives in secure sums.
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

    def run(self) -> Checkpoint:
        """All remaining steps, from the last checkpoint if there is one.

        Raises:
            RunError: `run-quorum`, too few clients answered a step; `run-mismatch`, the job
                names another server or roster, or the folder holds another job.
        """
        asking = Asking(self.grid, self.members, self._witness())
        asking.meet()
        self._check_terms(asking)
        schedule = schedule_of(self.job)
        checkpoint = self.registry.latest(self.job) or Checkpoint(
            0, schedule.initial_state(), {}, self.job.mode != "none"
        )
        while checkpoint.completed < len(schedule.steps):
            checkpoint = self._round(schedule, checkpoint, asking)
        self.registry.publish(
            self.job,
            schedule.finish(checkpoint.state),
            checkpoint,
            _privacy(schedule.plan, checkpoint),
        )
        asking.hand_over(min(self.timeout_seconds, _RECEIPT_SECONDS))
        return checkpoint

    def _check_terms(self, asking: Asking) -> None:
        """Enough clients for a secure sum, and the roster that the job means."""
        if self.job.terms is None:
            return
        self.job.terms.check()
        if self.roster is not None and self.roster.digest != self.job.roster:
            raise RunError(
                Code.RUN_MISMATCH,
                f"the roster here is {self.roster.digest[:16]}…, the job's {self.job.roster}.",
                where="roster",
                remedy="Collect the public roster keys again, or leave them to the clients.",
            )
        check_enough(asking.asked, self.job.terms, asking.left_out)

    def _witness(self) -> Witness | None:
        home = self.registry.folder if self.home is None else self.home
        key = key_of(self.job, home)
        return None if key is None else Witness.open(home, key)

    def _round(self, schedule: Schedule, before: Checkpoint, asking: Asking) -> Checkpoint:
        started = time.monotonic()
        index = before.completed
        inputs = {
            name: np.asarray(array, dtype=np.float32, order="C")
            for name, array in schedule.inputs(index, before.state).items()
        }
        heard = (
            self._combined(schedule, index, inputs, asking)
            if self.job.terms is None
            else self._summed(schedule, index, inputs, asking, self.job.terms)
        )
        after = self._advance(schedule, before, heard)
        total = heard.total
        record = RoundRecord(
            step=index,
            of=len(schedule.steps),
            name=schedule.plan.releases[index].step,
            answered=tuple(member.name for member in heard.answered),
            refused=heard.refused,
            seconds=time.monotonic() - started,
            bytes_down=heard.bytes_down,
            bytes_up=heard.bytes_up,
            noise_std=None if total is None else total.noise_std,
            signal_to_noise=None if total is None else _signal_to_noise(total),
            sessions=heard.sessions,
        )
        self.registry.save(self.job, after, _privacy(schedule.plan, after), record)
        self.observer.round_done(record)
        return after

    def _combined(self, schedule: Schedule, index: int, inputs: State, asking: Asking) -> _Heard:
        """A step in which every client adds its own noise, or nobody any."""
        combiner = Combiner(
            schedule.steps[index], schedule.plan.releases[index], asking.asked, self.job.mode
        )
        task = Task(self.job, index, dict(inputs))
        refused = asking.ask(task, combiner, self.timeout_seconds)
        self._check_quorum(combiner, refused)
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
        terms: Terms,
    ) -> _Heard:
        """A step as a secure sum."""
        sums = SecureSums(
            asking=asking,
            job=self.job,
            terms=terms,
            sessions=Sessions(self.registry.folder),
            roster=self.roster,
            recorder=Recorder(self.registry.folder) if self.record_sums else None,
            attempts=self.attempts,
            timeout_seconds=self.timeout_seconds,
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

    def _check_quorum(self, combiner: Combiner, refused: Mapping[str, str]) -> None:
        answered = len(self.members) - len(refused)
        if answered >= max(1, self.quorum):
            return
        reasons = ", ".join(f"{name}: {code}" for name, code in sorted(refused.items()))
        raise RunError(
            Code.RUN_QUORUM,
            f"{answered} of {len(self.members)} clients answered, {self.quorum} are needed "
            f"({reasons}).",
            where=f"step {combiner.release.step}",
            remedy="Look at those clients' own logs, then resume; nothing is spent twice.",
        )

    def _advance(self, schedule: Schedule, before: Checkpoint, heard: _Heard) -> Checkpoint:
        index = before.completed
        if heard.total is None:
            state: State = {**before.state, **heard.arrays}
        else:
            state = schedule.advance(index, before.state, heard.total)
        private = before.private and all(member.private for member in heard.answered)
        return Checkpoint(index + 1, state, {**before.heads, **heard.heads}, private)


def _privacy(plan: PrivacyPlan, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the manifest says: the guarantee of the whole plan at each client, if it holds."""
    guarantee = replace(_guarantee(plan), reproducible_noise=not checkpoint.private)
    return {
        "mode": plan.mode,
        "unit": plan.unit,
        "neighbouring": guarantee.neighbouring,
        "accountant": guarantee.accountant,
        "delta": plan.delta,
        "epsilon": guarantee.epsilon if guarantee.holds else None,
        "guarantee": str(guarantee),
        "releases": [release.model_dump(mode="json") for release in plan.releases],
    }


@functools.lru_cache(maxsize=8)
def _guarantee(plan: PrivacyPlan) -> Guarantee:
    """Composed once per plan: a long job writes hundreds of manifests."""
    return guarantee_of(plan)


def _signal_to_noise(total: NoisyTotal) -> float | None:
    if total.noise_std == 0.0:
        return None
    power = float(np.mean(total.values**2))
    return float(max(power / total.noise_std**2 - 1.0, 0.0) ** 0.5)

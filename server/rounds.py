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
from common.privacy.plan import PrivacyPlan
from common.privacy.planner import guarantee_of
from common.protocol import Task
from common.schedule import Schedule, schedule_of
from common.solvers.base import NoisyTotal
from server.asking import Asking
from server.combine import Combiner
from server.keys import key_of
from server.record import Observer, RoundRecord, SilentObserver
from server.registry import Checkpoint, Registry
from server.roster import Member
from server.witness import Witness

__all__ = ["Rounds"]

_RECEIPT_SECONDS: Final = 60.0
"""How long a finished job waits for clients to take their last receipt."""


@dataclass(frozen=True)
class Rounds:
    """Drives one job over a Flower grid.

    Attributes:
        grid: where messages go.
        job: what is trained.
        members: the clients that take part, in order of name.
        registry: where checkpoints go.
        quorum: fewest clients whose releases make a round, at least 1.
        timeout_seconds: how long a round waits for its clients.
        observer: told about every round.
        home: the server's home, with its key and what it witnessed; None is the registry's
            folder.
    """

    grid: Grid
    job: Job
    members: Sequence[Member]
    registry: Registry
    quorum: int = 1
    timeout_seconds: float = 3600.0
    observer: Observer = field(default_factory=SilentObserver)
    home: Path | None = None

    def run(self) -> Checkpoint:
        """All remaining steps, from the last checkpoint if there is one.

        Raises:
            RunError: `run-quorum`, too few clients answered a step; `run-mismatch`, the job
                names another server, or the folder holds another job.
        """
        asking = Asking(self.grid, self.members, self._witness())
        asking.meet()
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
        combiner = Combiner(
            schedule.steps[index], schedule.plan.releases[index], asking.asked, self.job.mode
        )
        refused = asking.ask(Task(self.job, index, inputs), combiner, self.timeout_seconds)
        self._check_quorum(combiner, refused)
        total, arrays = combiner.total()
        after = self._advance(schedule, before, total, arrays, combiner)
        record = RoundRecord(
            step=index,
            of=len(schedule.steps),
            name=combiner.release.step,
            answered=tuple(member.name for member in combiner.answered),
            refused=refused,
            seconds=time.monotonic() - started,
            bytes_down=len(combiner.members) * sum(array.nbytes for array in inputs.values()),
            bytes_up=combiner.bytes_up,
            noise_std=None if total is None else total.noise_std,
            signal_to_noise=None if total is None else _signal_to_noise(total),
        )
        self.registry.save(self.job, after, _privacy(schedule.plan, after), record)
        self.observer.round_done(record)
        return after

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

    def _advance(
        self,
        schedule: Schedule,
        before: Checkpoint,
        total: NoisyTotal | None,
        arrays: Mapping[str, Floats],
        combiner: Combiner,
    ) -> Checkpoint:
        index = before.completed
        if total is None:
            state: State = {**before.state, **arrays}
        else:
            state = schedule.advance(index, before.state, total)
        private = before.private and all(member.private for member in combiner.answered)
        return Checkpoint(index + 1, state, {**before.heads, **combiner.heads}, private)


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

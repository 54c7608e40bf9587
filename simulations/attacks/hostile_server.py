"""What a hostile server knows and can make: jobs, signed tasks, and what it was answered.

It knows everything that is public, has two keys that the policy names and one that it does
not, and signs whatever it likes. It draws from a generator that is passed in, so that the same
seed asks the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray

from common.errors import Code, HushRecError
from common.job import Job
from common.privacy.heads import SignedHead
from common.privacy.signing import SigningKey
from common.protocol import STEP, Task
from common.schedule import schedule_of
from simulations.attacks.hostile_target import Answer, Shot, Target

__all__ = ["HONEST", "SMALL", "HostileServer"]

HONEST: Final = "an honest step"
_BUSY: Final = 4
_LEAST: Final = 0.03
_LATER: Final = timedelta(hours=12)
"""An honest server comes back when a period has refused it, and then the clock is right: a day
that was recorded once is never left for an earlier one, so the period would never end."""
_NETWORK: Final = {
    "rounds": 1, "embedding_dim": 3, "local_steps": 1, "negatives": 5, "start": "random",
}  # fmt: skip
SMALL: Final[dict[str, dict[str, Any]]] = {
    "subspace": {"rounds": 1, "embedding_dim": 3},
    "popularity": {},
    "dpsgd": {"rounds": 1, "embedding_dim": 3, "local_steps": 1},
    "transitions": {"rounds": 1, "embedding_dim": 3, "length": 4},
    "sequential": {**_NETWORK, "network": "attention", "length": 6, "blocks": 1, "heads": 1},
    "neural": {**_NETWORK, "feature_width": 3, "recent": 6, "head": 2, "personal_steps": 1},
}
"""Settings of each solver that make a small job."""


class HostileServer:
    """A server, and what it remembers of one client.

    Args:
        target: the client; its clock is the one thing that the server may turn.
        job: an honest job of the run.
        keys: keys that the policy names.
        rng: decides what is asked.
    """

    def __init__(
        self, target: Target, job: Job, keys: Sequence[SigningKey], rng: np.random.Generator
    ) -> None:
        self.target = target
        self.keys = {key.public: key for key in keys}
        self.stranger = SigningKey.create()
        self.rng = rng
        self.appetite = 0.7
        self._job = job
        self._open: dict[str, tuple[Job, int]] = {}
        self._answered: list[tuple[Task, Answer]] = []
        self._done: set[tuple[str, int]] = set()
        self._sent: dict[str, Task] = {}

    def one(self, values: Sequence[Any]) -> Any:
        """One of `values`."""
        return values[int(self.rng.integers(len(values)))]

    def honest(self, kind: str = HONEST) -> Shot:
        """The next step of a job that was begun, or the first of another."""
        if self._open and (self.rng.random() < 0.8 or len(self._open) > _BUSY):
            job, step = self._open[self.one(list(self._open))]
        else:
            job, step = self.new_job(), 0
        return self.shot(kind, self.task(job, step))

    def new_job(self, **fields: Any) -> Job:
        """A small job that the policy allows, for a small ε, but for `fields`."""
        solver = self.one([name for name in SMALL if name in self.target.policy.solvers])
        values = {
            "job_id": self.rng.bytes(16).hex(),
            "solver": solver,
            "settings": SMALL[solver],
            "epsilon": self.appetite * float(self.rng.uniform(0.5, 1.5)),
            "delta": self.target.policy.lifetime.delta,
            "server": self.one(list(self.keys)),
            "renyi_order": None,
            "seed": int(self.rng.integers(1000)),
        }
        return self._job.model_copy(update={**values, **fields})

    def task(self, job: Job, step: int, **changes: Any) -> Task:
        """A task, signed by the server that the job names, with arrays that fit it."""
        task = replace(Task(job, step, self._inputs(job, step)), **changes)
        return task.signed(self.keys[str(task.job.server)])

    def shot(self, kind: str, task: Task, records: RecordDict | None = None) -> Shot:
        """A task as a message, remembered."""
        shot = Shot(kind, records or task.to_records(), STEP, task.job, task.step)
        self._sent[_mark(shot)] = task
        return shot

    def known(self) -> Task:
        """A task that was answered, or a new one."""
        if not self._answered:
            return self.task(self.new_job(), 0)
        return self.one(self._answered)[0]  # type: ignore[no-any-return]

    def head(self) -> SignedHead | None:
        """A head that the client sent, None before the first."""
        return self.one(self._answered)[1].head if self._answered else None

    def learn(self, shot: Shot, answer: Answer) -> None:
        """Take note of an answer."""
        job = shot.job
        if job is None:
            return
        done = (job.job_id, shot.step)
        if answer.digest is not None and done not in self._done:
            self._done.add(done)
            self._answered.append((self._sent[_mark(shot)], answer))
            self._open[job.job_id] = (job, shot.step + 1)
            if shot.step + 1 >= len(schedule_of(job).steps):
                del self._open[job.job_id]
        elif answer.code == Code.BUDGET_LIFETIME and shot.kind == HONEST:
            self.appetite = max(0.8 * self.appetite, _LEAST)
        elif answer.code == Code.BUDGET_PERIOD and shot.kind == HONEST:
            self.target.now += _LATER
            self.target.turned = timedelta()

    @property
    def open_jobs(self) -> list[str]:
        """Ids of jobs that were begun and not finished."""
        return list(self._open)

    def forget(self, job_id: str) -> None:
        """Go on without a job."""
        self._open.pop(job_id, None)

    def _inputs(self, job: Job, step: int) -> dict[str, NDArray[Any]]:
        """Arrays that a client has to accept, as odd as they may be."""
        try:
            steps = schedule_of(job).steps
        except (HushRecError, ValueError, TypeError, OverflowError):
            return {}
        if step >= len(steps):
            return {}
        return {
            name: self._array(spec.shape, spec.max_abs, positive=spec.positive)
            for name, spec in steps[step].inputs.items()
        }

    def _array(
        self, shape: tuple[int, ...], largest: float, *, positive: bool
    ) -> NDArray[np.float32]:
        if positive:
            return self.rng.uniform(0.1, min(largest, 2.0), shape).astype(np.float32)
        if len(shape) == 1:
            return np.ones(shape, np.float32)
        scale = min(largest / 8, float(10 ** self.rng.uniform(-9, 3)))
        drawn = self.rng.normal(size=shape) * scale
        return np.clip(drawn, -largest / 2, largest / 2).astype(np.float32)


def _mark(shot: Shot) -> str:
    """Tells shots apart by what was in them."""
    header = shot.records.config_records.get("task", ConfigRecord())
    job = "" if shot.job is None else shot.job.model_dump_json()
    return json.dumps([shot.kind, job, shot.step, str(header.get("signature"))])

"""One step's release of one client as the strongest attacker has it: all others taken out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from flwr.app import Context, RecordDict

from client.store import ClientStore
from common.arrays import Floats, Histories, Ints, State
from common.errors import Code, ConfigError, RunError
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.events import NoisySumEvent, event_of
from common.privacy.grid import quantise
from common.privacy.plan import Release
from common.protocol import OK, STEP, Reply, Task
from common.schedule import Schedule, schedule_of
from common.solvers.base import SUM, NoisyTotal, given_to
from server.app import make_app
from server.record import SilentObserver
from simulations.attacks.recording import RecordingGrid
from simulations.dataset import Dataset
from simulations.engine.folders import client_folders
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["Known", "dense", "observe"]

_BLOCK: Final = 1 << 17


@dataclass(frozen=True)
class _Guess:
    """Histories that an attacker imagines, in the place of a client's data."""

    histories: Histories
    heldout: Ints | None = None

    @property
    def rated(self) -> Histories:
        return self.histories


@dataclass(frozen=True)
class Known:
    """What the attacker knows of a step: everything but one user's data and the noise.

    Attributes:
        schedule: of the job.
        step: which step.
        inputs: what the server sent in it.
        histories: of the client's users, with their ratings if the solver reads weights.
        noise: `[rows, width]`, what the release holds beside the exact sum over all users.
        noise_std: standard deviation of each entry of it, 0 in mode `none`.
    """

    schedule: Schedule
    step: int
    inputs: State
    histories: Histories
    noise: Floats
    noise_std: float

    @property
    def release(self) -> Release:
        """The planned release."""
        return self.schedule.plan.releases[self.step]

    def remaining(self, users: Ints) -> Floats:
        """The release less the exact sum of everybody else, for each of `users` (increasing).

        Returns:
            `[users, rows, width]`: the user's contribution as it was summed, and the noise.
        """
        blocks = _summed(self.contribute(self.histories, users), self.release)
        return dense(blocks, len(users), self.noise.shape, users) + self.noise

    def contribute(self, histories: Histories, users: Ints) -> Iterator[Contributions]:
        """What `users` with such histories would contribute in this step."""
        return self.schedule.contribute(self.step, self.inputs, _Guess(histories), users)

    def imagine(self, histories: Histories) -> Floats:
        """Contribution of each of some imagined users, `[users, rows, width]`."""
        users = np.arange(histories.n_users, dtype=np.int64)
        batches = self.contribute(histories, users)
        blocks = (block for batch in batches for block in batch.expand(_BLOCK))
        return dense(blocks, len(users), self.noise.shape, users)


def observe(scenario: Scenario, dataset: Dataset, step: int) -> Known:
    """Run a scenario by the real apps, and take one release off the wire.

    Args:
        scenario: of one client, or of several, whose first by name is looked at.
        dataset: its data.
        step: which of the job's steps.

    Raises:
        ConfigError: `config-invalid`, the job has no such step, or its release cannot be
            undone: several sums, sampled users, or an optimiser that is not linear.
        RunError: the run fails.
    """
    job = make_job(scenario, dataset)
    schedule = schedule_of(job)
    _check(schedule, step)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run", force=False)
        prepare(folder, scenario, dataset, job)
        grid = RecordingGrid(folder.path)
        context = Context(grid.run.run_id, 1, {}, RecordDict(), {})
        make_app(folder.path, SilentObserver())(grid, context)
        store = ClientStore.open(client_folders(folder.path)[0])
    task, reply = _exchange(grid, step)
    inputs = {name: array.astype(np.float64) for name, array in task.inputs.items()}
    total = _total(schedule, step, inputs, reply, store.settings.population)
    release = schedule.plan.releases[step]
    exact = np.zeros(total.shape)
    users = np.arange(store.histories.n_users, dtype=np.int64)
    for block in _summed(schedule.contribute(step, inputs, store, users), release):
        np.add.at(exact, block.rows, block.values)
    histories = given_to(schedule.solver, store).histories
    return Known(schedule, step, inputs, histories, total - exact, release.noise_std)


def dense(
    blocks: Iterator[SparseRows], n_users: int, shape: tuple[int, ...], users: Ints
) -> Floats:
    """Blocks of contributions of `users` (increasing) written out, `[n_users, rows, width]`."""
    written = np.zeros((n_users, *shape))
    for block in blocks:
        owner = np.repeat(np.searchsorted(users, block.users), np.diff(block.indptr))
        written[owner, block.rows] = block.values
    return written


def _summed(batches: Iterator[Contributions], release: Release) -> Iterator[SparseRows]:
    """Contributions as the mechanism adds them up: clipped and on its grid, natural units."""
    event = event_of(release)
    for batch in batches:
        for block in batch.expand(_BLOCK):
            if not isinstance(event, NoisySumEvent):
                yield block
                continue
            units = quantise(block, release.clip_norm, event.clip_grid)
            values = units.astype(np.float64) * (release.clip_norm / event.clip_grid)
            yield SparseRows(block.users, block.indptr, block.rows, values)


def _exchange(grid: RecordingGrid, step: int) -> tuple[Task, Reply]:
    """The first client's task and reply of a step."""
    for message, answer in grid.exchanged:
        if message.metadata.message_type != STEP or answer.has_error():
            continue
        task = Task.from_records(message.content)
        reply = Reply.from_records(answer.content)
        if task.step == step and reply.code == OK:
            return task, reply
    raise RunError(Code.RUN_QUORUM, "no client released anything.", where=f"step {step}")


def _total(schedule: Schedule, step: int, inputs: State, reply: Reply, population: int) -> Floats:
    """The noised sum behind a release: itself, or the gradient step on it undone."""
    if schedule.steps[step].aggregate != "average":
        return reply.arrays[SUM].astype(np.float64)
    ((name, sent),) = reply.arrays.items()
    rate = schedule.plan.releases[step].sampling_rate

    def after(total: Floats) -> Floats:
        noisy = NoisyTotal(total, 0.0, float(population), rate)
        return np.asarray(schedule.advance(step, inputs, noisy)[name], dtype=np.float64)

    zero, ones = np.zeros(sent.shape), np.ones(sent.shape)
    start = after(zero)
    slope = after(ones) - start
    if not np.allclose(after(2 * ones) - start, 2 * slope, rtol=1e-6):
        raise _unsupported(schedule, step, "its optimiser is not linear in the sum")
    return np.asarray((sent - start) / slope, dtype=np.float64)


def _check(schedule: Schedule, step: int) -> None:
    if not 0 <= step < len(schedule.steps):
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"the job has {len(schedule.steps)} steps, counted from 0.",
            where=f"step {step}",
        )
    release = schedule.plan.releases[step]
    if release.steps != 1:
        raise _unsupported(schedule, step, "a release of it holds several sums")
    if release.sampling_rate < 1:
        raise _unsupported(schedule, step, "who was sampled is not known")
    if release.selection is not None:
        raise _unsupported(schedule, step, "rows that were not chosen say nothing")


def _unsupported(schedule: Schedule, step: int, why: str) -> ConfigError:
    return ConfigError(
        Code.CONFIG_INVALID,
        f"a release cannot be taken apart: {why}.",
        where=f"step {schedule.plan.releases[step].step!r}",
        remedy="Choose another step, or settings with one local step, no sampling and `sgd`.",
    )

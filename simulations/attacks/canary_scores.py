"""What the releases of a run say about each canary: a score that is larger if they are in.

The auditor knows everything but the coins and the noise: what the server sent, what the
client released, and, since a canary's history is his own choice, what each canary would
contribute to every sum. The score is the log-likelihood ratio of the released rows of the
canary's own item, which nobody else touches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints, State
from common.errors import Code, ConfigError
from common.privacy.plan import Release
from common.protocol import Reply, Task
from common.schedule import Schedule
from common.solvers.base import SUM, NoisyTotal
from simulations.attacks.canaries import Canaries

__all__ = ["canary_scores"]


@dataclass(frozen=True)
class _Users:
    """The canaries as a client's log has them, in or not."""

    histories: Histories
    heldout: Ints | None = None

    @property
    def rated(self) -> Histories:
        return self.histories  # a canary rates its item 1


def canary_scores(
    schedule: Schedule, exchanged: Iterable[tuple[Task, Reply]], canaries: Canaries
) -> Floats:
    """Log-likelihood ratio of each canary's own rows, summed over the steps, `[canaries]`.

    Between local steps the server does not see the state; it is taken to have moved evenly,
    so that for steps after the first of a round the ratio is an approximation.

    Args:
        schedule: of the job.
        exchanged: what was asked and answered, one client's, in order.
        canaries: who may be in.

    Raises:
        ConfigError: `config-invalid`, the released state cannot be turned back into a sum:
            an optimiser with memory.
    """
    scores = np.zeros(len(canaries.items))
    for task, reply in exchanged:
        inputs = {name: array.astype(np.float64) for name, array in task.inputs.items()}
        if schedule.steps[task.step].aggregate == "average":
            total, states = _local_steps(schedule, task.step, inputs, reply)
        else:
            total, states = reply.arrays[SUM].astype(np.float64), [inputs]
        scores += _ratios(schedule, task.step, total, states, canaries)
    return scores


def _ratios(
    schedule: Schedule, step: int, total: Floats, states: list[State], canaries: Canaries
) -> Floats:
    """The ratios of one release: <total, g> - |g|²/2 over the variance, on own rows."""
    release = schedule.plan.releases[step]
    if release.rows < schedule.job.n_items:  # of a network alone: no row is a canary's own
        return np.zeros(len(canaries.items))
    own = np.zeros((len(canaries.items), release.width))
    shared = np.zeros(len(canaries.items), dtype=np.bool_)
    for state in states:
        rows, others = _own_rows(schedule, step, state, canaries)
        own += rows
        shared |= others
    own[shared] = 0.0
    variance = len(states) * release.noise_std**2
    ratios: Floats = np.einsum("ij,ij->i", total[canaries.items] - own / 2, own)
    return ratios / (variance if variance > 0 else 1.0)


def _own_rows(
    schedule: Schedule, step: int, state: State, canaries: Canaries
) -> tuple[Floats, NDArray[np.bool_]]:
    """What each canary would add to the row of its item, and whether others touch that row.

    Returns:
        `[canaries, width]` and `[canaries]`.
    """
    release, count = schedule.plan.releases[step], len(canaries.items)
    holder = np.full(release.rows, -1, dtype=np.int64)
    holder[canaries.items] = np.arange(count)
    own, touches = np.zeros((count, release.width)), np.zeros(count, dtype=np.int64)
    data, users = _Users(canaries.histories), np.arange(count, dtype=np.int64)
    for batch in schedule.contribute(step, state, data, users):
        for block in batch.expand(1 << 17):
            user = np.repeat(block.users, np.diff(block.indptr))
            values = block.values * _clipping(user, block.values, release)[:, None]
            of_row = holder[block.rows]
            touches += np.bincount(of_row[of_row >= 0], minlength=count)
            mine = of_row == user
            own[user[mine]] = values[mine]
    return own, touches > 1


def _clipping(user: Ints, values: Floats, release: Release) -> Floats:
    """The factor that the mechanism clips the user of each entry by, `[entries]`."""
    if release.noise_multiplier == 0:
        return np.ones(len(user))
    norms = np.sqrt(np.bincount(user, np.einsum("ij,ij->i", values, values)))[user]
    return release.clip_norm / np.maximum(norms, release.clip_norm)


def _local_steps(
    schedule: Schedule, step: int, inputs: State, reply: Reply
) -> tuple[Floats, list[State]]:
    """The sum of a client's noisy totals, from the state that it released, and its path.

    Where each local step moves the released array by the same multiple of its total, that
    array says what the totals add up to. States on the way are those of equal totals.
    """
    release = schedule.plan.releases[step]
    (name,) = schedule.steps[step].outputs

    def after(value: Floats, state: State) -> State:
        total = NoisyTotal(value, 1.0, float(schedule.job.population), release.sampling_rate)
        return schedule.advance(step, state, total)

    ones = np.ones((release.rows, release.width))
    once = after(ones, inputs)
    twice = after(2 * ones, once)
    moved = inputs[name] - once[name]
    if not (np.allclose(inputs[name] - twice[name], 3 * moved) and np.allclose(moved, moved[0, 0])):
        raise ConfigError(
            Code.CONFIG_INVALID,
            "what a client released cannot be turned back into the sum of its local steps.",
            where="audit attack one-run",
            remedy="Use an optimiser without memory: sgd with momentum 0.",
        )
    total: Floats = (inputs[name] - reply.arrays[name].astype(np.float64)) / moved[0, 0]
    states = [inputs]
    for _ in range(release.steps - 1):
        states.append(after(total / release.steps, states[-1]))
    return total, states

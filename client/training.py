"""The client half of one step: users' contributions into a mechanism, its sums out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from client.release import declared, declared_words
from client.store import ClientStore
from common.arrays import Floats, Ints, State
from common.logs import ONLY_HERE
from common.privacy.contributions import Contributions
from common.privacy.deferred import DeferredSum, deferred_from
from common.privacy.inbound import check_arrays
from common.privacy.mechanisms import OnFailure, SumMechanism
from common.privacy.shared_noise import SharedSum, Words
from common.privacy.summing import undeclared
from common.protocol import Task
from common.schedule import Schedule
from common.solvers.base import SUM, NoisyTotal, given_to
from common.solvers.following import FollowsTotal

__all__ = ["Compute", "ComputeWords", "prepared_step", "prepared_words"]

Compute: TypeAlias = Callable[[SumMechanism], Mapping[str, NDArray[Any]]]
"""Makes the arrays of a release from the sums of one mechanism."""
ComputeWords: TypeAlias = Callable[[SharedSum], Words]
"""Makes the words of a secure sum, not yet masked, from the one sum of a mechanism."""

_LOG = logging.getLogger("hushrec.client")
_Total = TypeVar("_Total")


def prepared_step(task: Task, schedule: Schedule, store: ClientStore) -> Compute:
    """Check what the server sent for a step; what remains is to compute it.

    Guarantee:
        No data is looked at here, so that a bad array costs nothing and tells nothing.

    Raises:
        InboundError: an array from the server is not safe to use.
    """
    inputs = _checked(task, schedule)
    return lambda mechanism: _run(task.step, schedule, inputs, store, mechanism)


def prepared_words(task: Task, schedule: Schedule, store: ClientStore) -> ComputeWords:
    """As `prepared_step`, for a step that is one secure sum.

    Raises:
        InboundError: an array from the server is not safe to use.
        ReleaseError: `release-undeclared`, the step is more than one sum of all clients.
    """
    step, inputs = schedule.steps[task.step], _checked(task, schedule)
    if step.aggregate == "average" or step.release.steps != 1:
        raise undeclared(schedule.plan.releases[task.step], "is not one sum of all clients")
    return lambda mechanism: declared_words(
        _summed(task.step, schedule, inputs, store, mechanism.sample, mechanism.words),
        schedule.plan.releases[task.step],
    )


def _checked(task: Task, schedule: Schedule) -> State:
    safe = check_arrays(task.inputs, schedule.steps[task.step].inputs)
    return {name: array.astype(np.float64) for name, array in safe.items()}


def _run(
    index: int, schedule: Schedule, inputs: State, store: ClientStore, mechanism: SumMechanism
) -> Mapping[str, NDArray[Any]]:
    """What the client releases in one step.

    Guarantee:
        Data reaches the result through `mechanism` alone: everything after a sum is
        `advance`, which sees public state and that sum only; or `after_sums`, which sees what
        the server sent and the total of all sums. The mechanism refuses more sums than its
        event covers.
    """
    step = schedule.steps[index]
    if step.aggregate != "average":
        return declared({SUM: _sum(index, schedule, inputs, store, mechanism)}, step.outputs)
    solver = _follower(schedule, index)
    running = None if solver is None else deferred_from(mechanism)
    if solver is None or running is None:
        after = _advanced(index, schedule, inputs, store, mechanism)
    else:
        after = _Following(index, schedule, inputs, store, solver, running).end()
    named = {name: after[name] for name in step.outputs if name in after}
    return declared(named, step.outputs)


def _follower(schedule: Schedule, index: int) -> FollowsTotal | None:
    """The solver, where it follows the running total; by the job alone."""
    solver = schedule.solver
    own = index < len(solver.steps)
    return solver if own and isinstance(solver, FollowsTotal) and solver.defers(index) else None


def _advanced(
    index: int, schedule: Schedule, state: State, store: ClientStore, mechanism: SumMechanism
) -> State:
    """The state after each sum of a round in turn."""
    for _ in range(schedule.steps[index].release.steps):
        values = _sum(index, schedule, state, store, mechanism)
        total = _noisy(index, schedule, store, values, mechanism.noise_std)
        state = schedule.advance(index, state, total)
    return state


@dataclass(frozen=True)
class _Following:
    """A round that follows the running total of its sums.

    Attributes:
        index: of the step.
        schedule: of the job.
        start: what the server sent.
        store: the client's data.
        solver: whose state is a function of start and total.
        running: the total.
    """

    index: int
    schedule: Schedule
    start: State
    store: ClientStore
    solver: FollowsTotal
    running: DeferredSum

    def end(self) -> State:
        """The state after all sums, of start and settled total alone."""
        steps = self.schedule.steps[self.index].release.steps
        for sums in range(steps):
            users = self.running.sample(self.store.histories.n_users)
            rows = self._rows_read(sums, users)
            state = self._state(sums, self.running.read(rows), rows)
            _added(self.index, self.schedule, state, self.store, users, self.running.add)
        return self._state(steps, self.running.settle())

    def _rows_read(self, sums: int, users: Ints) -> Ints:
        """What the next sum reads; where that fails, all there is, and no code tells."""
        try:
            start, data = _read_only(self.start), given_to(self.schedule.solver, self.store)
            return self.solver.rows_read(self.index, start, sums, data, users)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever one user's events do
            _LOG.error(
                "step %d: all rows are read: a defect", self.index, exc_info=error, extra=ONLY_HERE
            )
        return np.arange(self.schedule.steps[self.index].release.rows)

    def _state(self, sums: int, values: Floats, rows: Ints | None = None) -> State:
        noise_std = math.sqrt(sums) * self.running.noise_std
        total = _noisy(self.index, self.schedule, self.store, values, noise_std)
        return self.solver.after_sums(self.index, self.start, sums, total, rows)


def _noisy(
    index: int, schedule: Schedule, store: ClientStore, values: Floats, noise_std: float
) -> NoisyTotal:
    return NoisyTotal(
        values=values,
        noise_std=noise_std,
        population=float(store.settings.population),
        sampling_rate=schedule.steps[index].release.sampling_rate,
    )


def _sum(
    index: int, schedule: Schedule, inputs: State, store: ClientStore, mechanism: SumMechanism
) -> NDArray[np.float64]:
    return _summed(index, schedule, inputs, store, mechanism.sample, mechanism.sum)


def _summed(
    index: int,
    schedule: Schedule,
    inputs: State,
    store: ClientStore,
    sample: Callable[[int], Ints],
    total: Callable[[Iterable[Contributions], OnFailure], _Total],
) -> _Total:
    users = sample(store.histories.n_users)
    return _added(index, schedule, inputs, store, users, total)


def _added(
    index: int,
    schedule: Schedule,
    inputs: State,
    store: ClientStore,
    users: Ints,
    total: Callable[[Iterable[Contributions], OnFailure], _Total],
) -> _Total:
    """One sum, whatever its contributions do: no code tells a server that they failed.

    Solvers contain what one user's events break, so nothing should arrive here. What does
    is in no message, not in the ledger, and in no log but one that its owner lets quote data.
    """

    def failed(error: BaseException) -> None:
        _LOG.error(
            "step %d: no more contributions: a defect", index, exc_info=error, extra=ONLY_HERE
        )

    def contributions() -> Iterator[Contributions]:
        yield from schedule.contribute(index, _read_only(inputs), store, users)

    return total(contributions(), failed)


def _read_only(state: State) -> State:
    """The same public state, which code that sees data cannot write into."""
    views = {name: array.view() for name, array in state.items()}
    for view in views.values():
        view.flags.writeable = False
    return MappingProxyType(views)

"""The client half of one step: users' contributions into a mechanism, its sums out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from client.release import declared, declared_words
from client.store import ClientStore
from common.arrays import Ints, State
from common.logs import ONLY_HERE
from common.privacy.contributions import Contributions
from common.privacy.inbound import check_arrays
from common.privacy.mechanisms import OnFailure, SumMechanism
from common.privacy.shared_noise import SharedSum, Words
from common.privacy.summing import undeclared
from common.protocol import Task
from common.schedule import Schedule
from common.solvers.base import SUM, NoisyTotal

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
        `advance`, which sees public state and that sum only. The mechanism refuses more
        sums than its event covers.
    """
    step = schedule.steps[index]
    if step.aggregate != "average":
        return declared({SUM: _sum(index, schedule, inputs, store, mechanism)}, step.outputs)
    for _ in range(step.release.steps):
        total = NoisyTotal(
            values=_sum(index, schedule, inputs, store, mechanism),
            noise_std=mechanism.noise_std,
            population=float(store.settings.population),
            sampling_rate=step.release.sampling_rate,
        )
        inputs = schedule.advance(index, inputs, total)
    named = {name: inputs[name] for name in step.outputs if name in inputs}
    return declared(named, step.outputs)


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

    users = sample(store.histories.n_users)
    return total(contributions(), failed)


def _read_only(state: State) -> State:
    """The same public state, which code that sees data cannot write into."""
    views = {name: array.view() for name, array in state.items()}
    for view in views.values():
        view.flags.writeable = False
    return MappingProxyType(views)

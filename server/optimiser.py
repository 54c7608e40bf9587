"""The server's own step towards what clients came to: FedAvgM and FedAdam.

The pseudo-gradient is the average of what clients returned less what they were sent. Moments are
arrays of the state whose names begin with `server.`, so that checkpoints hold them; no step sends
them and no model keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, State
from common.solvers.aggregation import SERVER_STATE, Aggregation
from common.solvers.base import Step

__all__ = ["after_average"]

_FIRST = f"{SERVER_STATE}first_moment."
_SECOND = f"{SERVER_STATE}second_moment."


def after_average(step: Step, state: State, average: Mapping[str, Floats]) -> State:
    """The state after a step of kind `average`.

    An optimiser's step is projected onto the bounds that clients accept of each array.

    Args:
        step: what was asked.
        state: before it.
        average: of what clients returned, by name.
    """
    rule = step.combine
    if rule is None or not rule.moves:
        return {**state, **average}
    after = dict(state)
    for name, mean in average.items():
        before = np.asarray(state[name], dtype=np.float64)
        sent = before.astype(np.float32)
        move, moments = _step(rule, name, state, np.subtract(mean, sent, dtype=np.float64))
        largest = step.outputs[name].max_abs
        after |= {name: np.clip(before + move, -largest, largest), **moments}
    return after


def _step(
    rule: Aggregation, name: str, state: State, gradient: Floats
) -> tuple[Floats, dict[str, NDArray[np.float64]]]:
    """What is added to an array, and its new moments.

    `fedadam` is Algorithm 2 of Reddi et al. 2021 with v₋₁ = τ² and, as there, without a
    correction of bias (Flower's has one); `fedavgm` is that of Hsu et al. 2019:

        m = β1 m + (1 - β1) Δ,  v = β2 v + (1 - β2) Δ²,  x + η m / (√v + τ)
        m = β1 m + Δ,  x + η m
    """
    eta, beta_1, beta_2 = rule.server_learning_rate, rule.server_beta_1, rule.server_beta_2
    first = state.get(_FIRST + name, np.zeros_like(gradient))
    if rule.aggregation == "fedavgm":
        first = beta_1 * first + gradient
        return eta * first, {_FIRST + name: first}
    tau = rule.server_tau
    second = state.get(_SECOND + name, np.full_like(gradient, tau**2))
    first = beta_1 * first + (1 - beta_1) * gradient
    second = beta_2 * second + (1 - beta_2) * gradient**2
    move = eta * first / (np.sqrt(second) + tau)
    return move, {_FIRST + name: first, _SECOND + name: second}

"""What solvers have in common whose clients step on their own noisy sums.

Where a client adds all of its own noise it may take many steps by itself. Where the noise is
added to the total, a round is one step on one secure sum at the server's state: a client that
went on from its own part would train on its own share of the noise alone, which promises too
little.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from common.arrays import Floats, State
from common.errors import Code, PlanError
from common.privacy.plan import RowSelection
from common.solvers.base import NoisyTotal
from common.solvers.descent import MOMENTS, Descent

__all__ = [
    "LARGEST_SEED",
    "LOCAL_STEP",
    "SEED",
    "check_central",
    "first_seed",
    "local_step",
    "seed_of",
    "stepped",
]

SEED: Final = "seed"
LOCAL_STEP: Final = "local_step"
LARGEST_SEED: Final = 1 << 20
"""Whole in float32, as which a state travels."""


def first_seed(seed: int) -> Floats:
    """The public seed of every draw, as a state holds it, `[1]`."""
    return np.array([float(seed % LARGEST_SEED)])


def seed_of(state: State) -> int:
    """The public seed of every draw."""
    return abs(round(float(state[SEED][0])))


def local_step(state: State) -> int:
    """Local steps that were taken since the server sent the state."""
    return round(float(state[LOCAL_STEP][0])) if LOCAL_STEP in state else 0


def stepped(
    state: State, name: str, total: NoisyTotal, descent: Descent, *, central: bool
) -> dict[str, np.ndarray]:
    """The state after one step on a noised total.

    Moments and the number of local steps so far are no inputs: at a client they end with the
    round. On the server moments stay in the state, and so in its checkpoints.

    Args:
        state: before.
        name: of the array that is stepped on, `[rows, width]`.
        total: a mechanism's.
        descent: the step.
        central: the noise was added to the total, and the server steps.
    """
    moments = {key: state[key] for key in state if key.startswith(MOMENTS)}
    batch_size = total.sampling_rate * total.population
    table, moments = descent.step(state[name], moments, total.values, batch_size)
    after = {**state, **moments, name: table}
    return after if central else {**after, LOCAL_STEP: np.array([local_step(state) + 1.0])}


def check_central(
    *, local_steps: int | None, sampling_rate: float | None, row_selection: RowSelection | None
) -> None:
    """Refuse what would promise too little in mode `distributed`; None is what was left out.

    Raises:
        PlanError: `plan-mode`.
    """
    if local_steps not in (None, 1):
        raise _refuse(
            f"{local_steps} local steps in mode `distributed`: between secure sums a "
            "client would train on its own share of the noise alone.",
            "local_steps",
            "Leave it out, and ask for more rounds: each is one sum.",
        )
    if sampling_rate is not None and sampling_rate != 1:
        raise _refuse(
            f"a sampling rate of {sampling_rate:g} in mode `distributed`: a secure sum "
            "is planned and charged as one over all users.",
            "sampling_rate",
            "Leave it out: 1 is the default.",
        )
    if row_selection is not None:
        raise _refuse(
            "a choice of rows in mode `distributed`, where none is proven.",
            "row_selection",
            "Leave it out, or use mode `local`.",
        )


def _refuse(what: str, where: str, remedy: str) -> PlanError:
    return PlanError(Code.PLAN_MODE, what, where=where, remedy=remedy)

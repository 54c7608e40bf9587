"""Rounds of plain descent that follow the running total of their sums.

With one rate for all steps of a round, the parameters after some of them are
start - rate / batch size · (sum of their totals), row by row. A step reads the rows of its users'
items, those that everybody is given, and the network's.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from common.arrays import Floats, Ints, State
from common.models.shared_arrays import FEATURES
from common.solvers.base import ClientData, NoisyTotal
from common.solvers.contained import USERS
from common.solvers.gradient.gradients import Gradients, Held
from common.solvers.gradient.solver import PARAMETERS, GradientSolver
from common.solvers.local_steps import LOCAL_STEP

__all__ = ["FollowingSolver"]

ROWS: Final = "rows"
"""Which rows `PARAMETERS` holds, in a state that has not all of them."""
_ROWS_AT_ONCE: Final = 1 << 15


class FollowingSolver(GradientSolver):
    """A `GradientSolver` that is a `common.solvers.following.FollowsTotal`."""

    def defers(self, step: int) -> bool:
        """Where plain descent with one rate has several sums of which it reads few rows.

        A draw of the sampler `fast` cannot stand for several: nothing would be gained.
        """
        if step < self._starts or self.facts.central or not self.facts.private:
            return False
        settings, first = self.settings, self._time(step, {})
        rates = {self._share_of_rate(first + number) for number in range(self.local_steps)}
        return (
            self.train_items
            and self.local_steps > 1
            and (settings.optimizer, settings.momentum) == ("sgd", 0)
            and len(rates) == 1
            and self.sampler == "exact"
            and settings.row_selection is None
        )

    def rows_read(self, step: int, start: State, sums: int, data: ClientData, users: Ints) -> Ints:
        """Own items, shared ones, and all of the network; see `FollowsTotal`."""
        draw = self._draw(self._time(step, start) + sums, start)
        read = np.zeros(self._trained_items + self._packing.rows, np.bool_)
        read[self._trained_items :] = True
        read[draw.shared] = True
        read[0] = True  # stands where there is padding
        active = users[data.histories.lengths[users] > 0]
        for at in range(0, len(active), USERS):
            own = self._examples.own(data.histories.take(active[at : at + USERS]), draw)
            read[np.maximum(own, 0)] = True
        return np.flatnonzero(read)

    def after_sums(
        self, step: int, start: State, sums: int, total: NoisyTotal, rows: Ints | None = None
    ) -> State:
        """Start and total, each row by itself; see `FollowsTotal`."""
        rate = self._descent(self._time(step, start)).learning_rate
        scale = rate / (total.sampling_rate * total.population)
        parameters = start[PARAMETERS] if rows is None else start[PARAMETERS][rows]
        after = {**start, LOCAL_STEP: np.array([float(sums)])}
        if rows is not None:
            after[ROWS] = rows
        return {**after, PARAMETERS: _descended(parameters, scale, total.values)}

    def _gradients(self, state: State) -> Gradients:
        if ROWS not in state:
            return super()._gradients(state)
        rows, parameters = state[ROWS], state[PARAMETERS]
        items = int(np.searchsorted(rows, self._trained_items))
        return Gradients(
            self._network,
            parameters[:items],
            parameters[items:],
            self._packing,
            self.train_items,
            state.get(FEATURES),
            Held(rows[:items], self._trained_items),
        )


def _descended(start: Floats, scale: float, total: Floats) -> Floats:
    """The start less scale · total, some rows at a time.

    Two operations of numpy, each rounded by itself, wherever a row stands: a library that fuses
    them where a vector register is full, and not behind, would round by which others are read.
    """
    after = np.empty_like(start)
    for at in range(0, len(start), _ROWS_AT_ONCE):
        part = slice(at, at + _ROWS_AT_ONCE)
        moved = scale * total[part]
        after[part] = start[part] - moved
    return after

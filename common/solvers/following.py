"""What a solver may offer beside `Solver`: to follow the running total of a round's sums.

A client that takes many noisy steps by itself then reads, and draws noise for, the rows alone
that a step needs, and the others at the end (`common.privacy.deferred`).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from common.arrays import Ints, State
from common.solvers.base import ClientData, NoisyTotal

__all__ = ["FollowsTotal"]


@runtime_checkable
class FollowsTotal(Protocol):
    """A solver of which some steps' states are functions of their start and one total.

    Guarantee:
        Who follows the total takes the steps that `contribute` and `advance` take, to rounding.
        What `contribute` makes of a user depends on that user and on rows that `rows_read` says
        of that user alone; and the value of a row in `after_sums` on no other row, to the bit.
    """

    def defers(self, step: int) -> bool:
        """Whether a step of kind `average` is to be taken this way.

        A function of settings and public facts alone.
        """
        ...

    def rows_read(self, step: int, start: State, sums: int, data: ClientData, users: Ints) -> Ints:
        """Rows of the state, increasing, that `contribute` will read for `users`.

        Sees data, and what it says goes to `DeferredSum.read` and nowhere else. Client.

        Args:
            step: of the job.
            start: what the server sent.
            sums: that were made in this step before.
            data: of the client.
            users: positions, increasing.
        """
        ...

    def after_sums(
        self, step: int, start: State, sums: int, total: NoisyTotal, rows: Ints | None = None
    ) -> State:
        """The state after some sums of a step. Never sees data.

        Args:
            step: of the job.
            start: what the server sent.
            sums: that `total` is of.
            total: of all of them together.
            rows: that `total` is of, increasing; None for all. Then the state holds no others,
                and is for `contribute` alone.
        """
        ...

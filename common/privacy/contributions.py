"""What users contribute to a sum: structured, never summed here by a solver.

A sum is a matrix `[rows, width]` (rows are items, or the entries of a small vector).
A contribution of one user is a few of its rows. Batches name their users, so that the
mechanism can see that nobody contributes twice to one sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from common.arrays import Floats, Ints
from common.errors import Code, PrivacyError

__all__ = ["Contributions", "PlainSum", "SparseRows", "whole_users"]


class Contributions(Protocol):
    """The contributions of a batch of users."""

    @property
    def users(self) -> Ints:
        """Positions of the users, strictly increasing, `[batch]`."""
        ...

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """The same contributions written out, in blocks of whole users of about `max_values`."""
        ...

    def add_to(self, total: Floats) -> None:
        """Add the plain sum, unclipped and without noise, to `total` `[rows, width]`."""
        ...


@dataclass(frozen=True)
class SparseRows:
    """Any contribution, as the rows that it touches.

    Attributes:
        users: `[batch]`, strictly increasing.
        indptr: `[batch + 1]`, user `b` owns entries `indptr[b]:indptr[b + 1]`.
        rows: `[entries]`, strictly increasing within a user.
        values: `[entries, width]`.
    """

    users: Ints
    indptr: Ints
    rows: Ints
    values: Floats

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """Whole users in blocks of about `max_values` values."""
        for start, stop in whole_users(self.indptr, max(1, max_values // self.values.shape[1])):
            first, last = self.indptr[start], self.indptr[stop]
            yield SparseRows(
                self.users[start:stop],
                self.indptr[start : stop + 1] - first,
                self.rows[first:last],
                self.values[first:last],
            )

    def add_to(self, total: Floats) -> None:
        """Add every row to `total`."""
        np.add.at(total, self.rows, self.values)


@dataclass(frozen=True)
class PlainSum:
    """A batch that is summed already, for mode `none`: no mechanism with a guarantee takes it.

    Attributes:
        users: `[batch]`, strictly increasing.
        values: the plain sum, `[rows, width]`.
    """

    users: Ints
    values: Floats

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """Refuse: nobody can be clipped in it.

        Raises:
            PrivacyError: `contribution-invalid`, always.
        """
        del max_values
        raise PrivacyError(
            Code.CONTRIBUTION_INVALID,
            "a plain sum has no users to clip.",
            where="contributions",
            remedy="This is a defect of the solver: with privacy it must yield each user.",
        )

    def add_to(self, total: Floats) -> None:
        """Add it to `total`."""
        total += self.values


def whole_users(indptr: Ints, max_entries: int) -> Iterator[tuple[int, int]]:
    """Ranges of whole users with about `max_entries` entries each."""
    start, users = 0, len(indptr) - 1
    while start < users:
        stop = int(np.searchsorted(indptr, indptr[start] + max_entries, side="right")) - 1
        stop = min(max(stop, start + 1), users)
        yield start, stop
        start = stop

"""What users contribute to a sum: structured, never summed here by a solver.

A sum is a matrix `[rows, width]` (rows are items, or the entries of a small vector).
A contribution of one user is a few of its rows. Batches name their users, so that the
mechanism can see that nobody contributes twice to one sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from common.arrays import Floats, Ints
from common.errors import Code, PrivacyError

__all__ = ["Contributions", "PlainSum", "RankOne", "SparseRows"]


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
        for start, stop in _blocks(self.indptr, max(1, max_values // self.values.shape[1])):
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
class RankOne:
    """Outer products: user `b` contributes `left[e] * right[b]` on row `rows[e]`.

    Attributes:
        users: `[batch]`, strictly increasing.
        indptr: `[batch + 1]`.
        rows: `[entries]`, strictly increasing within a user.
        left: `[entries]`.
        right: `[batch, width]`.
    """

    users: Ints
    indptr: Ints
    rows: Ints
    left: Floats
    right: Floats

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One batch of several (at least one), in their order; values are copied, not changed."""
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(
            np.concatenate([part.users for part in parts]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.left for part in parts]),
            np.concatenate([part.right for part in parts]),
        )

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """The outer products written out, whole users at a time."""
        for start, stop in _blocks(self.indptr, max(1, max_values // self.right.shape[1])):
            first, last = self.indptr[start], self.indptr[stop]
            indptr = self.indptr[start : stop + 1] - first
            right = np.repeat(self.right[start:stop], np.diff(indptr), axis=0)
            yield SparseRows(
                self.users[start:stop],
                indptr,
                self.rows[first:last],
                self.left[first:last, None] * right,
            )

    def add_to(self, total: Floats) -> None:
        """Add the outer products to `total`, as one sparse-dense product."""
        from scipy.sparse import csr_array  # heavy; only where nobody asks for privacy

        batch = np.repeat(np.arange(len(self.users)), np.diff(self.indptr))
        shape = (total.shape[0], len(self.users))
        spread = csr_array((self.left, (self.rows, batch)), shape=shape)
        total += np.asarray(spread @ self.right)


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


def _blocks(indptr: Ints, max_entries: int) -> Iterator[tuple[int, int]]:
    """Ranges of whole users with about `max_entries` entries each."""
    start, users = 0, len(indptr) - 1
    while start < users:
        stop = int(np.searchsorted(indptr, indptr[start] + max_entries, side="right")) - 1
        stop = min(max(stop, start + 1), users)
        yield start, stop
        start = stop

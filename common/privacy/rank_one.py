"""What users contribute as outer products: one number for a row, one vector for a user.

A user has rows of their own, and rows that the whole batch has in a step (one public draw of
negatives). The norm has a closed form, ‖left‖ ‖right‖: nobody's rows need to be written out
to know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.contributions import SparseRows, whole_users

__all__ = ["RankOne", "places_in"]

_LARGEST_LOOKUP = 1 << 22


def _nobodys() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _nothing() -> Floats:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class RankOne:
    """Outer products: user `b` contributes `left[e] * right[b]` on row `rows[e]`.

    A row that is both a user's own and shared is one row of that user: the two left values add
    up. Nothing is checked here; what sums it checks it.

    Attributes:
        users: `[batch]`, strictly increasing.
        indptr: `[batch + 1]`.
        rows: `[entries]`, strictly increasing within a user.
        left: `[entries]`.
        right: `[batch, width]`.
        shared_rows: `[shared]`, strictly increasing, the same for every user.
        shared_left: `[batch, shared]`; of no shared rows whatever.
    """

    users: Ints
    indptr: Ints
    rows: Ints
    left: Floats
    right: Floats
    shared_rows: Ints = field(default_factory=_nobodys)
    shared_left: Floats = field(default_factory=_nothing)

    def take(self, users: slice) -> RankOne:
        """The users of these places in the batch; views, no copies."""
        indptr = self.indptr[users.start : users.stop + 1]
        own = slice(indptr[0], indptr[-1])
        return RankOne(
            self.users[users],
            indptr - indptr[0],
            self.rows[own],
            self.left[own],
            self.right[users],
            self.shared_rows,
            self.shared_left[users],
        )

    def owners(self) -> Ints:
        """Place in the batch of the user of each entry, `[entries]`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """The outer products written out, whole users at a time."""
        entries = max(1, max_values // self.right.shape[1])
        lengths = np.arange(len(self.indptr)) * len(self.shared_rows)
        for start, stop in whole_users(self.indptr + lengths, entries):
            yield _written_out(self.take(slice(start, stop)))

    def add_to(self, total: Floats) -> None:
        """Add the outer products to `total`, as one sparse-dense product."""
        from scipy.sparse import csr_array  # heavy; only where nobody asks for privacy

        shape = (total.shape[0], len(self.users))
        spread = csr_array((self.left, (self.rows, self.owners())), shape=shape)
        total += np.asarray(spread @ self.right)
        if len(self.shared_rows):
            total[self.shared_rows] += self.shared_left.T @ self.right


def places_in(shared_rows: Ints, rows: Ints) -> Ints:
    """Where each of `rows` stands in `shared_rows` (increasing), -1 for nowhere, `[rows]`."""
    if len(shared_rows) == 0 or len(rows) == 0:
        return np.full(len(rows), -1, dtype=np.int64)
    largest = int(max(shared_rows[-1], rows.max()))
    if largest < _LARGEST_LOOKUP:
        table = np.full(largest + 1, -1, dtype=np.int64)
        table[shared_rows] = np.arange(len(shared_rows))
        return np.asarray(table[rows])
    at = np.minimum(np.searchsorted(shared_rows, rows), len(shared_rows) - 1)
    return np.where(shared_rows[at] == rows, at, -1)


def _written_out(part: RankOne) -> SparseRows:
    indptr, rows, left = _one_row_each(part)
    right = np.repeat(part.right, np.diff(indptr), axis=0)
    with np.errstate(all="ignore"):  # what is not finite is for a mechanism to see
        return SparseRows(part.users, indptr, rows, left[:, None] * right)


def _one_row_each(part: RankOne) -> tuple[Ints, Ints, Floats]:
    """Own and shared rows of each user in order, no row twice."""
    if len(part.shared_rows) == 0:
        return part.indptr, part.rows, part.left
    batch = len(part.users)
    user = np.concatenate([part.owners(), np.repeat(np.arange(batch), len(part.shared_rows))])
    rows = np.concatenate([part.rows, np.tile(part.shared_rows, batch)])
    left = np.concatenate([part.left, part.shared_left.ravel()])
    order = np.lexsort((rows, user))  # stable: a user's own one stands before the shared one
    user, rows, left = user[order], rows[order], left[order]
    again: NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
    again[1:] = (user[1:] == user[:-1]) & (rows[1:] == rows[:-1])
    at = np.flatnonzero(again)
    left[at - 1] += left[at]
    lengths = np.bincount(user[~again], minlength=batch)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return indptr, rows[~again], left[~again]

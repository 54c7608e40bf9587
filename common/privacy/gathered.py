"""What users of a gradient solver contribute: gathered rows, never `[batch, items, width]`.

A user has gradients on rows of their own, on rows that everybody has in a step (one public
draw of negatives), and on dense parameters, which are further rows of the same matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.contributions import SparseRows

__all__ = ["PADDING", "GatheredRows", "Values", "dense_rows"]

PADDING = -1
"""Row number of an entry of `own_rows` that is none; its values are ignored."""

Values: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


def dense_rows(first: int, parameters: int, width: int) -> range:
    """Rows that hold `parameters` values, row by row, from row `first` on."""
    return range(first, first + -(-parameters // width))


@dataclass(frozen=True)
class GatheredRows:
    """Gradients on own rows, on rows that the whole batch has, and on dense parameters.

    A row that is both a user's own and shared is one row of that user: the two values add up.
    Nothing is checked here; what sums it checks it.

    Attributes:
        users: `[batch]`, strictly increasing.
        own_rows: `[batch, own]`, any order, distinct within a user; `PADDING` where a user
            has fewer than `own`.
        own_values: `[batch, own, width]`, float32 or float64.
        shared_rows: `[shared]`, strictly increasing, the same for every user.
        shared_values: `[batch, shared, width]`, float32 or float64.
        dense_rows: `ceil(parameters / width)` rows (`dense_rows()`), behind all others.
        dense_values: `[batch, parameters]`, float32 or float64: row by row, the rest of the
            last row is zero.
    """

    users: Ints
    own_rows: Ints
    own_values: Values
    shared_rows: Ints
    shared_values: Values
    dense_rows: range
    dense_values: Values

    @property
    def width(self) -> int:
        """Columns of each row."""
        width: int = self.own_values.shape[2]
        return width

    @property
    def values_per_user(self) -> int:
        """Values that a user may have, padding included."""
        gathered: int = self.own_rows.shape[1] + len(self.shared_rows)
        parameters: int = self.dense_values.shape[1]
        return gathered * self.width + parameters

    def take(self, users: slice) -> GatheredRows:
        """The users of these places in the batch; views, no copies."""
        return GatheredRows(
            self.users[users],
            self.own_rows[users],
            self.own_values[users],
            self.shared_rows,
            self.shared_values[users],
            self.dense_rows,
            self.dense_values[users],
        )

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """Written out in float64, whole users at a time."""
        at_once = max(1, max_values // max(1, self.values_per_user))
        for start in range(0, len(self.users), at_once):
            yield _written_out(self.take(slice(start, start + at_once)))

    def add_to(self, total: Floats) -> None:
        """Add everything to `total` `[rows, width]`, in float64."""
        for rows, values in zip(self.own_rows, self.own_values, strict=True):
            own = rows != PADDING
            total[rows[own]] += values[own]
        total[self.shared_rows] += self.shared_values.sum(axis=0, dtype=np.float64)
        dense = self.dense_values.sum(axis=0, dtype=np.float64)
        total[self.dense_rows.start : self.dense_rows.stop] += _as_rows(dense[None], self.width)[0]


def _written_out(part: GatheredRows) -> SparseRows:
    """All users at once: own and shared rows merged in order, then the dense ones."""
    batch = len(part.users)
    user, place = np.nonzero(part.own_rows != PADDING)
    everybody = np.repeat(np.arange(batch), len(part.shared_rows))
    own = part.own_values[user, place].astype(np.float64)
    shared = part.shared_values.reshape(-1, part.width).astype(np.float64)
    gathered = np.concatenate([user, everybody])
    rows = np.concatenate([part.own_rows[user, place], np.tile(part.shared_rows, batch)])
    values = np.concatenate([own, shared])
    is_shared = np.arange(len(rows)) >= len(user)
    order = np.lexsort((is_shared, rows, gathered))
    return _with_dense(
        part, *_merged(gathered[order], rows[order], is_shared[order], values[order])
    )


def _with_dense(part: GatheredRows, user: Ints, rows: Ints, values: Floats) -> SparseRows:
    """Each user's dense rows behind their gathered ones."""
    batch, dense = len(part.users), np.asarray(part.dense_rows, dtype=np.int64)
    everybody = np.repeat(np.arange(batch), len(dense))
    order = np.argsort(np.concatenate([user, everybody]), kind="stable")
    written = _as_rows(part.dense_values.astype(np.float64), part.width)
    lengths = np.bincount(user, minlength=batch) + len(dense)
    return SparseRows(
        part.users,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([rows, np.tile(dense, batch)])[order],
        np.concatenate([values, written.reshape(-1, part.width)])[order],
    )


def _as_rows(dense: Floats, width: int) -> Floats:
    """`[batch, parameters]` as `[batch, rows, width]`, the last row filled up with zeros."""
    batch, parameters = dense.shape
    rows = -(-parameters // width)
    out = np.zeros((batch, rows * width))
    out[:, :parameters] = dense
    return out.reshape(batch, rows, width)


def _merged(
    user: Ints, rows: Ints, is_shared: NDArray[np.bool_], values: Floats
) -> tuple[Ints, Ints, Floats]:
    """Sorted entries; a shared one that follows an own one of the same user and row joins it."""
    joins = np.zeros(len(rows), dtype=np.bool_)
    same = (user[1:] == user[:-1]) & (rows[1:] == rows[:-1])
    joins[1:] = same & is_shared[1:] & ~is_shared[:-1]
    at = np.flatnonzero(joins)
    values[at - 1] += values[at]
    return user[~joins], rows[~joins], values[~joins]

"""The sum of gathered rows, without writing them out: a fast path, equal to the last integer.

The slow path is `GatheredRows.expand`, `grid.quantise` and `scatter.add_rows`; tests hold the
two together. Users are worked through a few at a time, in float64 scratch memory that fits the
cache, and on the cores that there are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.gathered import PADDING, GatheredRows, Values
from common.privacy.grid import MARGIN, factors_of
from common.privacy.samplers.parallel import cores

__all__ = ["add_gathered", "has_twofold_rows"]

_SCRATCH_VALUES = 1 << 16
_WORTH_A_THREAD = 1 << 18


def has_twofold_rows(batch: GatheredRows) -> NDArray[np.bool_]:
    """Users with two values for a row, one own and one shared, `[batch]`: they go the slow way.

    A shared value of zero is none: a solver puts it where a shared item is the user's own.
    """
    twofold = _own_too(batch)
    user, place = np.nonzero(twofold)
    found = np.zeros(len(batch.users), dtype=np.bool_)
    found[user[np.any(batch.shared_values[user, place] != 0, axis=1)]] = True
    return found


def _own_too(batch: GatheredRows) -> NDArray[np.bool_]:
    """Which shared rows are a user's own too, `[batch, shared]`."""
    shared = batch.shared_rows
    found = np.zeros((len(batch.users), len(shared)), dtype=np.bool_)
    if found.size == 0:
        return found
    at = np.minimum(np.searchsorted(shared, batch.own_rows), len(shared) - 1)
    user, place = np.nonzero(shared[at] == batch.own_rows)
    found[user, at[user, place]] = True
    return found


def add_gathered(total: Ints, batch: GatheredRows, clip_norm: float, clip_grid: int) -> None:
    """Clip each user, truncate to the grid and add up in integers.

    Guarantee:
        What one user adds depends on that user alone and has norm at most `clip_grid`, as in
        `grid.quantise`, whatever the values are, and is equal to what that gives: the same
        float64 operations in the same order. The norm after truncation is held in float64
        first: a computed sum of n squares of integers is at least (1 - n u) times the true
        one, u = 2^-53, so that a sum below clip_grid² by a factor 1 + (n + 2) 2^-52 proves the
        norm. Where it does not, integers decide.

    Args:
        total: `[rows, width]`, in units of the grid.
        batch: checked (`contribution_checks.check_gathered`), nobody with twofold rows.
        clip_norm: largest L2 norm in natural units.
        clip_grid: the same norm in units of the grid.
    """
    rows = batch.own_rows.shape[1] + len(batch.shared_rows) + len(batch.dense_rows)
    users, values = len(batch.users), rows * batch.width
    if users == 0 or values == 0:
        return
    at_once = max(1, _SCRATCH_VALUES // values)
    starts = range(0, users, at_once)
    threads = min(cores(), len(starts), max(1, users * values // _WORTH_A_THREAD))
    lock, (order, lengths) = Lock(), _order(batch)

    def work(first: int) -> None:
        worker = _Worker(total, lock, clip_norm, clip_grid, batch, min(at_once, users))
        for start in starts[first::threads]:
            some = slice(start, start + at_once)
            worker.add(batch.take(some), order[some], lengths[some])
        worker.finish(batch)

    if threads == 1:
        work(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


class _Worker:
    """Scratch memory for a few users, and the sum of what all users have rows for."""

    def __init__(
        self,
        total: Ints,
        lock: Lock,
        clip_norm: float,
        clip_grid: int,
        batch: GatheredRows,
        users: int,
    ) -> None:
        self._total, self._lock = total, lock
        self._clip_norm, self._clip_grid = clip_norm, clip_grid
        own, shared, dense = batch.own_rows.shape[1], len(batch.shared_rows), len(batch.dense_rows)
        # the last dense row stays filled up with zeros, whatever is written and multiplied
        self._scratch = np.zeros((users, own + shared + dense, batch.width))
        self._units = np.empty(self._scratch.shape, dtype=np.int64)
        self._sum = np.zeros((shared + dense, batch.width), dtype=np.int64)

    def add(self, part: GatheredRows, order: Ints, lengths: Ints) -> None:
        """Clip and truncate at most as many users as there is scratch for, and add them."""
        scratch, own = self._scratch[: len(part.users)], part.own_rows.shape[1]
        is_own = part.own_rows != PADDING
        own_values = part.own_values
        if not np.all(is_own):
            own_values = np.where(is_own[:, :, None], own_values, own_values.dtype.type(0))
        peaks = _peaks(own_values, part.shared_values, part.dense_values)
        usable = np.isfinite(peaks) & (peaks > 0)
        _relative(scratch, part, own_values, np.where(usable, peaks, 1.0))
        scratch[~usable] = 0.0
        squares = _squares(scratch)
        factors = factors_of(*_in_order(squares, order, lengths), peaks, self._clip_norm)
        scratch *= factors[:, None, None]
        scratch *= self._clip_grid * MARGIN
        np.trunc(scratch, out=scratch)
        units = self._units[: len(part.users)]
        np.copyto(units, scratch, casting="unsafe")
        units[_too_long(scratch, units, self._clip_grid)] = 0
        for user in units:
            self._sum += user[own:]
        with self._lock:
            for rows, keep, user in zip(part.own_rows, is_own, units, strict=True):
                self._total[rows[keep]] += user[:own][keep]

    def finish(self, batch: GatheredRows) -> None:
        """Add the rows that everybody has to the total."""
        shared, dense = len(batch.shared_rows), batch.dense_rows
        with self._lock:
            self._total[batch.shared_rows] += self._sum[:shared]
            self._total[dense.start : dense.stop] += self._sum[shared:]


def _peaks(*parts: Values) -> Floats:
    """Largest absolute value of each user, `[batch]`; nan or inf if there is one."""
    peaks = np.zeros(len(parts[0]))
    for part in parts:
        flat = part.reshape(len(part), -1)
        if flat.shape[1]:
            peaks = np.maximum(peaks, np.maximum(flat.max(axis=1), -flat.min(axis=1)))
    return peaks


def _relative(scratch: Floats, part: GatheredRows, own_values: Values, peaks: Floats) -> None:
    """Fill `scratch` `[batch, own + shared + dense, width]` with values over `peaks`."""
    own, shared = part.own_rows.shape[1], len(part.shared_rows)
    np.divide(own_values, peaks[:, None, None], out=scratch[:, :own])
    np.divide(part.shared_values, peaks[:, None, None], out=scratch[:, own : own + shared])
    parameters = part.dense_values.shape[1]
    dense = scratch.reshape(len(scratch), -1)[:, (own + shared) * part.width :]
    np.divide(part.dense_values, peaks[:, None], out=dense[:, :parameters])


def _squares(scratch: Floats) -> Floats:
    """Squared norm of each row, `[batch, rows]`."""
    users, rows, width = scratch.shape
    flat = scratch.reshape(users * rows, width)
    squares: Floats = np.einsum("ij,ij->i", flat, flat)
    return squares.reshape(users, rows)


def _order(batch: GatheredRows) -> tuple[Ints, Ints]:
    """Places of each user's own and shared rows in increasing order, and how many there are.

    Behind them come padding, and shared rows that are the user's own too: written out, these are
    one row, and a zero among the terms of a sum would round it otherwise.
    """
    users, own = batch.own_rows.shape
    rows = np.empty((users, own + len(batch.shared_rows)), dtype=np.int64)
    rows[:, :own] = batch.own_rows
    rows[:, :own][batch.own_rows == PADDING] = np.iinfo(np.int64).max
    rows[:, own:] = batch.shared_rows
    rows[:, own:][_own_too(batch)] = np.iinfo(np.int64).max
    return np.argsort(rows, axis=1), np.sum(rows != np.iinfo(np.int64).max, axis=1)


def _in_order(squares: Floats, order: Ints, lengths: Ints) -> tuple[Floats, Ints]:
    """Each user's squares in the order of rows, without padding, and where each user begins."""
    gathered = order.shape[1]
    squares[:, :gathered] = np.take_along_axis(squares[:, :gathered], order, axis=1)
    dense = squares.shape[1] - gathered
    indptr = np.concatenate([[0], np.cumsum(lengths + dense)]).astype(np.int64)
    if np.all(lengths == gathered):
        return squares.reshape(-1), indptr
    column = np.arange(squares.shape[1])
    there = (column < lengths[:, None]) | (column >= gathered)
    return squares[there], indptr


def _too_long(scratch: Floats, units: Ints, clip_grid: int) -> NDArray[np.bool_]:
    """Users whose integers are longer than `clip_grid`; almost always floats can tell."""
    largest = float(clip_grid**2) / (1.0 + (scratch[0].size + 2) * 2.0**-52)
    long: NDArray[np.bool_] = ~(_squares(scratch).sum(axis=1) <= largest)
    for user in np.flatnonzero(long):
        long[user] = np.vdot(units[user], units[user]) > clip_grid**2
    return long

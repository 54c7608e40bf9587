"""The sum of outer products, without norms of what is written out: they have a closed form.

The slow path is `RankOne.expand`, `grid.quantise` and `scatter.add_rows`. It multiplies and
divides in another order, so that a value that is all but an integer may fall on either side:
tests hold the two together to one unit of the grid in each value of each user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.contributions import whole_users
from common.privacy.grid import MARGIN, factors_of, per_row, per_user
from common.privacy.rank_one import RankOne, places_in
from common.privacy.scatter import add_rows

__all__ = ["add_rank_one"]

_BLOCK_ENTRIES = 1 << 18
_BLOCK_VALUES = 1 << 17
_SCRATCH_VALUES = 1 << 14


@dataclass(frozen=True)
class _Scaled:
    """A batch in units of the grid: user `b`'s integers are trunc(left ⊗ right[b]).

    Attributes:
        own: `[entries]`, left values.
        shared: `[batch, shared]`, left values; zero where the row is the user's own.
        right: `[batch, width]`.
    """

    own: Floats
    shared: Floats
    right: Floats


def add_rank_one(total: Ints, batch: RankOne, clip_norm: float, clip_grid: int) -> None:
    """Clip each user, truncate to the grid and add up in integers.

    Guarantee:
        Whatever the values are, huge, tiny, nan or inf: what one user adds depends on that
        user alone, to the last integer, and has norm at most `clip_grid`. The norm is held
        after scaling, in float64: no integer is larger than its float, so the squared norm is
        at most ‖left‖² ‖right‖² (1 + 2^-52), and a computed sum of n squares is at least
        (1 - n u) times the true one, u = 2^-53. A computed product below clip_grid² by a
        factor 1 + (n + width + 8) 2^-52 proves the norm; where it does not, integers decide.

    Args:
        total: `[rows, width]`, in units of the grid.
        batch: checked (`contribution_checks.check_rank_one`).
        clip_norm: largest L2 norm in natural units.
        clip_grid: the same norm in units of the grid, at most 2^30.
    """
    values_of = batch.indptr + np.arange(len(batch.indptr)) * len(batch.shared_rows)
    for start, stop in whole_users(values_of, _BLOCK_ENTRIES):
        _add(total, batch.take(slice(start, stop)), clip_norm, clip_grid)


def _add(total: Ints, batch: RankOne, clip_norm: float, clip_grid: int) -> None:
    with np.errstate(all="ignore"):
        scaled = _scaled(batch, clip_norm, clip_grid)
    _drop_too_long(scaled, batch.indptr, clip_grid)
    owners, width = batch.owners(), batch.right.shape[1]
    for part in _slices(len(batch.rows), _BLOCK_VALUES // width):
        values = scaled.right.take(owners[part], axis=0)
        values *= scaled.own[part, None]
        add_rows(total, batch.rows[part], values.astype(np.int64))
    for part in _slices(len(batch.shared_rows), _SCRATCH_VALUES // width):
        total[batch.shared_rows[part]] += _summed(scaled.shared[:, part], scaled.right)


def _scaled(batch: RankOne, clip_norm: float, clip_grid: int) -> _Scaled:
    """To the grid; relative to the largest value before, so that no square overflows."""
    own, shared = _apart(batch)
    owners, right = batch.owners(), batch.right.astype(np.float64)
    left_peaks = np.maximum(
        per_user(np.abs(own), batch.indptr, np.maximum), per_row(np.abs(shared), np.maximum)
    )
    right_peaks = per_row(np.abs(right), np.maximum)
    peaks = left_peaks * right_peaks  # of the outer product
    usable = np.isfinite(peaks) & (peaks > 0)
    own /= left_peaks[owners]
    shared /= left_peaks[:, None]
    right /= right_peaks[:, None]
    own[~usable[owners]], shared[~usable], right[~usable] = 0.0, 0.0, 0.0
    squares = _squares(own, shared, batch.indptr) * per_row(np.square(right), np.add)
    each = np.arange(len(peaks) + 1)
    factors = factors_of(squares, each, np.where(usable, peaks, 0.0), clip_norm)
    factors *= clip_grid * MARGIN
    own *= factors[owners]
    shared *= factors[:, None]
    return _Scaled(own, shared, right)


def _apart(batch: RankOne) -> tuple[Floats, Floats]:
    """Copies of own and shared left values; a shared row that is a user's own joins that."""
    own = batch.left.astype(np.float64)
    shape = len(batch.users), len(batch.shared_rows)
    shared = batch.shared_left.astype(np.float64) if shape[1] else np.zeros(shape)
    place = places_in(batch.shared_rows, batch.rows)
    entries = np.flatnonzero(place >= 0)
    user, place = batch.owners()[entries], place[entries]
    own[entries] += shared[user, place]
    shared[user, place] = 0.0
    return own, shared


def _drop_too_long(scaled: _Scaled, indptr: Ints, clip_grid: int) -> None:
    """Nothing is left of users whose integers are longer than `clip_grid`."""
    width, owners = scaled.right.shape[1], np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    terms = np.diff(indptr) + scaled.shared.shape[1] + width
    squares = _squares(scaled.own, scaled.shared, indptr)
    squares *= per_row(np.square(scaled.right), np.add)
    long: NDArray[np.bool_] = ~(squares * (1.0 + (terms + 8) * 2.0**-52) <= float(clip_grid**2))
    for user in np.flatnonzero(long):
        left = (scaled.own[indptr[user] : indptr[user + 1]], scaled.shared[user])
        found = sum(_exact_square(values, scaled.right[user]) for values in left)
        long[user] = found > clip_grid**2
    scaled.own[long[owners]], scaled.shared[long] = 0.0, 0.0


def _exact_square(left: Floats, right: Floats) -> int:
    """Squared norm of the integers of an outer product."""
    found = 0
    for part in _slices(len(left), _BLOCK_VALUES // len(right)):
        units = np.multiply.outer(left[part], right).astype(np.int64)
        found += int(np.vdot(units, units))
    return found


def _summed(left: Floats, right: Floats) -> Ints:
    """Integers on rows that everybody has, `[rows, width]`, added up over users."""
    found = np.zeros((left.shape[1], right.shape[1]), dtype=np.int64)
    values, units = np.empty(found.shape), np.empty_like(found)
    for one_left, one_right in zip(left, right, strict=True):
        np.multiply(one_left[:, None], one_right, out=values)
        np.copyto(units, values, casting="unsafe")
        found += units
    return found


def _squares(own: Floats, shared: Floats, indptr: Ints) -> Floats:
    """Squared norm of each user's left values, `[batch]`."""
    return per_user(np.square(own), indptr, np.add) + per_row(np.square(shared), np.add)


def _slices(length: int, at_once: int) -> Iterator[slice]:
    step = max(1, at_once)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))

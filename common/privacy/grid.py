"""From a user's contribution to integers whose norm is at most the clip norm, exactly."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.contributions import SparseRows

__all__ = [
    "LARGEST_CLIP_GRID",
    "LARGEST_POPULATION",
    "MARGIN",
    "factors_of",
    "per_row",
    "per_user",
    "quantise",
    "squared_norms",
]

LARGEST_CLIP_GRID = 2**30
LARGEST_POPULATION = 2**31
"""Users in one sum; with clips of at most 2^30 units no entry can pass 2^61."""

_T = TypeVar("_T", np.float64, np.int64)
MARGIN = 1.0 - 2.0**-30
"""float64 norms are right to far better than this; the integer check holds what is left."""


def quantise(block: SparseRows, clip_norm: float, clip_grid: int) -> Ints:
    """Clip each user's contribution and truncate it to the grid.

    Guarantee:
        Whatever the values are, huge, tiny, nan or inf: the integer vector of each user
        depends on that user alone and has norm at most `clip_grid` (checked in integers),
        so that rounding is inside the sensitivity.

    Args:
        block: contributions written out, values `[entries, width]`.
        clip_norm: largest L2 norm in natural units.
        clip_grid: the same norm in units of the grid, at most 2^30.

    Returns:
        `[entries, width]`; a user with a value that is not finite is all zero.
    """
    lengths = np.diff(block.indptr)
    peaks = _peaks(block)
    usable = np.isfinite(peaks) & (peaks > 0)
    # relative to the user's largest entry no square overflows or vanishes
    scaled = block.values / np.repeat(np.where(usable, peaks, 1.0), lengths)[:, None]
    scaled[np.repeat(~usable, lengths)] = 0.0
    squares: Floats = np.einsum("ij,ij->i", scaled, scaled)
    scaled *= np.repeat(factors_of(squares, block.indptr, peaks, clip_norm), lengths)[:, None]
    scaled *= clip_grid * MARGIN
    units: Ints = np.trunc(scaled, out=scaled).astype(np.int64)
    too_long = squared_norms(units, block.indptr) > clip_grid**2
    units[np.repeat(too_long, lengths)] = 0
    return units


def squared_norms(units: Ints, indptr: Ints) -> Ints:
    """Squared norm of each user's integers, `[batch]`; entries at most about 2^30."""
    squares: Ints = np.einsum("ij,ij->i", units, units)
    return per_user(squares, indptr, np.add)


def factors_of(squares: Floats, indptr: Ints, peaks: Floats, clip_norm: float) -> Floats:
    """What multiplies values whose largest is 1, to bring the norm to at most 1 clip.

    Args:
        squares: `[entries]`, squared norm of each row, relative to its user's largest value.
        indptr: `[batch + 1]`, user `b` owns rows `indptr[b]:indptr[b + 1]`, in order.
        peaks: `[batch]`, the largest absolute value of each user.
        clip_norm: largest L2 norm in natural units.

    Returns:
        `[batch]`; 0 for a user whose rows are all zero.
    """
    norms = np.sqrt(per_user(squares, indptr, np.add))
    with np.errstate(invalid="ignore", over="ignore"):
        size = peaks / clip_norm
        factors: Floats = np.where(size * norms > 1.0, 1.0 / np.maximum(norms, 1.0), size)
    return np.where(norms > 0, factors, 0.0)


def _peaks(block: SparseRows) -> Floats:
    """Largest absolute value of each user; nan or inf if there is one."""
    flat = np.abs(block.values).ravel()
    return per_user(flat, block.indptr * block.values.shape[1], np.maximum)


def per_row(values: Floats, how: np.ufunc) -> Floats:
    """Reduce each row, in an order that does not depend on how many there are, `[rows]`."""
    rows, width = values.shape
    return per_user(values.reshape(-1), np.arange(rows + 1) * width, how)


def per_user(per_entry: NDArray[_T], indptr: Ints, how: np.ufunc) -> NDArray[_T]:
    """Reduce entries to users; users without entries get 0 (`reduceat` would not)."""
    out = np.zeros(len(indptr) - 1, dtype=per_entry.dtype)
    filled = np.flatnonzero(np.diff(indptr) > 0)
    if len(filled):
        out[filled] = how.reduceat(per_entry, indptr[filled])
    return out

"""The best items of a list of scores, exactly, and in the same order every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints

__all__ = ["Mask", "cosines", "top_items"]

Mask = NDArray[np.bool_]
"""`[items]`, True where an item may be in an answer."""


def top_items(scores: Floats, k: int, allowed: Mask | None = None) -> Ints:
    """Positions of the `k` largest scores, the largest first; equal ones by position.

    Linear in the number of items: a selection, and a sort of what was selected.

    Args:
        scores: `[items]`; what is not finite is never among the best.
        k: at least 1.
        allowed: items that may be chosen; None allows all.

    Returns:
        At most `k` positions: fewer where fewer items are allowed.
    """
    usable = np.isfinite(scores)
    if allowed is not None:
        usable &= allowed
    pool = np.flatnonzero(usable)
    values = scores[pool]
    if len(pool) > k:
        least = np.partition(values, len(pool) - k)[len(pool) - k]
        above = np.flatnonzero(values > least)
        level = np.flatnonzero(values == least)[: k - len(above)]
        chosen = np.concatenate([above, level])
        pool, values = pool[chosen], values[chosen]
    order = np.lexsort((pool, -values))
    return np.asarray(pool[order], dtype=np.int64)


def cosines(directions: NDArray[np.float32], item: int) -> Floats:
    """Cosine of one item's vector with all, `[items]`; nan where a vector is zero.

    Args:
        directions: `[items, dim]`, of length 1 or zero.
        item: position.
    """
    own = directions[item]
    values: Floats = (directions @ own).astype(np.float64)
    np.clip(values, -1.0, 1.0, out=values)
    values[~directions.any(axis=1)] = np.nan
    if not own.any():
        values[:] = np.nan
    return values

"""Negatives for training, drawn from everything that is not in training.

The held-out item has to be in the pool: a pool without it makes "was never my negative"
a sign of the held-out item, and evaluation then measures the sampler.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from common.arrays import Histories, Ints

__all__ = ["complement_sizes", "sample_negatives"]

_BLOCK_VALUES: Final = 4_000_000
_MAX_ROUNDS: Final = 1_000


def complement_sizes(histories: Histories) -> Ints:
    """Items that each user has no event on, `[users]`."""
    sizes: Ints = histories.n_items - histories.lengths
    return sizes


def sample_negatives(histories: Histories, n: int, rng: np.random.Generator) -> Ints:
    """Draw `n` distinct items for each user, uniformly from the items without an event.

    The pool knows training events and nothing else, so held-out items are in it.

    Args:
        histories: training events.
        n: negatives for each user, at least 1.
        rng: public randomness; not for privacy noise.

    Returns:
        `[users, n]`, distinct within a row, in no particular order; -1 at the end of the
        row of a user with fewer than `n` items left.
    """
    pools = complement_sizes(histories)
    picks = np.full((histories.n_users, n), -1, dtype=np.int64)
    block = max(1, _BLOCK_VALUES // max(n, histories.n_items))
    for start in range(0, histories.n_users, block):
        users = np.arange(start, min(start + block, histories.n_users))
        crowded = 2 * n > pools[users]
        sparse, dense = users[~crowded], users[crowded]
        if sparse.size:
            picks[sparse] = _by_redrawing(pools[sparse], n, rng)
        if dense.size:
            picks[dense] = _by_sorting(pools[dense], n, histories.n_items, rng)
    return _complement_items(histories, picks)


def _by_redrawing(pools: Ints, n: int, rng: np.random.Generator) -> Ints:
    """Distinct numbers below `pools`, `[users, n]`: draw, draw repeats again.

    By symmetry every set of `n` is equally likely. At most half of a pool is asked for, so
    each number needs two draws on average at worst.
    """
    picks = np.sort(rng.integers(0, pools[:, None], size=(len(pools), n)), axis=1)
    rows = np.arange(len(pools))
    for _ in range(_MAX_ROUNDS):
        repeated = np.zeros((len(rows), n), dtype=bool)
        repeated[:, 1:] = picks[rows, 1:] == picks[rows, :-1]
        unfinished = repeated.any(axis=1)
        rows, repeated = rows[unfinished], repeated[unfinished]
        if not rows.size:
            break
        redrawn = picks[rows]
        redrawn[repeated] = rng.integers(
            0, np.broadcast_to(pools[rows, None], redrawn.shape)[repeated]
        )
        picks[rows] = np.sort(redrawn, axis=1)
    return picks


def _by_sorting(pools: Ints, n: int, n_items: int, rng: np.random.Generator) -> Ints:
    """Take the first `n` of a random order of each pool, -1 behind its end, `[users, n]`."""
    keys = rng.random((len(pools), n_items))
    keys[np.arange(n_items) >= pools[:, None]] = np.inf
    order = np.argsort(keys, axis=1)[:, :n]
    picks = np.full((len(pools), n), -1, dtype=np.int64)
    picks[:, : order.shape[1]] = np.where(np.arange(order.shape[1]) < pools[:, None], order, -1)
    return picks


def _complement_items(histories: Histories, picks: Ints) -> Ints:
    """Look up the item at each place of its user's list of items without an event.

    With events t_0 < t_1 < …, place j holds item j + #{i : t_i - i <= j}.
    """
    place = np.arange(len(histories.items)) - np.repeat(histories.indptr[:-1], histories.lengths)
    span = histories.n_items + 1
    keys = histories.user_of_event * span + (histories.items - place)
    users = np.arange(histories.n_users, dtype=np.int64)[:, None]
    passed = np.searchsorted(keys, users * span + picks, side="right")
    items: Ints = np.where(picks < 0, -1, picks + passed - histories.indptr[:-1, None])
    return items

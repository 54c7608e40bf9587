"""Ranks of held-out items and lists of recommendations, in batches of users.

Ties count against the target: an item that is not scored lower stands before it. A score
that is not a number stands before every target as a rival, and last as the target.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Histories, Ints

__all__ = ["candidate_ranks", "rank_of", "top_items"]

_BLOCK_VALUES: Final = 8_000_000
_FEW_TARGETS: Final = 4


def rank_of(scores: NDArray[Any], relevant: Histories, excluded: Histories) -> Ints:
    """Rank each relevant item among all items that are not excluded; 1 is best.

    Relevant items of one user get different ranks: an irrelevant item with an equal score
    stands before them, and among themselves the lower position stands first.

    Args:
        scores: `[batch, items]`.
        relevant: held-out items of the batch; none of them excluded.
        excluded: items not to be ranked (training) of the batch.

    Returns:
        `[relevant events]`, in the order of `relevant.items`.
    """
    users = relevant.user_of_event
    many = len(users) > _FEW_TARGETS * len(scores)
    count = _above_by_sorting if many else _above_by_comparing
    above = count(scores, relevant, excluded)
    return above + _order_within(users, scores[users, relevant.items])


def candidate_ranks(scores: NDArray[Any], targets: Ints, negatives: Ints) -> Ints:
    """Rank each target among its negatives; 1 is best.

    The published negatives of MovieLens-1M hold the user's own target 156 times. Papers
    collect scores in a dictionary by item, where repeats collapse: so a repeat counts once
    here, and the target is no rival of itself although its score ties with its own.

    Args:
        scores: `[batch, items]`.
        targets: `[batch]`.
        negatives: `[batch, n]`, -1 for none.

    Returns:
        `[batch]`.
    """
    rivals = np.sort(negatives, axis=1)
    counted = (rivals >= 0) & (rivals != targets[:, None])
    counted[:, 1:] &= rivals[:, 1:] != rivals[:, :-1]
    rows = np.arange(len(targets))
    own = scores[rows, targets]
    not_lower = ~(scores[rows[:, None], np.maximum(rivals, 0)] < own[:, None])
    ranks: Ints = 1 + (counted & not_lower).sum(axis=1)
    return ranks


def top_items(scores: NDArray[Any], excluded: Histories, top_k: int) -> Ints:
    """List the best `top_k` items that are not excluded, best first, `[batch, top_k]`.

    Equal scores go by position in the catalogue. -1 fills the row of a user with fewer
    items left; items scored -inf or NaN are never listed.
    """
    masked = np.where(np.isnan(scores), -np.inf, scores)
    masked[excluded.user_of_event, excluded.items] = -np.inf
    n_items = masked.shape[1]
    width = min(top_k, n_items)
    bar = np.partition(masked, n_items - width, axis=1)[:, n_items - width, None]
    better, level = masked > bar, masked == bar
    room = width - better.sum(axis=1, keepdims=True)
    chosen = better | (level & (np.cumsum(level, axis=1) <= room))
    items = np.nonzero(chosen)[1].reshape(len(masked), width)
    values = np.take_along_axis(masked, items, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    listed = np.where(values == -np.inf, -1, items)
    result = np.full((len(masked), top_k), -1, dtype=np.int64)
    result[:, :width] = np.take_along_axis(listed, order, axis=1)
    return result


def _above_by_comparing(scores: NDArray[Any], relevant: Histories, excluded: Histories) -> Ints:
    """Irrelevant items before each target: compare with all items, take back the others."""
    users = relevant.user_of_event
    targets = scores[users, relevant.items]
    above = np.empty(len(users), dtype=np.int64)
    block = max(1, _BLOCK_VALUES // max(1, scores.shape[1]))
    for start in range(0, len(users), block):
        part = slice(start, start + block)
        above[part] = (~(scores[users[part]] < targets[part, None])).sum(axis=1)
    above -= _not_lower(scores, excluded, users, targets)
    above -= _not_lower(scores, relevant, users, targets)
    return above


def _above_by_sorting(scores: NDArray[Any], relevant: Histories, excluded: Histories) -> Ints:
    """Irrelevant items before each target: sort each user's irrelevant items once."""
    above = np.empty(len(relevant.items), dtype=np.int64)
    for user, row in enumerate(scores):
        part = slice(relevant.indptr[user], relevant.indptr[user + 1])
        irrelevant = np.ones(len(row), dtype=bool)
        irrelevant[excluded.items[excluded.indptr[user] : excluded.indptr[user + 1]]] = False
        irrelevant[relevant.items[part]] = False
        rivals = np.sort(row[irrelevant])  # NaN last: before every target
        targets = row[relevant.items[part]]
        lower = np.searchsorted(rivals, targets, side="left")
        above[part] = len(rivals) - np.where(np.isnan(targets), 0, lower)
    return above


def _not_lower(scores: NDArray[Any], items: Histories, users: Ints, targets: NDArray[Any]) -> Ints:
    """For each target, how many of its user's `items` are not scored lower."""
    lengths = items.lengths[users]
    owner = np.repeat(np.arange(len(users)), lengths)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    own = items.items[np.repeat(items.indptr[users], lengths) + offset]
    not_lower = ~(scores[users[owner], own] < targets[owner])
    return np.bincount(owner[not_lower], minlength=len(users)).astype(np.int64)


def _order_within(users: Ints, targets: NDArray[Any]) -> Ints:
    """Place of each target among its user's targets, from 1; ties by position."""
    order = np.lexsort((np.arange(len(users)), -targets, np.isnan(targets), users))
    start = np.searchsorted(users, users, side="left")
    places = np.empty(len(users), dtype=np.int64)
    places[order] = np.arange(len(users)) - start[order] + 1
    return places

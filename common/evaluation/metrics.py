"""Metrics of one user, stated to the denominator.

R is the set of relevant (held-out) items, k the length of the list, rank from 1.
Everything here is a value per user; `totals` adds users up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints

__all__ = [
    "average_precision",
    "best_rank",
    "diversity",
    "hit_rate",
    "ndcg",
    "novelty",
    "rating_errors",
    "recall",
    "reciprocal_rank",
    "self_information",
]


def hit_rate(ranks: Ints, indptr: Ints, top_k: int) -> Floats:
    """HR@k: 1 if an item of R is in the list, else 0, `[users]`.

    Args:
        ranks: `[relevant events]`, different within a user.
        indptr: `[users + 1]`, user u owns `ranks[indptr[u]:indptr[u + 1]]`.
        top_k: k.
    """
    return (_per_user(ranks <= top_k, indptr) > 0).astype(np.float64)


def recall(ranks: Ints, indptr: Ints, top_k: int, *, capped: bool = False) -> Floats:
    """Recall@k: hits / |R|, or hits / min(k, |R|) if `capped`, `[users]`.

    Without R it is NaN, as all metrics of such a user are.
    """
    size = np.diff(indptr)
    return _ratio(_per_user(ranks <= top_k, indptr), np.minimum(size, top_k) if capped else size)


def ndcg(ranks: Ints, indptr: Ints, top_k: int) -> Floats:
    """NDCG@k: Σ_hits 1/log2(rank + 1) over the same sum for ranks 1 … min(k, |R|), `[users]`."""
    gains = np.where(ranks <= top_k, 1.0 / np.log2(ranks + 1.0), 0.0)
    best = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(top_k) + 2.0))])
    return _ratio(_per_user(gains, indptr), best[np.minimum(np.diff(indptr), top_k)])


def average_precision(ranks: Ints, indptr: Ints, top_k: int) -> Floats:
    """AP@k, whose mean is MAP@k: Σ_hits precision@rank / min(k, |R|), `[users]`."""
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((ranks, users))
    found = np.arange(len(ranks)) - indptr[users] + 1  # order keeps users in place
    precision = np.where(ranks[order] <= top_k, found / ranks[order], 0.0)
    return _ratio(_per_user(precision, indptr), np.minimum(np.diff(indptr), top_k))


def reciprocal_rank(ranks: Ints, indptr: Ints, top_k: int) -> Floats:
    """RR@k, whose mean is MRR@k: 1 / best rank if that is at most k, else 0, `[users]`."""
    best = best_rank(ranks, indptr)
    return np.where(np.isnan(best), np.nan, np.where(best <= top_k, 1.0 / best, 0.0))


def best_rank(ranks: Ints, indptr: Ints) -> Floats:
    """Rank of the best item of R, NaN without one, `[users]`."""
    best = np.full(len(indptr) - 1, np.inf)
    np.minimum.at(best, np.repeat(np.arange(len(best)), np.diff(indptr)), ranks)
    return np.where(np.isinf(best), np.nan, best)


def self_information(counts: NDArray[Any]) -> Floats:
    """-log2 of each item's share of popularity, in bits, `[items]`.

    The share is (count + 1) / (all counts + items): it adds up to 1, and an item that
    nobody has met is finite.

    Args:
        counts: `[items]`, users with a training event on the item.
    """
    counts = np.asarray(counts, dtype=np.float64)
    bits: Floats = np.log2(counts.sum() + len(counts)) - np.log2(counts + 1.0)
    return bits


def novelty(lists: Ints, information: Floats) -> Floats:
    """Novelty@k: mean of `self_information` over the items listed, `[users]`.

    Args:
        lists: `[users, k]`, -1 for none.
        information: `[items]`, bits.
    """
    listed = lists >= 0
    return _ratio(np.where(listed, information[lists], 0.0).sum(axis=1), listed.sum(axis=1))


def diversity(lists: Ints, item_vectors: NDArray[Any]) -> Floats:
    """Diversity: 1 - mean cosine over the pairs of different items listed, `[users]`.

    The cosine with a zero vector is 0. NaN where fewer than two items are listed.

    Args:
        lists: `[users, k]`, -1 for none.
        item_vectors: `[items, dim]`.
    """
    vectors = np.asarray(item_vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    listed = lists >= 0
    chosen = unit[lists] * listed[:, :, None]
    # Σ over ordered pairs = ‖Σ v‖² - Σ ‖v‖²
    cosines = (chosen.sum(axis=1) ** 2).sum(axis=1) - (chosen**2).sum(axis=(1, 2))
    n = listed.sum(axis=1)
    return 1.0 - _ratio(cosines, n * (n - 1))


def rating_errors(predicted: Floats, rated: Floats) -> tuple[Floats, Floats]:
    """Squared and absolute error of each rating; √ of the mean is RMSE, the mean is MAE."""
    error = predicted - rated
    return error**2, np.abs(error)


def _per_user(values: NDArray[Any], indptr: Ints) -> Floats:
    users = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    weights = np.asarray(values, dtype=np.float64)
    return np.bincount(users, weights, minlength=len(indptr) - 1).astype(np.float64)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """Above / below, NaN where that is 0 / 0."""
    result: Floats = np.full(len(above), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result

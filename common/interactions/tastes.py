"""One taste for each user, for partitions that are skewed by taste."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from common.arrays import Floats, Ints

__all__ = ["tastes_of_users"]

_CLUSTERS = 10
_DIM = 8
_SWEEPS = 4
_LLOYD_ROUNDS = 20
_SAME_POINT = 1e-9


def tastes_of_users(
    events: pd.DataFrame,
    user_ids: tuple[str, ...],
    categories: Mapping[str, str] | None,
    rng: np.random.Generator,
) -> Ints:
    """Taste of each user, `[users]`, small integers.

    With categories: the one that most of the user's weight is in, relative to its share of
    all weight (or every user would like what is popular). Without: clusters (k-means, 10) of
    the users' rows, projected on the 8 leading directions of the user-item matrix with rows
    of norm 1 (randomised subspace iteration).

    Args:
        events: an event table.
        user_ids: sorted users, all who occur.
        categories: category by item id; of several joined by `|` the first counts.
        rng: of the clusters' start.
    """
    users = pd.Index(user_ids, dtype="str").get_indexer(pd.Index(events["user_id"]))
    if categories is not None:
        first = {item: label.split("|", 1)[0] for item, label in categories.items()}
        labels = events["item_id"].map(first).fillna("")
        if (labels != labels.iloc[0]).any():
            return _by_category(users, labels, events["weight"].to_numpy(), len(user_ids))
    items, _ = pd.factorize(events["item_id"], sort=True)
    shape = (len(user_ids), int(items.max()) + 1)
    rows = sp.csr_matrix((np.ones(len(users)), (users, items)), shape=shape)
    rows.data[:] = 1.0
    return _by_cluster(rows, rng)


def _by_category(users: Ints, labels: pd.Series[str], weights: Floats, n_users: int) -> Ints:
    codes, uniques = pd.factorize(labels, sort=True)
    share = np.zeros((n_users, len(uniques)))
    np.add.at(share, (users, codes), weights)
    share /= share.sum(axis=1, keepdims=True)
    relative = share / share.mean(axis=0, keepdims=True)
    return np.asarray(np.argmax(relative, axis=1), dtype=np.int64)


def _by_cluster(rows: sp.csr_matrix, rng: np.random.Generator) -> Ints:
    clusters = min(_CLUSTERS, rows.shape[0])
    if clusters < 2 or rows.shape[1] < 2:
        return np.zeros(rows.shape[0], dtype=np.int64)
    norms = np.sqrt(rows.getnnz(axis=1))
    scaled = sp.diags_array(1 / np.maximum(norms, 1)) @ rows
    width = min(_DIM, *rows.shape)
    basis = np.linalg.qr(rng.standard_normal((rows.shape[1], width)))[0]
    for _ in range(_SWEEPS):
        basis = np.linalg.qr(scaled.T @ (scaled @ basis))[0]
    points = np.asarray(scaled @ basis, dtype=np.float64)
    centres = _spread_out(points, clusters, rng)
    for _ in range(_LLOYD_ROUNDS):
        labels = np.argmin(_distances(points, centres), axis=1)
        kept = [points[labels == label].mean(axis=0) for label in np.unique(labels)]
        centres = np.stack(kept)
    return np.asarray(np.argmin(_distances(points, centres), axis=1), dtype=np.int64)


def _spread_out(points: Floats, clusters: int, rng: np.random.Generator) -> Floats:
    """First centres by k-means++ (Arthur and Vassilvitskii 2007), fewer when points coincide."""
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < clusters:
        nearest = _distances(points, centres).min(axis=1)
        if nearest.max() < _SAME_POINT:
            break
        chosen = rng.choice(len(points), p=nearest / nearest.sum())
        centres = np.concatenate([centres, points[chosen : chosen + 1]])
    return centres


def _distances(points: Floats, centres: Floats) -> Floats:
    """Squared distances, `[points, centres]`."""
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)

"""A shop's own implicit ALS, on its own events and nothing else."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Histories
from common.models.mf import FoldIn, MatrixFactorisation
from common.models.ridge import solve_rows, transpose

__all__ = ["own_model", "train_own", "weight_of_items"]


def train_own(
    histories: Histories,
    vectors: Floats,
    regularisation: float,
    epochs: int,
    unobserved_weight: float,
) -> Floats:
    """Epochs of implicit ALS with regularisation by frequency (Rendle et al. 2021, ν=1).

    Args:
        histories: the shop's events.
        vectors: item vectors to start from, `[items, dim]`.
        regularisation: λ.
        epochs: times that users and then items are solved.
        unobserved_weight: α0.

    Returns:
        Item vectors, `[items, dim]`.
    """
    columns = transpose(histories)
    user_ridge = np.float64(regularisation) * (
        histories.lengths + unobserved_weight * histories.n_items
    )
    item_ridge = np.float64(regularisation) * (
        columns.lengths + unobserved_weight * histories.n_users
    )
    for _ in range(epochs):
        users = solve_rows(histories, vectors, user_ridge, unobserved_weight)
        vectors = solve_rows(columns, users, item_ridge, unobserved_weight)
    return vectors


def own_model(
    histories: Histories, vectors: Floats, regularisation: float, unobserved_weight: float
) -> MatrixFactorisation:
    """The model that `train_own` fits, with the shop's own popularity."""
    fold_in = FoldIn(
        unobserved_weight=unobserved_weight,
        regularisation=regularisation,
        frequency_exponent=1.0,
    )
    popularity = weight_of_items(histories) + 0.1
    return MatrixFactorisation.from_embeddings(vectors, popularity, fold_in)


def weight_of_items(histories: Histories) -> Floats:
    """Total weight of each item's events, `[items]`."""
    weights = np.bincount(histories.items, histories.weights, minlength=histories.n_items)
    return weights.astype(np.float64)

"""Which of a shopper's own events make a score: exact for the ridge solution of fold-in."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Histories
from common.models.fold_in import fold_in_ridge
from common.models.mf import MatrixFactorisation

__all__ = ["contributions"]


def contributions(
    model: MatrixFactorisation, history: Histories, item: int, gramian: Floats | None = None
) -> Floats:
    """What each event of one shopper adds to the score of an item, `[events]`.

    The shopper's vector is x = A⁻¹ Σ_e w_e v_e, with A = Σ_e w_e v_e v_eᵀ + α0 Σ_all v vᵀ + R
    (R the diagonal of λ and of the variance of noise), so x·v_i = Σ_e w_e v_e·A⁻¹v_i: each
    event has its own term, and the terms are the whole of what is personal in the score. A
    depends on the events too: without one of them the others' terms would be others.

    Args:
        model: that folds in.
        history: of one shopper.
        item: position of the item that is scored.
        gramian: Σ_all v vᵀ, `[dim, dim]`, where it is at hand.

    Returns:
        Terms that sum to x·v_i up to rounding; may be negative.
    """
    own = model.item_embeddings[history.items].astype(np.float64)
    if gramian is None:
        everything = model.item_embeddings.astype(np.float64)
        gramian = everything.T @ everything
    weights = history.weights * model.item_weight[history.items].astype(np.float64)
    noise = None if model.noise_variance is None else model.noise_variance.astype(np.float64)
    ridge = fold_in_ridge(history, weights, model.settings, noise)
    system: Floats = (own * weights[:, None]).T @ own
    system += model.settings.unobserved_weight * gramian
    system[np.diag_indices_from(system)] += ridge[0]
    target = model.item_embeddings[item].astype(np.float64)
    terms = weights * (own @ np.linalg.solve(system, target))
    return np.asarray(terms, dtype=np.float64)

"""Which of a shopper's own events make a score.

Matrix factorisation has an exact answer, as its fold-in is linear in the events once their
weights are fixed. Any other model is asked what it would have said without each event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Floats, Histories
from common.models.base import Model
from common.models.fold_in import fold_in_ridge
from common.models.mf import MatrixFactorisation

__all__ = ["Terms", "contributions", "left_out", "terms_of", "terms_without"]

_AT_ONCE: Final = 1 << 22
"""Scores in memory at a time."""


@dataclass(frozen=True)
class Terms:
    """What events have to do with a score. Personal.

    Attributes:
        amounts: `[events]`, may be negative.
        total: the part of the score that they account for together.
        exact: `total` is their sum by the model's own arithmetic, and the rest of the score is
            the same for every shopper with events.
    """

    amounts: Floats
    total: float
    exact: bool


def terms_of(
    model: MatrixFactorisation,
    history: Histories,
    vector: Floats,
    item: int,
    gramian: Floats | None = None,
) -> Terms:
    """What `contributions` returns, with x·v_i as the total; x is `vector` `[1, dim]`."""
    amounts = contributions(model, history, item, gramian)
    personal = float(vector[0] @ model.item_embeddings[item].astype(np.float64))
    return Terms(amounts, personal, exact=True)


def terms_without(
    model: Model, history: Histories, item: int, still: Callable[[], object] = lambda: None
) -> Terms:
    """What `left_out` returns, with their sum as the total."""
    amounts = left_out(model, history, item, still)
    return Terms(amounts, float(amounts.sum()), exact=False)


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


def left_out(
    model: Model, history: Histories, item: int, still: Callable[[], object] = lambda: None
) -> Floats:
    """What the score of an item loses without each of one shopper's events, `[events]`.

    Score with all events minus score with all but one, each computed anew. It is the whole
    score where no vector is left, of an only event above all: the popularity would answer
    then, on a scale of its own.

    Args:
        model: of any kind.
        history: of one shopper, with a vector that is not zero.
        item: position of the item that is scored.
        still: called before each batch; raises when nobody waits any more.
    """
    events = len(history.items)
    whole = float(model.scores(model.fold_in(history))[0, item])
    without: Floats = np.zeros(events)
    size = max(1, _AT_ONCE // model.n_items)
    for first in range(0, events, size):
        still()
        places = np.arange(first, min(first + size, events))
        copies = history.take(np.zeros(len(places), dtype=np.int64))
        kept = np.ones((len(places), events), dtype=np.bool_)
        kept[np.arange(len(places)), places] = False
        vectors = model.fold_in(copies.keep(kept.ravel()))
        without[places] = np.where(vectors.any(axis=1), model.scores(vectors)[:, item], 0.0)
    return whole - without

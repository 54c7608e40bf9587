"""RMSE and MAE of a model that predicts ratings."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from common.arrays import Floats, Histories
from common.evaluation.metrics import rating_errors
from common.evaluation.totals import Mean, RatingTotals

__all__ = ["RatingModel", "evaluate_ratings"]

_AT_ONCE: Final = 1 << 22
"""Ratings in memory at a time."""


class RatingModel(Protocol):
    """A model with ratings for units; `neural` with loss `explicit` is one."""

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of shoppers from their own events alone, `[users, dim]`."""
        ...

    def ratings(self, user_vectors: Floats) -> Floats:
        """Ratings that are expected, `[users, items]`."""
        ...


def evaluate_ratings(model: RatingModel, known: Histories, asked: Histories) -> RatingTotals:
    """Errors over all ratings in `asked`, the weights of its events.

    Args:
        model: what predicts.
        known: events that shoppers are folded in from.
        asked: held-out ones of the same users, in the same order.
    """
    totals = RatingTotals()
    at_once = max(1, _AT_ONCE // known.n_items)
    for start in range(0, known.n_users, at_once):
        users = np.arange(start, min(start + at_once, known.n_users))
        predicted, part = model.ratings(model.fold_in(known.take(users))), asked.take(users)
        errors = rating_errors(predicted[part.user_of_event, part.items], part.weights)
        squared, absolute = (Mean.of(each) for each in errors)
        totals = totals.merge(RatingTotals(squared, absolute))
    return totals

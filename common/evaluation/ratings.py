"""RMSE and MAE of what predicts ratings: models, and means to compare them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from common.arrays import Floats, Histories
from common.evaluation.metrics import rating_errors
from common.evaluation.totals import Mean, RatingTotals

__all__ = ["MeanRatings", "RatingModel", "evaluate_ratings", "global_mean", "item_means"]

_AT_ONCE: Final = 1 << 22
"""Ratings in memory at a time."""
_STRENGTH: Final = 5.0
"""Ratings of the global mean that count beside those of an item."""


@runtime_checkable
class RatingModel(Protocol):
    """A model with ratings for units; `neural` with loss `explicit` is one."""

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of shoppers from their own events alone, `[users, dim]`."""
        ...

    def ratings(self, user_vectors: Floats) -> Floats:
        """Ratings that are expected, `[users, items]`."""
        ...


@dataclass(frozen=True)
class MeanRatings:
    """The same ratings for everybody: a control.

    Attributes:
        by_item: `[items]`.
    """

    by_item: Floats

    def fold_in(self, histories: Histories) -> Floats:
        """Nothing is personal, `[users, 0]`."""
        return np.zeros((histories.n_users, 0))

    def ratings(self, user_vectors: Floats) -> Floats:
        """The means, `[users, items]`."""
        return np.broadcast_to(self.by_item, (len(user_vectors), len(self.by_item)))


def global_mean(rated: Histories) -> MeanRatings:
    """The mean of all ratings. Exact: not a private release.

    Args:
        rated: with ratings for weights, one at least; NaN for none.
    """
    mean = float(np.nanmean(rated.weights))
    return MeanRatings(np.full(rated.n_items, mean))


def item_means(rated: Histories) -> MeanRatings:
    """The mean of each item, as if five more had rated it at the global mean. Exact too.

    Args:
        rated: as for `global_mean`.
    """
    there = ~np.isnan(rated.weights)
    items, ratings = rated.items[there], rated.weights[there]
    sums = np.bincount(items, ratings, minlength=rated.n_items)
    counts = np.bincount(items, minlength=rated.n_items)
    return MeanRatings((sums + _STRENGTH * ratings.mean()) / (counts + _STRENGTH))


def evaluate_ratings(model: RatingModel, known: Histories, asked: Histories) -> RatingTotals:
    """Errors over all ratings in `asked`, the weights of its events; NaN is none.

    Args:
        model: what predicts.
        known: events that shoppers are folded in from, with their ratings.
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

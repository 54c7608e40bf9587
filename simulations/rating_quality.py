"""How well ratings are predicted. The lab sees all the data: not a private release."""

from __future__ import annotations

from collections.abc import Mapping

from common.evaluation.protocols import Split
from common.evaluation.ratings import RatingModel, evaluate_ratings, global_mean, item_means
from common.evaluation.totals import RatingTotals
from common.models.base import Model
from common.models.weights import reads_weights

__all__ = ["measure_ratings"]


def measure_ratings(model: Model, split: Split) -> Mapping[str, RatingTotals]:
    """Errors on the held-out ratings of a split, by what predicts them.

    Args:
        model: the finished model; of one that reads no ratings nothing is measured.
        split: whose weights are ratings.

    Returns:
        `joint`, each shopper folded in from their own ratings, and the exact controls
        `item-means` and `global-mean`; empty for other models.
    """
    if not (reads_weights(model) and isinstance(model, RatingModel)):
        return {}
    known = split.histories
    predictors: dict[str, RatingModel] = {
        "joint": model,
        "item-means": item_means(known),
        "global-mean": global_mean(known),
    }
    return {name: evaluate_ratings(p, known, split.relevant) for name, p in predictors.items()}

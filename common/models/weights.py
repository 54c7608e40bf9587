"""Who may read how strongly a user met an item. The one place that decides it.

A log has a weight for each event: a rating, a quantity. What reads it says so itself, by a
property `reads_weights`: the model `neural` whose targets are ratings, and the solver that trains
it. Everything else is given histories of weight 1, and nothing that depends on a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from common.arrays import Floats, Histories

__all__ = ["RatingUnits", "histories_for", "rating_units", "reads_weights"]


@dataclass(frozen=True)
class RatingUnits:
    """What the scores of a model that predicts ratings mean. Public.

    Attributes:
        mean: the rating that a score of 0 stands for.
        scale: ratings for each unit of the score.
        reach: no score counts as farther from 0.
    """

    mean: float
    scale: float
    reach: float

    def ratings(self, scores: Floats) -> Floats:
        """Expected ratings, of any shape."""
        return self.mean + self.scale * np.clip(scores, -self.reach, self.reach)


@runtime_checkable
class _Asked(Protocol):
    """A solver or a model that can be asked."""

    @property
    def reads_weights(self) -> bool: ...


def reads_weights(reader: object) -> bool:
    """Whether a solver or a model takes the weights of events for ratings."""
    return isinstance(reader, _Asked) and reader.reads_weights


@runtime_checkable
class _Predicts(Protocol):
    """A model that can be asked for its units."""

    @property
    def rating_units(self) -> RatingUnits: ...


def rating_units(model: object) -> RatingUnits | None:
    """What the scores of a model are in units of; None of one that predicts no ratings."""
    return model.rating_units if reads_weights(model) and isinstance(model, _Predicts) else None


def histories_for(reader: object, rated: Histories) -> Histories:
    """Histories as a solver or a model may read them.

    Guarantee:
        What `reader` is given does not depend on weights, unless it says that it reads them.

    Args:
        reader: who reads.
        rated: with each entry's rating for its weight, NaN where there is none.
    """
    return rated if reads_weights(reader) else rated.unweighted()

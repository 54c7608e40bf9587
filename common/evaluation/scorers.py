"""What can be evaluated: anything that scores all items for users by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.models.weights import histories_for

__all__ = ["FoldInModel", "GroupScorer", "JointScorer", "Scorer"]


class Scorer(Protocol):
    """Scores items for users."""

    def scores(self, users: Ints) -> NDArray[Any]:
        """Scores of all items for `users` (positions in the split), `[len(users), items]`."""
        ...


class FoldInModel(Protocol):
    """A model whose personal half is a function of the user's own events."""

    def fold_in(self, histories: Histories) -> Floats:
        """Vectors of the users, `[users, dim]`."""
        ...

    def scores(self, user_vectors: Floats) -> Floats:
        """Scores of all items, `[users, items]`."""
        ...


@dataclass(frozen=True)
class JointScorer:
    """One shared model for everybody, folded in from training events: `joint` serving.

    Attributes:
        model: the shared half.
        histories: training events of all users of the split, with their ratings for weights; a
            model that reads none is given none.
    """

    model: FoldInModel
    histories: Histories

    def scores(self, users: Ints) -> Floats:
        """Scores of all items for `users`, `[len(users), items]`."""
        own = histories_for(self.model, self.histories.take(users))
        return self.model.scores(self.model.fold_in(own))


@dataclass(frozen=True)
class GroupScorer:
    """Every shop has a scorer of its own: `shop` serving, or every shop alone.

    Attributes:
        scorers: by group; each is asked for users of its group only, by their positions
            in the split.
        group_of_user: `[users]`, positions in `scorers`.
        n_items: size of the catalogue.
    """

    scorers: Sequence[Scorer]
    group_of_user: Ints
    n_items: int

    def scores(self, users: Ints) -> Floats:
        """Scores of all items for `users`, `[len(users), items]`."""
        scores = np.empty((len(users), self.n_items))
        groups = self.group_of_user[users]
        for group in np.unique(groups):
            chosen = groups == group
            scores[chosen] = self.scorers[group].scores(users[chosen])
        return scores

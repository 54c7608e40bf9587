"""Controls for every report: popularity and chance. Exact, for scoring; never released."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Histories, Ints

__all__ = ["PopularityScorer", "RandomScorer", "popularity_counts", "row_normalised_counts"]


@dataclass(frozen=True)
class PopularityScorer:
    """The same scores for everybody.

    Attributes:
        popularity: `[items]`, any scale; more is better.
    """

    popularity: Floats

    def scores(self, users: Ints) -> Floats:
        """Scores of all items for `users`, `[len(users), items]`."""
        return np.broadcast_to(self.popularity, (len(users), len(self.popularity)))


@dataclass(frozen=True)
class RandomScorer:
    """Scores by chance; a user's scores do not depend on the batch they are asked in.

    Attributes:
        n_items: size of the catalogue.
        seed: of the scores.
    """

    n_items: int
    seed: int

    def scores(self, users: Ints) -> Floats:
        """Uniform scores of all items for `users`, `[len(users), items]`."""
        rows = [np.random.default_rng([self.seed, int(u)]).random(self.n_items) for u in users]
        return np.array(rows).reshape(len(users), self.n_items)


def popularity_counts(histories: Histories) -> Floats:
    """Users with a training event on each item, `[items]`."""
    return np.bincount(histories.items, minlength=histories.n_items).astype(np.float64)


def row_normalised_counts(histories: Histories) -> Floats:
    """Sum over users of 1/√(items of the user) on each of their items, `[items]`.

    What the popularity round of `subspace` sums, without its noise.
    """
    share = 1.0 / np.sqrt(np.maximum(histories.lengths, 1))
    weights = np.repeat(share, histories.lengths)
    counts = np.bincount(histories.items, weights, minlength=histories.n_items)
    return counts.astype(np.float64)

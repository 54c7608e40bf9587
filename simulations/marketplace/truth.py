"""What users really want, for regret: known here and nowhere else."""

from __future__ import annotations

import numpy as np

from common.arrays import Floats, Histories, Ints
from simulations.marketplace.world import World

__all__ = ["expected_best", "true_preference"]

_TIMES_OF_YEAR = 12


def true_preference(world: World, users: Ints) -> Floats:
    """Probability that a user's next draw is each item, mean over the year.

    Args:
        world: the truth.
        users: whose, real accounts only.

    Returns:
        `[len(users), items]` in the order of the catalogue; rows sum to 1.
    """
    odds = world.preference(users).astype(np.float64)
    starts = world.bounds[:-1]
    mass = np.add.reduceat(odds, starts, axis=1)
    times = (np.arange(_TIMES_OF_YEAR) + 0.5) / _TIMES_OF_YEAR
    season = world.season(times)
    factor = (1.0 / (mass @ season.T)) @ season / _TIMES_OF_YEAR
    odds *= np.repeat(factor, np.diff(world.bounds), axis=1)
    chances = np.empty_like(odds)
    chances[:, world.by_category] = odds
    return chances


def expected_best(chances: Floats, top_k: int, seen: Histories | None) -> Floats:
    """Chance that the next draw is in the best list of `top_k` unseen items, `[users]`.

    Args:
        chances: `[users, items]` of `true_preference`.
        top_k: length of the list.
        seen: items of each of the users that must not be recommended, None for none.
    """
    if seen is not None:
        chances = chances.copy()
        chances[seen.user_of_event, seen.items] = 0.0
    best = np.partition(chances, -top_k, axis=1)[:, -top_k:]
    total: Floats = best.sum(axis=1)
    return total

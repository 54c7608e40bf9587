"""Some events of every user, hidden so that a shop can choose between models on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.arrays import Floats, Histories, Ints
from common.models.base import Model
from common.models.weights import histories_for

__all__ = ["Holdout", "hide_events"]

_BLOCK_USERS = 256


@dataclass(frozen=True)
class Holdout:
    """Hidden events of a shop; sensitive like the rest.

    Attributes:
        rest: `[users]`, the events that are left.
        users: `[hidden users]`, positions of users with hidden events, increasing.
        hidden: the hidden events of `users`.
        rivals: how many unseen items drawn at random a hidden one has to beat.
    """

    rest: Histories
    users: Ints
    hidden: Histories
    rivals: float = 10.0

    def value(self, model: Model) -> Floats:
        """How well `model` ranks the hidden events of each user, `[hidden users]`.

        The mean over hidden events of (1 - f)^rivals, f the share of items that the user has
        not interacted with (outside the hidden ones) that score at least as much: the
        chance to be ahead of so many of them drawn at random. With a tenth of the catalogue
        as rivals it stands for a place among the first ten. Smooth in the ranks, so that a
        small shop can choose by it. Ties count against the hidden event.
        """
        values = np.zeros(len(self.users))
        for first in range(0, len(self.users), _BLOCK_USERS):
            block = np.arange(first, min(first + _BLOCK_USERS, len(self.users)))
            values[block] = self._block_value(model, block)
        return values

    def _block_value(self, model: Model, block: Ints) -> Floats:
        seen, hidden = self.rest.take(self.users[block]), self.hidden.take(block)
        scores = model.scores(model.fold_in(histories_for(model, seen)))
        targets = scores[hidden.user_of_event, hidden.items]
        for known in (seen, hidden):
            scores[known.user_of_event, known.items] = -np.inf
        rivals = np.array(
            [
                np.count_nonzero(scores[user] >= target)
                for user, target in zip(hidden.user_of_event, targets, strict=True)
            ]
        )
        unseen = np.maximum(scores.shape[1] - seen.lengths - hidden.lengths, 1)
        share = rivals / unseen[hidden.user_of_event]
        total = np.bincount(hidden.user_of_event, (1 - share) ** self.rivals, minlength=len(block))
        return np.asarray(total / hidden.lengths)


def hide_events(
    histories: Histories,
    share: float,
    max_hidden: int,
    rng: np.random.Generator,
    rivals: float = 10.0,
    times: Ints | None = None,
) -> Holdout:
    """Hide the latest events of every user with at least two, or random ones without times.

    The latest ones, because what a shop wants to know is what comes next.

    Args:
        histories: all events.
        share: share of a user's events to hide, at least one event.
        max_hidden: most events to hide of one user.
        rng: chooses the events, and among those of equal time.
        rivals: see `Holdout`.
        times: `[events]`, when each event was last met; any unit, None if unknown.
    """
    lengths = histories.lengths
    wanted = np.clip((share * lengths).astype(np.int64), 1, max_hidden)
    wanted[lengths < 2] = 0
    owner = histories.user_of_event
    chance = rng.random(len(owner))
    keys = (chance, owner) if times is None else (chance, -times, owner)
    shuffled = np.lexsort(keys)
    place: Ints = np.empty(len(owner), np.int64)
    place[shuffled] = np.arange(len(owner)) - histories.indptr[owner]
    away = place < wanted[owner]
    users = np.flatnonzero(wanted)
    return Holdout(histories.keep(~away), users, histories.keep(away).take(users), rivals)

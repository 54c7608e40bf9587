"""What a step reads of users: their own items, and which of the shared ones are rivals to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints

__all__ = ["Batch", "Draw", "ExampleMaker", "empty_padded", "rivals", "windows"]


@dataclass(frozen=True)
class Draw:
    """What is drawn for a step, for everybody the same. Public.

    Attributes:
        shared: items that every user is given beside their own, increasing, `[shared]`.
        place: where in a longer history the step reads, within [0, 1).
        popularity: logarithm of each item's popularity over the mean, `[items]`.
    """

    shared: Ints
    place: float
    popularity: Floats


@dataclass(frozen=True)
class Batch:
    """Users of a step, each with arrays of one size. Sensitive.

    Attributes:
        own: their items, `[batch, own]`, padded with -1 on the right.
        example: what else a network's loss reads, by name, `[batch, ...]`.
    """

    own: Ints
    example: Mapping[str, NDArray[Any]]


class ExampleMaker(Protocol):
    """How a model's examples are made of histories."""

    def own(self, histories: Histories, draw: Draw) -> Ints:
        """The items of `batch`, `[users, own]`, -1 for padding."""
        ...

    def batch(self, histories: Histories, draw: Draw) -> Batch:
        """Examples of all users of `histories`, each made of that user's events alone."""
        ...


def windows(histories: Histories, length: int, place: float) -> Ints:
    """`length` items of each user one after another in time, `[users, length]`, -1 behind.

    Args:
        histories: `[users]`.
        length: of a window; who has fewer events is padded on the right.
        place: 0 takes the latest; towards 1 the window moves to the earliest.
    """
    counts = histories.lengths
    spare = np.maximum(counts - length, 0)
    taken = np.minimum(counts, length)
    first = histories.indptr[1:] - taken - np.floor(place * (spare + 1)).astype(np.int64)
    columns = np.arange(length)
    filled = columns < taken[:, None]
    found = np.full((histories.n_users, length), -1, dtype=np.int64)
    found[filled] = histories.sequences()[(first[:, None] + columns)[filled]]
    return found


def rivals(own: Ints, draw: Draw, histories: Histories | None = None) -> dict[str, NDArray[Any]]:
    """Which shared items are none of the user's own, and what `candidate_losses` reads.

    Args:
        own: `[batch, own]`, -1 for padding.
        draw: of the step.
        histories: `[batch]`; where given, none of all their items is a rival, whether it is in
            `own` or not.
    """
    items, shared, present = len(draw.popularity), draw.shared, own >= 0
    if histories is None:
        user, item = np.nonzero(present)[0], own[present]
    else:
        user, item = histories.user_of_event, histories.items
    at = np.searchsorted(shared, item)
    among = at < len(shared)
    among[among] = shared[at[among]] == item[among]
    rival = np.ones((len(own), len(shared)), dtype=np.bool_)
    rival[user[among], at[among]] = False
    absent = items - np.bincount(user, minlength=len(own))
    correction = np.log(np.maximum(absent, 1) / np.maximum(rival.sum(axis=1), 1))
    return {
        "present": present,
        "rival": rival,
        "correction": correction.astype(np.float32),
        "own_popularity": np.where(present, draw.popularity[own], 0.0).astype(np.float32),
        "shared_popularity": np.broadcast_to(draw.popularity[shared], rival.shape).astype(
            np.float32
        ),
    }


def empty_padded(batch: Batch, users: int) -> Batch:
    """The same with users behind who have no events, `users` in all.

    Every operation then has the same shape, whoever takes part.
    """
    missing = users - len(batch.own)
    if missing == 0:
        return batch

    def padded(values: NDArray[Any], fill: Any) -> NDArray[Any]:
        width = [(0, missing), *((0, 0) for _ in values.shape[1:])]
        return np.pad(values, width, constant_values=fill)

    return Batch(
        padded(batch.own, -1),
        {name: padded(v, v.dtype.type(0)) for name, v in batch.example.items()},
    )

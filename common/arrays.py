"""Names for the arrays that everybody passes around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Histories", "Ints", "State", "Words"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint32] | NDArray[np.uint64]
"""Of secure sums: integers modulo 2^32 or 2^64."""
State: TypeAlias = Mapping[str, NDArray[Any]]
"""Shared state of a job: public arrays by name, functions of releases and public facts."""


@dataclass(frozen=True)
class Histories:
    """Which items each user interacted with, as compressed rows. Sensitive.

    Attributes:
        indptr: `[users + 1]`, user `u` owns `items[indptr[u]:indptr[u + 1]]`.
        items: `[events]`, positions in the catalogue, strictly increasing within a user.
        weights: `[events]`, strength of each interaction, positive.
        n_items: size of the catalogue.
    """

    indptr: Ints
    items: Ints
    weights: Floats
    n_items: int

    @property
    def n_users(self) -> int:
        """Number of users; exact, so it stays on the client."""
        return len(self.indptr) - 1

    @property
    def lengths(self) -> Ints:
        """Events of each user, `[users]`."""
        return np.diff(self.indptr)

    @property
    def user_of_event(self) -> Ints:
        """Row of the user of each event, `[events]`."""
        return np.repeat(np.arange(self.n_users, dtype=np.int64), self.lengths)

    def unweighted(self) -> Histories:
        """The same with every interaction at weight 1: that it happened, not how strongly."""
        return Histories(self.indptr, self.items, np.ones(len(self.items)), self.n_items)

    def take(self, users: Ints) -> Histories:
        """The histories of `users` (positions, any order) only."""
        lengths = self.lengths[users]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.repeat(self.indptr[users] - indptr[:-1], lengths)
        events = offsets + np.arange(indptr[-1], dtype=np.int64)
        return Histories(indptr, self.items[events], self.weights[events], self.n_items)

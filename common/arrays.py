"""Names for the arrays that everybody passes around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
        weights: `[events]`, strength of each interaction, positive. Where they are ratings, NaN
            for an interaction without one.
        n_items: size of the catalogue.
        order: `[events]`, place of each event in its user's own time, 0 the earliest; within a
            user a permutation of 0 .. n - 1. Every part that is made of it keeps the order and
            renumbers what is left. None where no time is known: the stored order stands then.

    An item that a user met several times is one event; `common.interactions.order` says where
    it stands.
    """

    indptr: Ints
    items: Ints
    weights: Floats
    n_items: int
    order: Ints | None = None

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
        return replace(self, weights=np.ones(len(self.items)))

    def take(self, users: Ints) -> Histories:
        """The histories of `users` (positions, any order) only."""
        lengths = self.lengths[users]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.repeat(self.indptr[users] - indptr[:-1], lengths)
        events = offsets + np.arange(indptr[-1], dtype=np.int64)
        order = None if self.order is None else self.order[events]
        return Histories(indptr, self.items[events], self.weights[events], self.n_items, order)

    def keep(self, events: NDArray[np.bool_]) -> Histories:
        """The same users with the marked `events` `[events]` only."""
        owner = self.user_of_event
        counts = np.bincount(owner[events], minlength=self.n_users)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        order = None
        if self.order is not None:
            place = self._in_time(self.order)
            kept = np.zeros(len(events), dtype=np.int64)
            kept[place] = events
            earlier = (np.cumsum(kept) - kept)[place]  # kept ones before, of anybody
            order = (earlier - indptr[owner])[events]
        return Histories(indptr, self.items[events], self.weights[events], self.n_items, order)

    def within(self, n_items: int) -> Histories:
        """The same users with their events about the first `n_items` of the catalogue alone."""
        if n_items == self.n_items:
            return self
        return replace(self.keep(self.items < n_items), n_items=n_items)

    def sequences(self) -> Ints:
        """Items of all users, each user's oldest first, `[events]`; `indptr` holds as before."""
        if self.order is None:
            return self.items
        in_time = np.empty_like(self.items)
        in_time[self._in_time(self.order)] = self.items
        return in_time

    def sequence_of(self, user: int) -> Ints:
        """Items of one user (its position), oldest first."""
        return self.take(np.array([user])).sequences()

    def recent(self, length: int) -> Ints:
        """Each user's last `length` items, oldest first, padded with -1 on the right.

        Returns:
            `[users, length]`: a user of n < length events has them in columns 0 .. n - 1.
        """
        counts = np.minimum(self.lengths, length)
        columns = np.arange(length)
        filled = columns < counts[:, None]
        window = np.full((self.n_users, length), -1, dtype=np.int64)
        window[filled] = self.sequences()[((self.indptr[1:] - counts)[:, None] + columns)[filled]]
        return window

    def _in_time(self, order: Ints) -> Ints:
        """Where each event stands when every user's are in time order, `[events]`."""
        starts: Ints = self.indptr[:-1][self.user_of_event]
        return starts + order

"""From the event table to positions: users, items, a total order in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.errors import Code, DataError
from common.interactions.order import order_of_entries, places_in_time, tie_hashes

__all__ = ["Indexed", "index_events", "to_histories", "union"]


@dataclass(frozen=True, eq=False)
class Indexed:
    """Events by position, row by row as in the table.

    Attributes:
        users: user_ids, sorted.
        users_of_row: `[events]`, positions in `users`.
        items: `[events]`, positions in the catalogue.
        weights: `[events]`.
        times: `[events]`, any unit; the smallest integer where there is none.
        tie: `[events]`, a hash of user_id and item_id, to order equal times by.
    """

    users: pd.Index[Any]
    users_of_row: Ints
    items: Ints
    weights: Floats
    times: Ints
    tie: NDArray[np.uint64]

    @cached_property
    def places(self) -> Ints:
        """Place of each event among all, in order of user and time, tie, `[events]`."""
        return places_in_time(self.users_of_row, self.times, self.tie)

    def _first_rows(self) -> Ints:
        """Rows at which a user meets an item first, in order of user and time, tie."""
        order = np.argsort(self.places)
        pairs = pd.DataFrame({"user": self.users_of_row[order], "item": self.items[order]})
        first: Ints = order[~pairs.duplicated().to_numpy()]
        return first

    def first_users(self) -> Ints:
        """Return the user of every distinct (user, item)."""
        return self.users_of_row[self._first_rows()]

    def last_items(self) -> Ints:
        """Return the item that each user met last for the first time, `[users]`."""
        rows = self._first_rows()
        last = np.full(len(self.users), -1, dtype=np.int64)
        last[self.users_of_row[rows]] = self.items[rows]  # the last assignment stays
        return last


def index_events(events: pd.DataFrame, items: pd.Index[Any]) -> Indexed:
    """Positions of all events.

    Args:
        events: columns `user_id, item_id, weight, datetime`.
        items: item_ids of the catalogue, in order.

    Raises:
        DataError: `data-empty`, no events; `catalogue-mismatch`, an item outside.
    """
    if not len(events):
        raise DataError(Code.DATA_EMPTY, "there are no events.", where="events")
    codes = items.get_indexer(pd.Index(events["item_id"])).astype(np.int64)
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(
            Code.CATALOGUE_MISMATCH,
            f"item {events['item_id'].iloc[row]!r} is not in the catalogue.",
            where=f"row {row}, item_id",
            remedy="Read the events against the catalogue; unknown items are set aside there.",
        )
    factors, uniques = pd.factorize(events["user_id"], sort=True)
    rows, users = factors.astype(np.int64), pd.Index(uniques)
    tie = tie_hashes(users, rows, items, codes)
    weights = events["weight"].to_numpy(dtype=np.float64)
    return Indexed(users, rows, codes, weights, _times(events["datetime"]), tie)


def to_histories(
    table: Indexed, position: Ints, chosen: NDArray[np.bool_], n_users: int, n_items: int
) -> Histories:
    """Chosen rows as histories; repeated events on an item are one with the latest weight.

    The order is that of `common.interactions.order`, among the chosen rows alone.

    Args:
        table: events.
        position: `[events]`, position of the row's user among `n_users`, in the order of
            `table.users`.
        chosen: `[events]`, rows to keep.
        n_users: users of the result.
        n_items: size of the catalogue.
    """
    keys = position[chosen] * n_items + table.items[chosen]
    distinct, place = np.unique(keys, return_inverse=True)
    in_time = np.argsort(table.places[chosen])
    weights = np.empty(len(distinct))
    weights[place[in_time]] = table.weights[chosen][in_time]  # the last assignment stays
    users, items = np.divmod(distinct, n_items)
    indptr = np.searchsorted(users, np.arange(n_users + 1)).astype(np.int64)
    order = order_of_entries(table.places[chosen], place, indptr)
    return Histories(indptr, items, weights, n_items, order)


def union(left: Histories, right: Histories) -> Histories:
    """Items of either; weights are 1. Both have the same users and catalogue.

    No order is known of the result.
    """
    n_items = left.n_items
    keys = [part.user_of_event * n_items + part.items for part in (left, right)]
    users, items = np.divmod(np.unique(np.concatenate(keys)), n_items)
    indptr = np.searchsorted(users, np.arange(left.n_users + 1)).astype(np.int64)
    return Histories(indptr, items, np.ones(len(items)), n_items)


def _times(column: pd.Series[Any]) -> Ints:
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("int64")
    return np.asarray(column, dtype=np.int64)

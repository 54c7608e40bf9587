"""From the event table to positions: users, items, a total order in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.errors import Code, DataError

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

    def _first_rows(self) -> Ints:
        """Rows at which a user meets an item first, in order of user and time, tie."""
        order = np.lexsort((self.tie, self.times, self.users_of_row))
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
    rows, users = pd.factorize(events["user_id"], sort=True)
    users = pd.Index(users)
    tie = _mix(_hashes(users)[rows], _hashes(items)[codes])
    weights = events["weight"].to_numpy(dtype=np.float64)
    return Indexed(users, rows.astype(np.int64), codes, weights, _times(events["datetime"]), tie)


def to_histories(
    table: Indexed, position: Ints, chosen: NDArray[np.bool_], n_users: int, n_items: int
) -> Histories:
    """Chosen rows as histories; repeated events on an item are one with their summed weight.

    Args:
        table: events.
        position: `[events]`, position of the row's user among `n_users`.
        chosen: `[events]`, rows to keep.
        n_users: users of the result.
        n_items: size of the catalogue.
    """
    keys = position[chosen] * n_items + table.items[chosen]
    distinct, place = np.unique(keys, return_inverse=True)
    weights = np.bincount(place, table.weights[chosen], minlength=len(distinct)).astype(np.float64)
    return _from_keys(distinct, weights, n_users, n_items)


def union(left: Histories, right: Histories) -> Histories:
    """Items of either; weights are 1. Both have the same users and catalogue."""
    n_items = left.n_items
    keys = [part.user_of_event * n_items + part.items for part in (left, right)]
    distinct = np.unique(np.concatenate(keys))
    return _from_keys(distinct, np.ones(len(distinct)), left.n_users, n_items)


def _from_keys(keys: Ints, weights: Floats, n_users: int, n_items: int) -> Histories:
    """Histories from sorted distinct `user * n_items + item`."""
    users, items = np.divmod(keys, n_items)
    indptr = np.searchsorted(users, np.arange(n_users + 1)).astype(np.int64)
    return Histories(indptr, items, weights, n_items)


def _times(column: pd.Series[Any]) -> Ints:
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("int64")
    return np.asarray(column, dtype=np.int64)


def _hashes(ids: pd.Index[Any]) -> NDArray[np.uint64]:
    """Hash ids, to the same on every machine and in every table."""
    hashes = pd.util.hash_pandas_object(pd.Series(ids), index=False)
    return np.asarray(hashes, dtype=np.uint64)


def _mix(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One hash of two, by the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) + right
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result

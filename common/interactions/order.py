"""The order of a user's events: one rule for the log, the splits and the evaluation.

Events stand in order of time, equal times in order of a hash of user_id and item_id: neither
the order of rows nor the other users of a table matter, so that a client by itself has the
order that a table of all clients would have.

An item that was met several times stands where it was met first. What comes before an event is
then what its user had met before it, and the held-out item of `leave_one_out` comes after all of
the training events; where the last meeting counted, a place would tell of meetings to come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Ints

__all__ = ["order_of_entries", "places_in_time", "tie_hashes"]


def tie_hashes(
    user_ids: pd.Index[Any], users: Ints, item_ids: pd.Index[Any], items: Ints
) -> NDArray[np.uint64]:
    """Hash user and item of each event, to order equal times by, `[events]`.

    Args:
        user_ids: user_id of every position.
        users: `[events]`, positions in `user_ids`.
        item_ids: item_id of every position.
        items: `[events]`, positions in `item_ids`.
    """
    return _mix(_hashes_at(user_ids, users), _hashes_at(item_ids, items))


def places_in_time(users: Ints, times: Ints, ties: NDArray[np.uint64]) -> Ints:
    """Place of each event among all events, by user, time and tie, `[events]`.

    Args:
        users: `[events]`, positions.
        times: `[events]`, any unit.
        ties: `[events]`, of `tie_hashes`; events that are alike in it too keep their order.
    """
    rows = np.lexsort((times, users))
    begins = np.ones(len(rows) + 1, dtype=bool)  # of what is at the same time
    begins[1:-1] = (np.diff(users[rows]) != 0) | (np.diff(times[rows]) != 0)
    tied = np.flatnonzero(~(begins[1:] & begins[:-1]))
    groups = np.cumsum(begins[:-1])[tied]
    rows[tied] = rows[tied][np.lexsort((ties[rows[tied]], groups))]
    places = np.empty(len(rows), dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return places


def order_of_entries(places: Ints, entries: Ints, indptr: Ints) -> Ints:
    """`Histories.order` of entries that each stand for one or several events, `[entries]`.

    Args:
        places: `[events]`, of `places_in_time`.
        entries: `[events]`, position of the entry that each event went into; every entry has
            one at least.
        indptr: `[users + 1]`, of the entries, with users in the order of `places`.
    """
    first = np.full(int(indptr[-1]), np.iinfo(np.int64).max)
    np.minimum.at(first, entries, places)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    own: Ints = order - np.repeat(indptr[:-1], np.diff(indptr))
    return own


def _hashes_at(ids: pd.Index[Any], positions: Ints) -> NDArray[np.uint64]:
    """Hash the ids at `positions`, to the same on every machine and in every table."""
    used = np.zeros(len(ids), dtype=bool)
    used[positions] = True
    hashes = np.zeros(len(ids), dtype=np.uint64)
    hashes[used] = pd.util.hash_pandas_object(pd.Series(ids[used]), index=False).to_numpy()
    at: NDArray[np.uint64] = hashes[positions]
    return at


def _mix(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One hash of two, by the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) + right
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result

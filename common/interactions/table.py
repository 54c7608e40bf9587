"""The event table, and its histories as compressed rows.

An event table is a pandas frame with exactly the columns `user_id, item_id` (strings),
`weight` (float64, positive, finite) and `datetime` (UTC, microseconds). Sensitive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.arrays import Floats, Histories, Ints
from common.catalogue import Catalogue
from common.errors import Code, DataError
from common.interactions.order import order_of_entries, places_in_time, tie_hashes

__all__ = ["COLUMNS", "UserHistories", "check_table", "event_table", "histories"]

COLUMNS = ("user_id", "item_id", "weight", "datetime")


@dataclass(frozen=True)
class UserHistories:
    """Histories with what they leave out: who the users are. Sensitive.

    Attributes:
        histories: one row for each user, one entry for each distinct item of theirs, in the
            order of `common.interactions.order`.
        user_ids: `[users]`, the user of each row.
        weighed_at: `[entries]`, time of the event that each weight is of, in microseconds since
            1970 UTC; -1 where the weight is NaN.
    """

    histories: Histories
    user_ids: tuple[str, ...]
    weighed_at: Ints


def event_table(
    user_id: Iterable[object],
    item_id: Iterable[object],
    weight: Iterable[float],
    datetime: Iterable[object],
) -> pd.DataFrame:
    """Make an event table of columns that are already clean.

    Args:
        user_id: users, made strings.
        item_id: items, made strings.
        weight: strength of each event, positive.
        datetime: times; numbers are microseconds since 1970 UTC.

    Raises:
        DataError: `data-format` naming the first bad value.
    """
    raw = pd.Series(list(datetime))
    numeric = pd.api.types.is_numeric_dtype(raw)
    times = pd.to_datetime(raw, utc=True, unit="us" if numeric else None)
    frame = pd.DataFrame(
        {
            "user_id": pd.Series([str(user) for user in user_id], dtype="str"),
            "item_id": pd.Series([str(item) for item in item_id], dtype="str"),
            "weight": np.array(list(weight), dtype=np.float64),
            "datetime": times.astype("datetime64[us, UTC]"),
        }
    )
    return check_table(frame)


def check_table(events: pd.DataFrame) -> pd.DataFrame:
    """`events` itself if it is an event table.

    Raises:
        DataError: `data-format`, naming column, row and value.
    """
    if tuple(events.columns) != COLUMNS:
        found = ", ".join(map(str, events.columns))
        raise _bad(f"columns are {found}; expected {', '.join(COLUMNS)}.")
    for name in ("user_id", "item_id"):
        if not pd.api.types.is_string_dtype(events[name]):
            raise _bad(f"{name}: {events[name].dtype}, expected strings.")
        _refuse(events, name, events[name].isna() | (events[name] == ""))
    if events["weight"].dtype != np.float64:
        raise _bad(f"weight: {events['weight'].dtype}, expected float64.")
    weight = events["weight"].to_numpy()
    _refuse(events, "weight", pd.Series(~(np.isfinite(weight) & (weight > 0)), events.index))
    if not isinstance(events["datetime"].dtype, pd.DatetimeTZDtype):
        raise _bad(f"datetime: {events['datetime'].dtype}, expected UTC times.")
    _refuse(events, "datetime", events["datetime"].isna())
    return events


@dataclass(frozen=True)
class _Rows:
    """Events by position, row by row: `[events]` each."""

    users: Ints
    items: Ints
    weights: Floats
    times: Ints


def histories(
    events: pd.DataFrame,
    catalogue: Catalogue,
    *,
    user_ids: Iterable[str] | None = None,
) -> UserHistories:
    """Events as compressed rows.

    Several events of one user with one item become one entry. Its weight is that of the last
    of them in time, passing over weights that are not finite; NaN if none is left.

    Args:
        events: an event table.
        catalogue: names the positions.
        user_ids: the users in the order of rows, also those without events; None takes the
            users of the table, sorted.

    Raises:
        DataError: `catalogue-mismatch` for an item that the catalogue lacks, `data-format`
            for a user that `user_ids` lacks or names twice.
    """
    items = catalogue.positions(events["item_id"])
    if (items < 0).any():
        unknown = events["item_id"].to_numpy()[np.argmax(items < 0)]
        raise DataError(
            Code.CATALOGUE_MISMATCH,
            f"{int((items < 0).sum())} events are about items that the catalogue lacks, "
            f"the first about {unknown!r}.",
            remedy="Read the events with this catalogue, which sets them aside.",
        )
    users, names = _user_rows(events, user_ids)
    times = events["datetime"].astype("datetime64[us, UTC]").astype("int64")
    stamps = np.asarray(times, dtype=np.int64)
    ties = tie_hashes(
        pd.Index(names, dtype="str"), users, pd.Index(catalogue.item_ids, dtype="str"), items
    )
    rows = _Rows(users, items, events["weight"].to_numpy(), stamps)
    return _compress(rows, places_in_time(users, stamps, ties), names, len(catalogue))


def _user_rows(
    events: pd.DataFrame, user_ids: Iterable[str] | None
) -> tuple[Ints, tuple[str, ...]]:
    if user_ids is None:
        codes, uniques = pd.factorize(events["user_id"], sort=True)
        return codes.astype(np.int64), tuple(str(user) for user in uniques)
    names = tuple(user_ids)
    index = pd.Index(names, dtype="str")
    if not index.is_unique:
        raise _bad(f"user_ids names {index[index.duplicated()][0]!r} twice.")
    rows = np.asarray(index.get_indexer(pd.Index(events["user_id"])), dtype=np.int64)
    if (rows < 0).any():
        raise _bad(f"user_ids lacks {events['user_id'].to_numpy()[np.argmax(rows < 0)]!r}.")
    return rows, names


def _compress(rows: _Rows, places: Ints, names: tuple[str, ...], n_items: int) -> UserHistories:
    grouped = np.lexsort((places, rows.items, rows.users))
    users, items = rows.users[grouped], rows.items[grouped]
    new = np.ones(len(users), dtype=bool)
    new[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    starts = np.flatnonzero(new)
    weights, times = _latest(rows.weights[grouped], rows.times[grouped], starts)
    counts = np.bincount(users[starts], minlength=len(names))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    order = order_of_entries(places[grouped], np.cumsum(new) - 1, indptr)
    return UserHistories(Histories(indptr, items[starts], weights, n_items, order), names, times)


def _latest(weights: Floats, times: Ints, starts: Ints) -> tuple[Floats, Ints]:
    """One weight and its time for each entry, whose events stand from `starts` on, in order."""
    if not len(starts):
        return weights, times
    numbers = np.where(np.isfinite(weights), np.arange(len(weights)), -1)
    last = np.maximum.reduceat(numbers, starts)
    return np.where(last < 0, np.nan, weights[last]), np.where(last < 0, -1, times[last])


def _refuse(events: pd.DataFrame, name: str, bad: pd.Series[bool]) -> None:
    if bad.any():
        row = int(np.argmax(bad.to_numpy()))
        value = events[name].iloc[row]
        raise _bad(f"{name}: {value!r} in row {row} of the table, and {int(bad.sum()) - 1} more.")


def _bad(message: str) -> DataError:
    remedy = "Read the file with `read_events`, which sets bad rows aside."
    return DataError(Code.DATA_FORMAT, message, where="event table", remedy=remedy)

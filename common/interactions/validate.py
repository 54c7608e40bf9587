"""Raw rows in, an event table out, and every other row named and set aside.

Reasons: `missing`, `not-a-number`, `not-finite`, `not-positive`, `no-time`, `before-1970`,
`in-the-future`, `unknown-item`, `duplicate`; from the readers `malformed`, `field-count`,
`encoding`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from common.catalogue import Catalogue
from common.interactions.raw import RawEvents, Rejected
from common.interactions.times import parse_times, time_faults

__all__ = ["Checked", "Clock", "validate"]

Clock: TypeAlias = Literal["real", "order", "none"]


@dataclass(frozen=True)
class Checked:
    """What came out of checking.

    Attributes:
        events: the event table.
        extra: other columns of the same rows, same index.
        rejected: everything else.
        clock: `real` times, only the `order` of rows, or `none`: all times are equal.
        weighed: there was a column of weights; else all of them are 1.
    """

    events: pd.DataFrame
    extra: pd.DataFrame
    rejected: Rejected
    clock: Clock
    weighed: bool


def validate(
    raw: RawEvents, *, catalogue: Catalogue | None = None, now: datetime | None = None
) -> Checked:
    """Check every row.

    An exact duplicate has the user, item and time of an accepted row above it. A row with
    several faults is named with each of them.

    Args:
        raw: what a reader found.
        catalogue: items that may occur; None accepts all.
        now: events more than a day later are impossible; None asks the clock. With a zone.

    Returns:
        Accepted rows in the order of the file; accepted plus set aside is all rows.
    """
    book = _Book(raw)
    events = pd.DataFrame(
        {
            "user_id": _ids(book, "user_id"),
            "item_id": _ids(book, "item_id"),
            "weight": _weights(book),
            "datetime": _times(book, now or datetime.now(UTC)),
        }
    )
    if catalogue is not None:
        known = catalogue.positions(events["item_id"].fillna("")) >= 0
        book.add("item_id", "unknown-item", ~known & ~book.bad["item_id"])
    good = np.flatnonzero(~book.any_bad())
    repeated = events.iloc[good].duplicated(["user_id", "item_id", "datetime"]).to_numpy()
    duplicate = np.zeros(len(events), dtype=bool)
    duplicate[good[repeated]] = True
    book.add("datetime", "duplicate", duplicate, events["datetime"])
    kept = good[~repeated]
    accepted = events.iloc[kept].reset_index(drop=True)
    clock: Clock = "order" if book.ordered else "real"
    if len(accepted) > 1 and accepted["datetime"].min() == accepted["datetime"].max():
        clock = "none"
    extra = raw.extra.iloc[kept].reset_index(drop=True)
    return Checked(accepted, extra, book.rejected(), clock, "weight" in raw.frame)


class _Book:
    """Collects faults: which rows, which field, why."""

    def __init__(self, raw: RawEvents) -> None:
        self.raw = raw
        self.ordered = raw.ordered or "datetime" not in raw.frame
        self.bad: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {
            name: np.zeros(len(raw.rows), dtype=bool)
            for name in ("user_id", "item_id", "weight", "datetime")
        }
        self._found: list[pd.DataFrame] = []

    def add(self, field: str, reason: str, mask: Any, values: pd.Series[Any] | None = None) -> None:
        """Note rows; a field that already has a fault gets no second one."""
        mask = np.asarray(mask, dtype=bool) & ~self.bad[field]
        self.bad[field] = self.bad[field] | mask
        at = np.flatnonzero(mask)
        if not len(at):
            return
        values = self.raw.frame[field] if values is None else values
        shown = values.iloc[at].astype("str").where(values.iloc[at].notna(), "").to_list()
        fault = {"at": at, "row": self.raw.rows[at], "field": field, "reason": reason}
        self._found.append(pd.DataFrame({**fault, "value": shown}))

    def any_bad(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Rows with a fault in any field."""
        bad: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.zeros(len(self.raw.rows), dtype=bool)
        for mask in self.bad.values():
            bad |= mask
        return bad

    def rejected(self) -> Rejected:
        """All faults by row, with the rows as they stood in the file."""
        names = ["row", "field", "reason", "value", "raw"]
        parts = [pd.DataFrame(list(self.raw.faults), columns=names)]
        for found in self._found:
            lines = self.raw.raw_lines(found["at"].to_numpy())
            parts.append(found.assign(raw=lines)[names])
        faults = pd.concat([part for part in parts if len(part)] or parts[:1])
        faults = faults.sort_values("row", kind="stable", ignore_index=True)
        unread = len({fault.row for fault in self.raw.faults})
        set_aside = int(self.any_bad().sum()) + unread
        return Rejected(faults, set_aside, len(self.raw.rows) + unread)


def _ids(book: _Book, name: str) -> pd.Series[Any]:
    values = book.raw.frame[name]
    texts = id_texts(values)
    book.add(name, "missing", texts.isna() | (texts == ""))
    return texts


def id_texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Ids as strings without spaces around them; whole floats lose their `.0`."""
    if pd.api.types.is_float_dtype(values):
        finite = values.dropna()
        if np.isfinite(finite).all() and (finite % 1 == 0).all() and (finite.abs() < 2**53).all():
            values = values.astype("Int64")
    texts: pd.Series[Any] = values.astype("str").where(values.notna())
    return texts.str.strip()


def _weights(book: _Book) -> pd.Series[float]:
    if "weight" not in book.raw.frame:
        return pd.Series(np.ones(len(book.raw.rows)), index=book.raw.frame.index)
    values = book.raw.frame["weight"]
    if pd.api.types.is_string_dtype(values):
        values = values.str.strip()
    weights = pd.to_numeric(values, errors="coerce").astype("float64")
    said = values.astype("str").str.lower().isin(["nan", "inf", "-inf", "infinity", "-infinity"])
    blank = values.isna() | (values == "")
    book.add("weight", "missing", blank & ~(said & values.notna()))
    book.add("weight", "not-finite", said | np.isinf(weights))
    book.add("weight", "not-a-number", weights.isna())
    book.add("weight", "not-positive", weights <= 0)
    return weights


def _times(book: _Book, now: datetime) -> pd.Series[Any]:
    if "datetime" not in book.raw.frame:
        seconds = pd.Series(np.arange(len(book.raw.rows), dtype=np.int64))
        times = pd.to_datetime(seconds, unit="s", utc=True).astype("datetime64[us, UTC]")
        return times.set_axis(book.raw.frame.index)
    values = book.raw.frame["datetime"]
    if pd.api.types.is_string_dtype(values):
        values = values.str.strip()
    book.add("datetime", "missing", values.isna() | (values == ""))
    times = parse_times(values, book.raw.time_format)
    for reason, mask in time_faults(times, now).items():
        book.add("datetime", reason, mask)
    return times

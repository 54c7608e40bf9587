"""Times of events, from whatever a file writes them as."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["parse_times", "time_faults"]

_DAY = pd.Timedelta(days=1)


def parse_times(values: pd.Series[Any], time_format: str | None = None) -> pd.Series[Any]:
    """Make times `datetime64[us, UTC]`, NaT where a value is no time.

    Numbers are counted from 1970 UTC: seconds below 1e11 (until the year 5138),
    milliseconds below 1e14, microseconds below 1e17, nanoseconds above. Text is ISO 8601 or
    such a number; a time without a zone is UTC. Eight digits that could be a calendar day
    (19000101 to 21001231) are no time: say so with a format.

    Args:
        values: raw values.
        time_format: `strptime` format of text; numbers are then text, too.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC")
        return values.astype("datetime64[us, UTC]")
    if pd.api.types.is_datetime64_dtype(values):
        values = values.dt.tz_localize("UTC")
        return values.astype("datetime64[us, UTC]")
    if time_format is not None:
        times = pd.to_datetime(values.astype("str"), format=time_format, utc=True, errors="coerce")
        return times.astype("datetime64[us, UTC]")
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    times = _from_numbers(numbers)
    text = numbers.isna() & values.notna()
    if text.any():
        parsed = pd.to_datetime(
            values[text].astype("str"), format="ISO8601", utc=True, errors="coerce"
        )
        times = times.where(~text, parsed.astype("datetime64[us, UTC]").reindex(times.index))
    return times


def time_faults(times: pd.Series[Any], now: datetime) -> dict[str, pd.Series[bool]]:
    """Which times cannot be, by reason: `no-time`, `before-1970`, `in-the-future`."""
    latest = pd.Timestamp(now).tz_convert("UTC") + _DAY
    return {
        "no-time": times.isna(),
        "before-1970": times < pd.Timestamp(0, tz="UTC"),
        "in-the-future": times > latest,
    }


def _from_numbers(numbers: pd.Series[float]) -> pd.Series[Any]:
    size = numbers.abs().to_numpy()
    day = (numbers >= 19_000_101) & (numbers <= 21_001_231)
    usable = np.isfinite(size) & (size < 1e20) & ~day.to_numpy()
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], default=1e-3)
    microseconds = np.floor(np.where(usable, numbers.to_numpy(), 0.0) * scale).astype(np.int64)
    times = pd.Series(microseconds.view("datetime64[us]"), index=numbers.index)
    return times.dt.tz_localize("UTC").where(usable)

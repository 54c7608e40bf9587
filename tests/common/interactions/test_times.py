"""Times: numbers of every unit, ISO 8601, formats, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.interactions.times import parse_times, time_faults

_KNOWN = pd.Timestamp("2001-09-09T01:46:40Z")


@pytest.mark.parametrize(
    "value",
    [
        *("1000000000", "1e9", "1000000000000", "1000000000000000", "1000000000000000000"),
        *("2001-09-09T01:46:40Z", "2001-09-09 01:46:40", "2001-09-09T03:46:40+02:00"),
        *(1_000_000_000, 1e9),
        *(pd.Timestamp("2001-09-09T01:46:40"), pd.Timestamp("2001-09-09T03:46:40+0200")),
    ],
)
def test_one_moment_in_many_forms(value: object) -> None:
    times = parse_times(pd.Series([value]))
    assert times[0] == _KNOWN
    assert str(times.dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    "value", ["", "yesterday", "nan", "inf", "20200131", "12/1/2010 8:26", "2020-02-30", "1e30"]
)
def test_what_is_no_time(value: str) -> None:
    assert parse_times(pd.Series([value], dtype="str")).isna().all()


def test_a_format_makes_text_a_time() -> None:
    values = pd.Series(["12/1/2010 8:26", "2010-12-01", ""], dtype="str")
    times = parse_times(values, "%m/%d/%Y %H:%M")
    assert times[0] == pd.Timestamp("2010-12-01T08:26:00Z")
    assert times[1:].isna().all()
    assert parse_times(pd.Series([20200131]), "%Y%m%d")[0] == pd.Timestamp("2020-01-31", tz="UTC")


def test_one_column_may_mix_numbers_and_text() -> None:
    times = parse_times(pd.Series(["0", "x", "1970-01-01T00:00:01Z"], dtype="str"))
    assert times.isna().tolist() == [False, True, False]
    assert times[2] - times[0] == pd.Timedelta(seconds=1)


def test_a_day_too_far_is_impossible() -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    times = parse_times(pd.Series(["-1", "0", "2020-01-01T23:59", "2020-01-02T00:01", "x"]))
    faults = time_faults(times, now)
    assert faults["before-1970"].tolist() == [True, False, False, False, False]
    assert faults["in-the-future"].tolist() == [False, False, False, True, False]
    assert faults["no-time"].tolist() == [False, False, False, False, True]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12) | st.floats().map(str) | st.integers().map(str), max_size=4))
def test_text_never_raises(values: list[str]) -> None:
    clean = [value.encode("utf-8", "ignore").decode() for value in values]
    assert len(parse_times(pd.Series(clean, dtype="str"))) == len(values)


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1)))  # noqa: DTZ001
def test_iso_text_survives(moment: datetime) -> None:
    assert parse_times(pd.Series([moment.isoformat()], dtype="str"))[0] == pd.Timestamp(
        moment, tz="UTC"
    )

"""Histories: what is merged, in which order, and what is refused."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalogue import Catalogue
from common.errors import Code, DataError
from common.interactions.table import COLUMNS, check_table, event_table, histories

_CATALOGUE = Catalogue(("c", "a", "b", "d"))
_EVENT = st.tuples(
    st.sampled_from("uvwx"), st.sampled_from("abcd"), st.integers(1, 5), st.integers(0, 4)
)


def _table(rows: list[tuple[str, str, int, int]]) -> pd.DataFrame:
    return event_table(
        *([row[column] for row in rows] for column in range(4))  # type: ignore[arg-type]
    )


def test_events_with_one_item_are_one_entry() -> None:
    events = _table([("v", "a", 2, 9), ("u", "b", 1, 5), ("v", "a", 3, 7), ("v", "c", 1, 8)])
    found = histories(events, _CATALOGUE)
    assert found.user_ids == ("u", "v")
    assert found.histories.indptr.tolist() == [0, 1, 3]
    assert found.histories.items.tolist() == [2, 0, 1]
    assert found.histories.weights.tolist() == [1.0, 1.0, 2.0]
    assert found.histories.sequence_of(1).tolist() == [1, 0]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(_EVENT, st.sampled_from([1.0, np.nan, np.inf])), min_size=1, max_size=25))
def test_the_latest_weight_that_is_one_counts(
    rows: list[tuple[tuple[str, str, int, int], float]],
) -> None:
    """Events that are alike in everything but the weight keep the order of their rows."""
    events = _table([event for event, _ in rows])
    events["weight"] *= np.array([factor for _, factor in rows])
    latest: dict[tuple[str, str], float] = {}
    times: dict[tuple[str, str], int] = {}
    for (user, item, weight, time), factor in sorted(rows, key=lambda row: row[0][3]):
        latest.setdefault((user, item), np.nan)
        if factor == 1.0:
            latest[user, item], times[user, item] = weight, time
    found = histories(events, _CATALOGUE)
    kept, users = found.histories, np.array(found.user_ids)
    names = np.array(_CATALOGUE.item_ids)[kept.items]
    pairs = list(zip(users[kept.user_of_event].tolist(), names.tolist(), strict=True))
    np.testing.assert_array_equal(kept.weights, [latest[pair] for pair in pairs])
    assert found.weighed_at.tolist() == [times.get(pair, -1) for pair in pairs]
    assert len(kept.items) == len(latest)


@settings(max_examples=80, deadline=None)
@given(st.lists(_EVENT, min_size=1, max_size=25))
def test_agrees_with_the_slow_obvious_way(rows: list[tuple[str, str, int, int]]) -> None:
    events = _table(rows)
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for user, item, _, time in rows:
        times[user, item].append(time)
    found = histories(events, _CATALOGUE)
    kept = found.histories
    assert found.user_ids == tuple(sorted({row[0] for row in rows}))
    for row, user in enumerate(found.user_ids):
        span = slice(kept.indptr[row], kept.indptr[row + 1])
        items = [_CATALOGUE.item_ids[position] for position in kept.items[span]]
        assert sorted(items) == sorted(item for name, item in times if name == user)
        assert (np.diff(kept.items[span]) > 0).all()
        assert kept.order is not None
        in_time = [items[place] for place in np.argsort(kept.order[span])]
        assert [min(times[user, item]) for item in in_time] == sorted(
            min(times[user, item]) for item in items
        )


def test_users_may_be_given_also_without_events() -> None:
    events = _table([("v", "a", 1, 0)])
    found = histories(events, _CATALOGUE, user_ids=["z", "v", "a"])
    assert found.histories.lengths.tolist() == [0, 1, 0]
    none = histories(events.iloc[:0], _CATALOGUE, user_ids=["z"])
    assert none.histories.lengths.tolist() == [0]
    for wrong in (["z"], ["v", "v"]):
        with pytest.raises(DataError) as caught:
            histories(events, _CATALOGUE, user_ids=wrong)
        assert caught.value.code is Code.DATA_FORMAT


def test_an_item_of_another_catalogue_is_refused() -> None:
    with pytest.raises(DataError, match="'a'") as caught:
        histories(_table([("v", "a", 1, 0)]), Catalogue(("b",)))
    assert caught.value.code is Code.CATALOGUE_MISMATCH


@pytest.mark.parametrize(
    ("column", "value"),
    [("weight", 0.0), ("weight", np.inf), ("weight", np.nan), ("user_id", ""), ("datetime", None)],
)
def test_refuses_a_value_that_no_event_has(column: str, value: object) -> None:
    events = _table([("u", "a", 1, 0), ("u", "b", 1, 0)])
    events[column] = events[column].astype("object")
    events.loc[1, column] = value
    events = events.astype(
        {"weight": "float64", "user_id": "str", "datetime": "datetime64[us, UTC]"}
    )
    with pytest.raises(DataError, match=column) as caught:
        check_table(events)
    assert caught.value.code is Code.DATA_FORMAT


def test_refuses_other_columns_and_types() -> None:
    events = _table([("u", "a", 1, 0)])
    assert tuple(check_table(events).columns) == COLUMNS
    for wrong in (
        events[list(reversed(COLUMNS))],
        events.assign(extra=1),
        events.assign(user_id=[7]),
        events.assign(weight=[1]),
        events.assign(datetime=[3.5]),
    ):
        with pytest.raises(DataError, match="expected"):
            check_table(wrong)


def test_a_table_takes_times_or_microseconds() -> None:
    made = event_table(["u"], [5], [1], [pd.Timestamp("2020-01-01T00:00:00+01:00")])
    assert made["datetime"][0] == pd.Timestamp("2019-12-31T23:00:00Z")
    assert made["item_id"][0] == "5"
    assert event_table(["u"], ["i"], [1], [1_000_000])["datetime"][0].timestamp() == 1.0

"""One order of events, whoever looks: a client by itself, a table of all clients, a split."""

from __future__ import annotations

from random import Random

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Histories
from common.catalogue import Catalogue
from common.evaluation.protocols import leave_one_out, validation_split
from common.interactions.order import places_in_time, tie_hashes
from common.interactions.table import event_table, histories

CATALOGUE = Catalogue(("c", "a", "e", "b", "d"))
ITEMS = pd.Index(CATALOGUE.item_ids, dtype="str")
EVENTS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcde"), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)
Row = tuple[str, str, int]


def table(rows: list[Row]) -> pd.DataFrame:
    users, items, times = ([row[column] for row in rows] for column in range(3))
    return event_table(users, items, [1.0] * len(rows), times)


def sequences(found: Histories, names: list[str]) -> dict[str, list[str]]:
    return {
        name: [CATALOGUE.item_ids[item] for item in found.sequence_of(row)]
        for row, name in enumerate(names)
    }


def obvious(rows: list[Row]) -> dict[str, list[str]]:
    """Every user's items by their first time, then by a hash of this user and item alone."""
    found: dict[str, list[str]] = {}
    for user in sorted({row[0] for row in rows}):
        first: dict[str, int] = {}
        for _, item, time in filter(lambda row: row[0] == user, rows):
            first[item] = min(time, first.get(item, time))
        found[user] = sorted(first, key=lambda item: (first[item], tie(user, item)))
    return found


def tie(user: str, item: str) -> int:
    one = np.zeros(1, dtype=np.int64)
    return int(tie_hashes(pd.Index([user]), one, pd.Index([item]), one)[0])


@settings(max_examples=80, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_a_table_has_the_obvious_order_whatever_its_rows(rows: list[Row], rng: Random) -> None:
    expected = obvious(rows)
    rng.shuffle(rows)
    found = histories(table(rows), CATALOGUE)
    assert sequences(found.histories, list(found.user_ids)) == expected


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_a_client_by_itself_has_the_order_of_all(rows: list[Row]) -> None:
    expected = obvious(rows)
    for user in expected:
        own = histories(table([row for row in rows if row[0] == user]), CATALOGUE)
        assert sequences(own.histories, [user]) == {user: expected[user]}


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_what_is_held_out_comes_last(rows: list[Row]) -> None:
    rows += [("y", item, 0) for item in "abc"]  # so that something is left to hold out twice
    split = leave_one_out(table(rows), ITEMS)
    own = sequences(split.histories, list(split.users))
    held = sequences(split.relevant, list(split.users))
    assert {user: own[user] + held[user] for user in own} == obvious(rows)
    inner = validation_split(split, np.random.default_rng(0))
    inside = sequences(inner.histories, list(inner.users))
    held = sequences(inner.relevant, list(inner.users))
    assert {user: inside[user] + held[user] for user in inside} == own


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_a_client_that_reads_its_part_of_a_split_has_the_order_of_the_split(
    rows: list[Row],
) -> None:
    rows += [("y", item, 0) for item in "abc"]
    split = leave_one_out(table(rows), ITEMS)
    read = histories(split.train, CATALOGUE)
    assert list(read.user_ids) == list(split.users)
    for name in ("indptr", "items", "order"):
        np.testing.assert_array_equal(getattr(read.histories, name), getattr(split.histories, name))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=30))
def test_places_are_those_of_one_sort(rows: list[tuple[int, int, int]]) -> None:
    users, times, ties = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    slow = np.lexsort((ties, times, users))
    places = places_in_time(users, times - 2**62, ties.astype(np.uint64))
    np.testing.assert_array_equal(places[slow], np.arange(len(rows)))


def test_an_item_that_was_met_again_stays_where_it_was_met_first() -> None:
    found = histories(table([("u", "a", 0), ("u", "b", 1), ("u", "a", 2)]), CATALOGUE)
    assert sequences(found.histories, ["u"]) == {"u": ["a", "b"]}


def test_equal_times_are_not_ordered_by_row_or_name() -> None:
    users = [f"u{number}" for number in range(50)]
    rows = [(user, item, 0) for user in users for item in "ab"]
    found = histories(table(rows), CATALOGUE)
    firsts = [one[0] for one in sequences(found.histories, list(found.user_ids)).values()]
    assert 10 < firsts.count("a") < 40

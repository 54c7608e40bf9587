"""Histories keep each user's order in time through every cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.arrays import Histories

N_ITEMS = 12


@st.composite
def sequences_of_users(draw: st.DrawFn) -> list[list[int]]:
    """Distinct items of each of some users, oldest first."""
    one = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=7)
    return draw(st.lists(one, max_size=5))


def histories_of(sequences: list[list[int]]) -> Histories:
    """The obvious way: items sorted, beside each its place in the sequence."""
    items = [item for sequence in sequences for item in sorted(sequence)]
    order = [sequence.index(item) for sequence in sequences for item in sorted(sequence)]
    indptr = np.cumsum([0, *map(len, sequences)])
    return Histories(
        indptr.astype(np.int64),
        np.array(items, dtype=np.int64),
        np.arange(1.0, len(items) + 1),
        N_ITEMS,
        np.array(order, dtype=np.int64),
    )


def lists_of(histories: Histories) -> list[list[int]]:
    return [histories.sequence_of(user).tolist() for user in range(histories.n_users)]


@given(sequences_of_users())
def test_sequences_are_in_time_order(sequences: list[list[int]]) -> None:
    histories = histories_of(sequences)
    assert lists_of(histories) == sequences
    assert histories.sequences().tolist() == [item for one in sequences for item in one]
    assert lists_of(histories.unweighted()) == sequences
    assert histories.sequences().dtype == np.int64


@given(sequences_of_users(), st.data())
def test_taking_users_keeps_their_order(sequences: list[list[int]], data: st.DataObject) -> None:
    users = data.draw(st.lists(st.integers(0, len(sequences) - 1))) if sequences else []
    part = histories_of(sequences).take(np.array(users, dtype=np.int64))
    assert lists_of(part) == [sequences[user] for user in users]


@given(sequences_of_users(), st.data())
def test_a_part_of_the_events_is_numbered_anew(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    histories = histories_of(sequences)
    count = len(histories.items)
    marks = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    part = histories.keep(np.array(marks, dtype=bool))
    pairs = zip(histories.user_of_event, histories.items, marks, strict=True)
    left = {(user, item) for user, item, mark in pairs if mark}
    expected = [[i for i in one if (u, i) in left] for u, one in enumerate(sequences)]
    assert lists_of(part) == expected
    places = [[one.index(item) for item in sorted(one)] for one in expected]
    assert part.order is not None
    assert part.order.tolist() == [place for one in places for place in one]
    assert_array_equal(part.weights, histories.weights[np.array(marks, dtype=bool)])


@given(sequences_of_users(), st.integers(0, 9))
def test_the_last_items_of_each_user_padded_on_the_right(
    sequences: list[list[int]], length: int
) -> None:
    window = histories_of(sequences).recent(length)
    last = [one[-length:] if length else [] for one in sequences]
    expected = [one + [-1] * (length - len(one)) for one in last]
    assert window.shape == (len(sequences), length)
    assert window.tolist() == expected


def test_without_an_order_the_stored_one_stands() -> None:
    histories = replace(histories_of([[5, 2], [], [7, 1, 3]]), order=None)
    assert lists_of(histories) == [[2, 5], [], [1, 3, 7]]
    assert histories.recent(2).tolist() == [[2, 5], [-1, -1], [3, 7]]
    kept = histories.keep(np.array([True, True, False, True, True]))
    assert kept.order is None
    assert kept.take(np.array([2, 0])).unweighted().order is None


@pytest.mark.parametrize("length", [1, 3])
def test_the_window_of_nobody_is_empty(length: int) -> None:
    assert histories_of([]).recent(length).shape == (0, length)


def test_events_about_later_items_are_left_out_and_the_order_is_renumbered() -> None:
    order = np.array([2, 0, 1, 0])
    whole = Histories(np.array([0, 3, 4]), np.array([0, 2, 5, 5]), np.arange(1.0, 5.0), 6, order)
    part = whole.within(4)
    assert (part.n_items, part.n_users) == (4, 2)
    np.testing.assert_array_equal(part.indptr, [0, 2, 2])
    np.testing.assert_array_equal(part.sequence_of(0), [2, 0])
    np.testing.assert_array_equal(part.weights, [1.0, 2.0])
    assert whole.within(6) is whole

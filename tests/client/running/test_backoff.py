"""Waits between two starts of a part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from client.running.backoff import Backoff


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff()
    waits = [backoff.wait_seconds(0.1, lasting=False) for _ in range(40)]
    for number, wait in enumerate(waits):
        longest = min(2.0**number, 65.0)
        assert longest / 2 <= wait < longest


def test_a_part_that_ran_well_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(9):
        backoff.wait_seconds(0.1, lasting=False)
    assert backoff.wait_seconds(121.0, lasting=False) < 1.0
    assert backoff.wait_seconds(1.0, lasting=False) < 2.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=30))
def test_what_a_person_has_to_mend_waits_longest(ends: list[tuple[float, bool]]) -> None:
    backoff = Backoff()
    for ran, lasting in ends:
        wait = backoff.wait_seconds(ran, lasting=lasting)
        assert (32.5 if lasting else 0.5) <= wait < 65.0

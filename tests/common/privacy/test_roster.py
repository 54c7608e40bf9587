"""Rosters and terms: who may take part, and how many must be honest."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Code, PolicyError
from common.privacy.roster import Roster, Terms

KEYS = {name: f"{number:064x}" for number, name in enumerate("cab")}


def test_a_roster_is_in_order_of_name_whatever_order_it_comes_in() -> None:
    rosters = [Roster.of(dict(order)) for order in itertools.permutations(KEYS.items())]
    assert {roster.names for roster in rosters} == {("a", "b", "c")}
    assert len({roster.digest for roster in rosters}) == 1


def test_the_digest_is_of_names_and_keys() -> None:
    others = [
        {**KEYS, "d": "f" * 64},
        {name: KEYS[name] for name in "ab"},
        {**KEYS, "a": "f" * 64},
        {**KEYS, "a": KEYS["b"], "b": KEYS["a"]},
        {"A": KEYS["a"], "b": KEYS["b"], "c": KEYS["c"]},
    ]
    digests = {Roster.of(keys).digest for keys in (KEYS, *others)}
    assert len(digests) == 1 + len(others)


def test_two_clients_with_one_key_are_refused() -> None:
    with pytest.raises(PolicyError) as caught:
        Roster.of({**KEYS, "d": KEYS["a"]})
    assert caught.value.code is Code.POLICY_ROSTER


def safe(terms: Terms) -> bool:
    try:
        terms.check()
    except PolicyError as error:
        return error.code is not Code.POLICY_THRESHOLD
    return True


@given(st.integers(-1, 40), st.integers(-1, 40), st.integers(-1, 40))
def test_no_two_lists_of_survivors_are_signed_and_noise_is_left(n: int, t: int, c: int) -> None:
    """Honest clients sign one list, colluders both: two of t signatures need 2(t - c) honest."""
    if safe(Terms(n, t, c)):
        honest = n - c
        assert 2 * (t - c) > honest
        assert Terms(n, t, c).honest == t - c >= 1
        assert 1 <= c < t <= n


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_safe_terms_bear_their_colluders_and_perhaps_more(n: int, t: int, c: int) -> None:
    terms = Terms(n, t, c)
    assert safe(terms) is (c < t <= n and c <= terms.most_before_masks_fall)


def test_usual_terms_are_those_of_the_decision() -> None:
    """Each row: n, t, c, noise of a total, losses, colluders before masks fall, room beside c."""
    page = (Path(__file__).parents[3] / "docs/decisions/0030-shared-noise.md").read_text()
    rows = re.findall(r"^\| (\d.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) >= 5
    for row in rows:
        n, *said = row.split(" | ")
        terms = Terms.usual(int(n))
        terms.check()
        noise = math.sqrt(terms.clients / terms.honest)
        most, lost = terms.most_before_masks_fall, terms.clients - terms.threshold
        figures = (terms.threshold, terms.colluders, f"{noise:.2f}", lost, most)
        assert said == [str(one) for one in (*figures, most - terms.colluders)]


def test_usual_terms_leave_room_for_restored_clients_unless_there_is_one_list() -> None:
    usual = [Terms.usual(n) for n in range(2, 999)]
    room = {one.clients: one.most_before_masks_fall - one.colluders for one in usual}
    several = {one.clients for one in usual if one.threshold < one.clients}
    assert several == set(range(5, 999))
    assert [n for n in several if room[n] < 2] == [5]
    assert room[5] == 1


@pytest.mark.parametrize(
    ("n", "t", "c", "is_safe"),
    [
        (2, 2, 1, True),
        (3, 3, 1, True),
        (3, 2, 1, False),
        (10, 8, 1, True),
        (10, 6, 1, True),
        (10, 5, 1, False),
        (10, 10, 9, True),
        (10, 10, 10, False),
        (10, 8, 0, False),
        (10, 11, 1, False),
        (1000, 800, 100, True),
        (1000, 550, 100, False),
        (1000, 551, 100, True),
    ],
)
def test_terms_at_the_edges(n: int, t: int, c: int, is_safe: bool) -> None:
    assert safe(Terms(n, t, c)) is is_safe

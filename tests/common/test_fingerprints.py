"""Fingerprints: what a person mistypes is named, and what is another file is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Code, ConfigError
from common.fingerprints import GROUPS, check_digit, compare, fingerprint, read_fingerprint

VALUES = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(), max_size=4)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_fingerprint(text)
    assert caught.value.code is Code.ENROLL_FINGERPRINT
    return caught.value.message


@given(VALUES)
def test_twelve_groups_of_five_digits_that_read_back(values: dict[str, Any]) -> None:
    made = fingerprint("card", values)
    assert re.fullmatch(r"(\d{5} ){11}\d{5}", made)
    assert read_fingerprint(made) == made
    assert read_fingerprint(made.replace(" ", "-")) == made
    assert read_fingerprint("\n " + made.replace(" ", "")) == made
    compare(made, made, where="card.json")


@given(VALUES, st.data())
def test_one_wrong_digit_names_its_group(values: dict[str, Any], data: st.DataObject) -> None:
    made = fingerprint("card", values)
    at = data.draw(st.sampled_from([i for i, sign in enumerate(made) if sign != " "]))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != made[at]]))
    assert f"group {at // 6 + 1}," in refused(made[:at] + wrong + made[at + 1 :])


@given(VALUES, st.integers(0, GROUPS - 2))
def test_two_neighbouring_groups_that_were_swapped_are_noticed(
    values: dict[str, Any], at: int
) -> None:
    groups = fingerprint("card", values).split()
    groups[at], groups[at + 1] = groups[at + 1], groups[at]
    assert f"group {at + 1}," in refused(" ".join(groups))


@given(st.integers(0, 9999), st.integers(1, GROUPS), st.integers(0, 2))
def test_two_neighbouring_digits_that_were_swapped_are_noticed(
    number: int, place: int, at: int
) -> None:
    digits = f"{number:04d}"
    swapped = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
    same = check_digit(digits, place) == check_digit(swapped, place)
    assert same == (digits == swapped)


@pytest.mark.parametrize("text", ["", "12345", "a" * 60, "٣" * 60, "1" * 59, "1" * 61])
def test_anything_else_is_no_fingerprint(text: str) -> None:
    refused(text)


@given(VALUES, VALUES)
def test_other_values_have_another_fingerprint(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert (fingerprint("card", one) == fingerprint("card", two)) == (one == two)
    assert fingerprint("card", one) != fingerprint("invitation", one)


def test_a_refusal_does_not_show_what_would_fit() -> None:
    """Else the next one is copied from there."""
    told, made = fingerprint("card", {"a": 1}), fingerprint("card", {"a": 2})
    with pytest.raises(ConfigError) as caught:
        compare(told, made, where="card.json")
    assert caught.value.code is Code.ENROLL_FINGERPRINT
    assert made not in str(caught.value)
    assert made.split()[0] not in str(caught.value)


def test_every_digit_of_it_depends_on_the_values() -> None:
    """48 data digits over 200 files: each place shows at least eight of ten digits."""
    many = [fingerprint("card", {"n": n}).replace(" ", "") for n in range(200)]
    assert len(set(many)) == 200
    assert all(len({one[place] for one in many}) >= 8 for place in range(60))

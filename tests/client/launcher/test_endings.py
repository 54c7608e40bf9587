"""What a node says of clocks and certificates that are wrong."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from client.launcher.endings import bad_certificate, renumbered, skew_of, still_counted
from common.certificates import issue, make_authority, new_key
from common.errors import Code

NOW = datetime.now(UTC)


@pytest.mark.parametrize("seconds", [1, 200])
def test_a_clock_that_is_near_enough_is_not_blamed(seconds: float) -> None:
    assert skew_of(header(seconds)) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-86_460, "1 day ahead of"),
        (86_460 * 3, "3 days behind"),
        (3600 * 5 + 60, "5 hours behind"),
        (-600, "seconds ahead of"),
    ],
)
def test_a_clock_that_is_off_is_named(seconds: float, said: str) -> None:
    assert said in skew_of(header(seconds))


@pytest.mark.parametrize("header", [None, "", "yesterday", "\x00"])
def test_an_answer_without_a_time_blames_no_clock(header: str | None) -> None:
    assert skew_of(header) == ""


def test_a_certificate_that_nobody_could_look_at_is_named_by_what_tls_says() -> None:
    found = bad_certificate("shop:1", None, "unable to get issuer", by_authority=None)
    assert found.code is Code.CERTIFICATE_INVALID
    assert "unable to get issuer" in str(found)


def test_a_certificate_that_is_over_may_be_the_systems_too() -> None:
    key = new_key()
    authority = make_authority("a", key, days=100, now=NOW - timedelta(days=50))
    shown = issue(authority, key, new_key(), ["a"], days=7, now=NOW - timedelta(days=9, hours=1))
    assert "over since 2 days" in str(bad_certificate("a:1", shown, "", by_authority=None))


def test_an_end_that_passes_is_still_one_in_another_process() -> None:
    for error in (renumbered("a:1"), still_counted("a:1", 70.0)):
        assert pickle.loads(pickle.dumps(error)).exit_status == 1


def header(seconds: float) -> str:
    """A `Date` of a server whose clock is so far ahead."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

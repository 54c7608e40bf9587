"""What a node makes of answers: which end it, which are its caller's, and which it waits out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from flwr.supercore.run import RunNotRunningException

from client.launcher import link as linked
from client.launcher.endings import Expelled
from client.launcher.link import Link
from common.errors import Code, ConfigError

ADDRESS = "127.0.0.1:1"
TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked.time, "sleep", lambda _: None)


def status(code: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", f"https://{ADDRESS}/")
    response = httpx.Response(code, headers=headers, request=request)
    return httpx.HTTPStatusError(f"status {code}\nof a page", request=request, response=response)


def answering(*what: Exception | int) -> Callable[[str], int]:
    """A call that fails and answers in this order."""
    left = list(what)

    def call(_: str) -> int:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return call


GONE = httpx.ConnectError("[Errno 111] Connection refused")


def test_one_try_that_fails_is_no_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert Link(ADDRESS).ask(answering(httpx.RemoteProtocolError("closed"), 5), "") == 5
    assert not caplog.records


@pytest.mark.parametrize(
    "failure", [GONE, status(429), status(502), status(503), ValueError("no protobuf")]
)
def test_a_server_that_is_away_is_one_line_and_its_return_another(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    with caplog.at_level(logging.INFO):
        assert Link(ADDRESS).ask(answering(*[failure] * 20, 5), "") == 5
    away, back = [record.getMessage() for record in caplog.records]
    assert f"[{Code.SERVER_UNREACHABLE}]" in away
    assert "answers again" in back


@pytest.mark.parametrize("code", [400, 404, 412, 500])
def test_a_refusal_is_the_callers_unless_it_waits(code: int) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        Link(ADDRESS).ask(answering(status(code)), "")
    assert Link(ADDRESS).ask(answering(status(code), status(code), 5), "", patient=True) == 5


def test_a_run_that_is_over_is_said_so_where_the_call_is_about_one() -> None:
    with pytest.raises(RunNotRunningException):
        Link(ADDRESS).ask(answering(status(403)), "")


@pytest.mark.parametrize("code", [400, 403, 404, 412, 429, 500, 501])
def test_a_call_about_no_run_waits_for_another_answer(
    caplog: pytest.LogCaptureFixture, code: int
) -> None:
    with caplog.at_level(logging.INFO):
        assert Link(ADDRESS).ask(answering(*[status(code)] * 3, 5), "", patient=True) == 5
    assert f"HTTP status {code}" in caplog.records[0].getMessage()


def test_what_means_something_to_a_patient_caller_is_its_own() -> None:
    with pytest.raises(httpx.HTTPStatusError):
        Link(ADDRESS).ask(answering(status(403)), "", patient=True, told=(403, 404))


@pytest.mark.parametrize("date", ["", "rubbish"])
def test_a_signature_that_is_not_taken_expels(date: str) -> None:
    with pytest.raises(Expelled):
        Link(ADDRESS, met=True).ask(answering(status(401, date=date)), "", patient=True)


def test_a_wrong_clock_ends_a_node_at_its_start_and_is_waited_out_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="behind the server") as caught:
        Link(ADDRESS).ask(answering(status(401, date=TOMORROW)), "")
    assert caught.value.code is Code.CLOCK_SKEW
    jumped = [status(401, date=TOMORROW)] * 3
    assert Link(ADDRESS, met=True).ask(answering(*jumped, 5), "") == 5
    assert f"[{Code.CLOCK_SKEW}]" in caplog.records[0].getMessage()

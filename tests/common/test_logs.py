"""Lines of a deployment's logs: their form, and that whatever is logged quotes nobody."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import logs
from common.errors import Code, ConfigError, PolicyError
from common.logs import Public, Style, fields, vouch
from tests.common.logging_state import Written, guarded

OWN = logging.getLogger("hushrec.client")
SECRET = "Ada Lovelace <ada@example.org>"


@pytest.fixture(name="written")
def written_fixture() -> Iterator[Written]:
    with guarded() as found:
        yield found


def refusal() -> PolicyError:
    return PolicyError(Code.POLICY_BUNDLE, SECRET, where=f"/srv/{SECRET}/policy.toml, `bundles`")


def test_a_line_says_when_who_and_what(written: Written) -> None:
    OWN.warning("step %d of %d took %.1f", 3, 7, 0.25)
    line = written.last
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "WARNING",
        "role": "test",
        "logger": "hushrec.client",
        "event": "step 3 of 7 took 0.2",
    }


def test_a_refusal_says_its_code_its_class_and_which_file(written: Written) -> None:
    OWN.warning("refused %s", refusal())
    assert written.last["event"] == "refused"
    named = {name: written.last[name] for name in ("error", "code", "where")}
    assert named == {"error": "PolicyError", "code": "policy-bundle", "where": "policy.toml"}
    assert "Ada" not in written.text


def test_an_exception_says_its_class_and_its_frames(written: Written) -> None:
    try:
        {}[SECRET]
    except KeyError:
        OWN.exception("refused, after an unexpected error")
    assert written.last["error"] == "KeyError"
    assert written.last["trace"][-1].startswith("test_logs.py:")
    assert "Ada" not in written.text


def test_words_are_shown_that_somebody_vouched_for(written: Written) -> None:
    OWN.info("client %s, %s, %s, %s", "north", Public("1.2"), Code.INTERNAL, "internal")
    vouch("north")
    OWN.info("client %s", "north")
    assert written.lines[0]["event"] == "client …, 1.2, internal, internal"
    assert written.last["event"] == "client north"


def test_further_fields_are_held_to_the_same(written: Written) -> None:
    OWN.info("child ended", extra=fields(status=2, child=Public("node"), of=SECRET, share=1e999))
    line = written.last
    assert (line["status"], line["child"], line["of"], line["share"]) == (2, "node", "…", "inf")


def test_a_message_put_together_at_run_time_is_not_shown(written: Written) -> None:
    OWN.warning(f"user {SECRET}")
    assert written.last["event"] == "…"
    assert written.last["at"].startswith("test_logs.py:")


def test_a_library_shows_its_templates_alone(written: Written) -> None:
    library = logging.getLogger("httpx")
    library.warning("HTTP Request: %s %d", SECRET, 4711)
    assert written.last["event"] == "HTTP Request: … …"
    library.info("not worth a line")
    assert len(written.lines) == 1


def test_a_handler_that_a_library_brings_has_nothing_to_quote(written: Written) -> None:
    library, own = logging.getLogger("a.library.of.tests"), io.StringIO()
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    library.error("bad row %s", SECRET)
    assert own.getvalue() == ""
    assert written.last["event"] == "bad row …"
    OWN.addHandler(logging.StreamHandler(own))  # it was there before
    OWN.propagate = False
    OWN.error("bad row %s", SECRET)
    assert own.getvalue() == ""
    assert len(written.lines) == 2
    other = type("Other", (logging.Logger,), {})("of.its.own")
    other.addHandler(logging.StreamHandler(own))
    other.error("bad row %s", SECRET)
    assert own.getvalue() == "bad row …\n"


def test_warnings_are_lines_too(written: Written) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(SECRET, stacklevel=1)
        logging.captureWarnings(False)
    assert written.last["logger"] == "py.warnings"
    assert "Ada" not in written.text


def test_a_record_from_elsewhere_says_nothing(written: Written) -> None:
    logging.root.handle(logging.LogRecord("httpx", 40, "a.py", 1, SECRET, (), None))
    logging.root.handle(logging.makeLogRecord({"name": SECRET, "msg": SECRET, "levelno": 40}))
    assert "Ada" not in written.text
    assert [line["event"] for line in written.lines] == ["…", "…"]


def test_lines_of_another_process_are_handed_on(written: Written) -> None:
    line = {"time": "t", "level": "INFO", "role": "node", "logger": "a", "event": "e", "more": 1}
    assert logs.relay(json.dumps(line)) == line
    assert written.last == line
    for other in ("", "text", "[]", "3", "[" * 100_000, json.dumps({**line, "time": 1})[:-1]):
        assert logs.relay(other) is None
    assert logs.relay(json.dumps({"event": SECRET})) is None
    assert len(written.lines) == 1


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    line = {"time": "t", "level": "INFO", "role": "node", "logger": "a", "event": "e"}
    with guarded() as written:
        written.close()
        assert logs.relay(json.dumps(line)) == line
        OWN.warning("nobody reads this")
    assert logs.relay(json.dumps(line)) is None  # nothing is configured


def test_text_is_one_line_without_control_characters() -> None:
    with guarded(Style.TEXT) as written:
        OWN.warning("refused %s", refusal())
        OWN.warning("named %s", Public("a\nb\x1b[31m"))
    first, second = written.text.splitlines()
    assert first.endswith("WARNING test hushrec.client refused error=PolicyError code=policy-bundle"
                          " where=policy.toml " + first.rpartition(" ")[2])  # fmt: skip
    assert second.endswith("named a…b…[31m")


def test_debug_quotes_and_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSHREC_DEBUG", "1")
    with guarded() as written:
        OWN.warning("refused %s", refusal())
    assert "MAY QUOTE CUSTOMERS' DATA" in written.lines[0]["event"]
    assert SECRET in written.last["quoted"]
    assert SECRET not in written.last["event"]


TEXTS = st.text(min_size=4).filter(lambda text: text not in set(Code))
ROWS = st.one_of(
    TEXTS.map(lambda text: f"§{text}§"),
    st.tuples(TEXTS.map(lambda text: f"§{text}§"), st.integers()),
    st.dictionaries(st.just("user_id"), TEXTS.map(lambda text: f"§{text}§"), min_size=1),
)


def log_everywhere(row: Any) -> None:
    """Every way by which a row could get into a line."""
    for name in ("hushrec.client", "flwr", "httpx", "uvicorn.error", "client.app", f"of {row}"):
        logger = logging.getLogger(name)
        logger.error("refused %s", row)
        logger.error("%r and %(user_id)s", {"user_id": row, "row": row})
        logger.error(f"refused {row}")
        logger.error(row)
        logger.error("too %s many %s", row)
        logger.error("none wanted", row)
        logger.error("%d", row, extra=fields(row=row), stack_info=True)
        for error in (ValueError(row), ConfigError(Code.CONFIG_INVALID, str(row), where=str(row))):
            try:
                raise error from KeyError(row)
            except (ValueError, ConfigError):
                logger.exception("refused %s", error)
                logger.exception(error)
                logger.warning("left", exc_info=True)


@settings(max_examples=20)
@given(row=ROWS)
def test_no_row_gets_into_a_line_whoever_logs_it(row: Any) -> None:
    for style in Style:
        with guarded(style) as written:
            log_everywhere(row)
        assert "§" not in written.text


UNCAUGHT = """
import sys, threading
from common.logs import configure_by_environment
assert configure_by_environment("child")
import flwr.supercore.logger as flower
flower.log(40, "gone: %s", "§row§")
thread = threading.Thread(target=lambda: int("§row§"))
thread.start(); thread.join()
class Left:
    def __del__(self): int("§row§")
Left()
int("§row§")
"""


@pytest.mark.parametrize("style", list(Style), ids=str)
def test_what_nobody_caught_is_a_line(style: Style) -> None:
    environment = {"PATH": "", "HUSHREC_LOG": style, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-c", UNCAUGHT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "§" not in done.stderr
    assert len(lines) == 4, lines
    if style is Style.JSON:
        said = [json.loads(line) for line in lines]
        assert [one["logger"] for one in said] == ["flwr", *["hushrec.logs"] * 3]
        assert [one.get("error") for one in said] == [None, *["ValueError"] * 3]


COMMAND = """
import typer
from common.errors import Code, ConfigError
from common.terminal import finish
def fail():
    raise ConfigError(Code.CONFIG_INVALID, "got §row§", where="§row§/client.toml")
typer.run(lambda: finish(fail))
"""


@pytest.mark.parametrize("style", ["", "json", "text"])
def test_a_command_under_a_supervisor_says_its_code_alone(style: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", COMMAND],
        env={"PATH": "", "HUSHREC_LOG": style},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "config-invalid" in done.stderr
    assert ("§" in done.stderr) is (style == "")
    assert "client.toml" in done.stderr


def test_without_being_asked_nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "yaml"):
        monkeypatch.delenv(logs.VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(logs.VARIABLE, value)
        assert not logs.configure_by_environment("test")
    assert not logs.is_guarded()

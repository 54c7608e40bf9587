"""Every code is about data or is not, and one that nobody has classified counts as about data."""

from __future__ import annotations

import logging

import pytest

from common import public_codes
from common.errors import Code, ConfigError, DataError, HushRecError
from common.logs import ONLY_HERE, Public, fields
from common.public_codes import OF_DATA, PUBLIC, about_data, as_it_leaves, hides, told
from tests.common.logging_state import guarded

LOG = logging.getLogger("hushrec.test")
MISMATCH = DataError(Code.CATALOGUE_MISMATCH, "no such item.", where="events.parquet")


def marked(error: BaseException, *, keeps_code: bool = False) -> BaseException:
    with pytest.raises(type(error)) as caught, about_data(keeps_code=keeps_code):
        raise error
    return caught.value


def test_every_code_is_classified_once() -> None:
    assert set(Code) == OF_DATA | PUBLIC
    assert not OF_DATA & PUBLIC


@pytest.mark.parametrize("code", Code)
def test_codes_leave_by_their_class(code: Code) -> None:
    left = Code.CLIENT_UNREADY if code in OF_DATA else code
    assert as_it_leaves(str(code)) == str(left)
    assert told(HushRecError(code, "x")) is left


def test_a_code_that_was_forgotten_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_codes, "PUBLIC", PUBLIC - {Code.DISK_FULL})
    assert as_it_leaves("disk-full") == "client-unready"


def test_what_is_no_code_is_none() -> None:
    for text in ("Ada Lovelace", "", None, 3, ["disk-full"]):
        assert as_it_leaves(text) is None


def test_an_error_out_of_data_is_about_data_whatever_its_code() -> None:
    error = marked(DataError(Code.CATALOGUE_MISMATCH, "x"))
    assert told(error) is Code.CLIENT_UNREADY
    assert hides(error)
    assert told(marked(ValueError("x"))) is Code.CLIENT_UNREADY
    kept = marked(ConfigError(Code.CATALOGUE_MISMATCH, "x"), keeps_code=True)
    assert told(kept) is Code.CATALOGUE_MISMATCH
    assert hides(kept)
    assert not hides(DataError(Code.CATALOGUE_MISMATCH, "x"))


def test_what_is_raised_of_it_is_hidden_too() -> None:
    error = RuntimeError("while that was told")
    error.__cause__ = marked(ValueError("x"))
    assert hides(error)


@pytest.mark.parametrize("code", sorted(OF_DATA))
def test_a_log_has_codes_about_data_as_they_leave(code: Code) -> None:
    error = DataError(code, "user-4711", where="events.parquet")
    with guarded() as written:
        LOG.warning("refused %s", error)
        LOG.warning("refused for %s", code)
        LOG.warning("refused for %s", str(code))
        LOG.warning("refused", extra=fields(code=code, said=Public(str(code)), text=str(code)))
    assert str(code) not in written.text
    assert written.text.count("client-unready") == 6
    said = {name: value for name, value in written.lines[0].items() if name != "time"}
    assert said == {
        "level": "WARNING", "role": "test", "logger": "hushrec.test", "event": "refused",
        "code": "client-unready", "at": said["at"],
    }  # fmt: skip


def test_a_log_has_no_class_and_no_place_of_an_error_out_of_data() -> None:
    errors = [marked(one) for one in (MISMATCH, ValueError("4711"), MemoryError())]
    lines = []
    for error in errors:
        with guarded() as written:
            LOG.error("new files cannot be used: %s", error)
            LOG.error("broken", exc_info=error)
        lines.append([{**line, "time": ""} for line in written.lines])
    assert lines[0] == lines[1] == lines[2]
    assert "Error" not in str(lines)


def test_a_line_for_the_owner_alone_is_in_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded() as written:
        LOG.error("step %d: a defect", 3, extra=ONLY_HERE)
    assert written.text == ""
    monkeypatch.setenv("HUSHREC_DEBUG", "1")
    with guarded() as written:
        LOG.error("step %d: a defect", 3, extra=ONLY_HERE)
    assert written.last["event"] == "step 3: a defect"

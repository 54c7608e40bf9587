"""The log of who came stays small, private, and one line for each request."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from server.gateway.access_log import LONGEST_PATH, AccessLog, Entry


def test_what_a_caller_writes_cannot_make_another_line(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    log.write(Entry("outside", "192.0.2.1", "GET" * 50, '/%s\n{"a": 1}\x1b[2J\u2028' * 99, 404))
    log.write(Entry("outside", "192.0.2.1", "", "", 400, node="18446744073709551615"))
    log.close()
    text = (tmp_path / "access.jsonl").read_text()
    assert text.isascii()
    assert "\x1b" not in text
    first, second = map(json.loads, text.splitlines())
    assert len(first["path"]) == LONGEST_PATH
    assert len(first["method"]) == 20
    assert "node" not in first
    assert second["node"] == "18446744073709551615"


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl", most_bytes=1000)
    for number in range(300):
        log.write(Entry("outside", "192.0.2.1", "GET", f"/{number}", 404))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 10
    assert all(file.stat().st_size <= 1000 for file in files)
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    newest = (tmp_path / "access.jsonl").read_text().splitlines()[-1]
    assert json.loads(newest)["path"] == "/299"


def test_a_log_that_exists_is_added_to(tmp_path: Path) -> None:
    for number in range(2):
        log = AccessLog(tmp_path / "access.jsonl")
        log.write(Entry("outside", "192.0.2.1", "GET", f"/{number}", 404))
        log.close()
    assert len((tmp_path / "access.jsonl").read_text().splitlines()) == 2


def test_a_disk_that_is_full_is_said_and_stops_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    log = AccessLog(Path("/dev/full"))
    log.write(Entry("outside", "192.0.2.1", "GET", "/health", 200))
    assert "No space left" in capsys.readouterr().err

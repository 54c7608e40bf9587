"""How often clients are asked: on disk before they are, and bounded whoever is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ArtifactError, Code
from common.protocol import OK
from server.quorum import NO_ANSWER
from server.repeats import REPEATS, Repeats


def test_the_first_ask_of_every_step_is_no_repeat(tmp_path: Path) -> None:
    repeats = Repeats.open(tmp_path, 0)
    for step in range(9):
        assert repeats.held(step) == {}
        repeats.asking(step, ["a", "b"])
        assert repeats.held(step) == {}


def test_repeats_are_counted_over_all_steps_and_processes(tmp_path: Path) -> None:
    for step in range(REPEATS):
        Repeats.open(tmp_path, 0).asking(step, ["a"])
        Repeats.open(tmp_path, 0).asking(step, ["a"])
    repeats = Repeats.open(tmp_path, 0)
    assert repeats.held(0) == {"a": NO_ANSWER}
    assert repeats.held(REPEATS) == {}
    repeats.asking(REPEATS, ["a"])
    assert repeats.held(REPEATS) == {"a": NO_ANSWER}


def test_what_was_released_is_sent_again_without_end(tmp_path: Path) -> None:
    repeats = Repeats.open(tmp_path, 0)
    repeats.asking(0, ["a"])
    repeats.answered(0, "a", OK)
    for _ in range(9):
        repeats.asking(0, ["a"])
    repeats.answered(0, "a", "internal")
    assert repeats.held(0) == {}


def test_the_last_code_is_why(tmp_path: Path) -> None:
    repeats = Repeats.open(tmp_path, 0)
    for _ in range(REPEATS + 1):
        repeats.asking(0, ["a"])
    repeats.answered(0, "a", "disk-full")
    assert Repeats.open(tmp_path, 0).held(0) == {"a": "disk-full"}


def test_a_person_allows_as_many_once_more(tmp_path: Path) -> None:
    repeats = Repeats.open(tmp_path, 0)
    for _ in range(REPEATS + 1):
        repeats.asking(0, ["a"])
    again = Repeats.open(tmp_path, 1)
    for _ in range(REPEATS):
        assert again.held(0) == {}
        again.asking(0, ["a"])
    assert again.held(0) == {"a": NO_ANSWER}


def test_a_line_that_was_half_written_is_cut_off(tmp_path: Path) -> None:
    repeats = Repeats.open(tmp_path, 0)
    repeats.asking(0, ["a"])
    with repeats.path.open("ab") as file:
        file.write(b'{"step":0,"asked":["a')
    Repeats.open(tmp_path, 0).answered(0, "a", OK)
    assert len(repeats.path.read_bytes().splitlines()) == 2
    Repeats.open(tmp_path, 0)


@pytest.mark.parametrize("line", [b"{}", b"[]", b"nothing", b'{"step": -1}'])
def test_a_damaged_line_stops_the_training(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "asked.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ArtifactError, match="line 1") as caught:
        Repeats.open(tmp_path, 0)
    assert caught.value.code is Code.ARTIFACT_INVALID

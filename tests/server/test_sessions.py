"""Numbers of sessions: never twice, whoever is killed and whoever else is counting."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import ArtifactError, Code, DataError
from server.sessions import BEGUN, SUMMED, Drop, SessionRecord, Sessions

ROOT = Path(__file__).resolve().parents[2]
COUNT = """
import sys
from pathlib import Path
from server.sessions import Sessions
print([Sessions(Path(sys.argv[1])).begin(2) for _ in range(20)])
"""


def test_numbers_go_up_for_each_step_on_its_own(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    assert [sessions.begin(step) for step in (0, 0, 3, 0, 3)] == [0, 1, 0, 2, 1]


def test_a_new_process_goes_on_where_another_was_killed(tmp_path: Path) -> None:
    Sessions(tmp_path).begin(4)
    assert Sessions(tmp_path).begin(4) == 1
    assert [record.outcome for record in Sessions(tmp_path).of(4)] == [BEGUN, BEGUN]


@pytest.mark.parametrize(
    ("stage", "code", "cost"),
    [
        (None, None, True),  # the server was killed and does not know
        ("keys", "no-answer", False),
        ("shares", "sum-threshold", False),
        ("masked", "no-answer", True),
        ("survivors", None, True),
        ("reveal", None, True),
        ("keys", "sum-session", True),  # a client knows the session from before
        ("shares", "sum-stage", True),
    ],
)
def test_a_session_counts_as_charged_unless_it_is_known_not_to_be(
    stage: Any, code: str | None, cost: bool
) -> None:
    dropped = {"a": Drop(stage=stage, code=code)} if code is not None else {}
    record = SessionRecord(step=0, session=0, stage=stage, dropped=dropped)
    assert record.may_have_cost is cost


def test_two_servers_in_one_folder_never_have_one_number(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    numbers = [n for process in running for n in json.loads(process.communicate()[0])]
    assert sorted(numbers) == list(range(40))
    assert not [path for path in (tmp_path / "sums").iterdir() if path.name.startswith(".")]


def test_a_number_that_is_missing_below_is_not_used(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    assert [sessions.begin(0) for _ in range(3)] == [0, 1, 2]
    (tmp_path / "sums" / "step-0000-session-1.json").unlink()
    assert sessions.begin(0) == 3


def test_what_became_of_a_session_is_kept(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    records = [
        SessionRecord(
            step=7, session=sessions.begin(7), outcome="sum-threshold", stage="masked",
            dropped={"shop-1": Drop(stage="masked", code="no-answer")},
        ),
        SessionRecord(step=7, session=sessions.begin(7), outcome=SUMMED, survivors=("a", "b")),
    ]  # fmt: skip
    for record in records:
        sessions.end(record)
    assert list(Sessions(tmp_path).of(7)) == records
    assert sessions.of(0) == ()


def test_a_number_that_cannot_be_written_stops_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DataError) as caught:
        Sessions(tmp_path).begin(0)
    assert caught.value.code is Code.DISK_FULL


def test_a_damaged_record_still_holds_its_number(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    sessions.begin(0)
    (tmp_path / "sums" / "step-0000-session-0.json").write_text("{")
    assert sessions.begin(0) == 1
    with pytest.raises(ArtifactError) as caught:
        sessions.of(0)
    assert caught.value.code is Code.ARTIFACT_INVALID

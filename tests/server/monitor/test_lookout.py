"""What a home shows: rounds and reasons, also where something is half written or broken."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import Code, HushRecError
from server.enroll.renewal import renew_server
from server.monitor.lookout import Lookout, look_at_run
from server.monitor.members import tail, view_door
from server.monitor.view import HomeView
from server.monitor.words import run_words
from server.training.folder import OK, Outcome
from tests.client.enroll.shops import enrol_server
from tests.server.monitor.homes import make_home, make_round, make_run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "server", "north", "east")


def look(home: Path) -> HomeView:
    return Lookout(home).look()


def snapshot(home: Path) -> dict[str, tuple[int, int]]:
    found = [home, *home.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def test_a_new_home_has_members_and_no_runs(home: Path) -> None:
    view = look(home)
    assert [(one.name, one.registered, one.online) for one in view.members] == [
        ("east", None, False),
        ("north", None, False),
    ]
    assert (view.runs, view.is_up, view.faults, view.model) == ((), None, (), None)
    assert [(one.name, one.state) for one in view.certificates] == [
        ("tls", "ok"),
        ("authority", "ok"),
    ]
    assert view.certificates[0].days in (395, 396)


def test_runs_are_counted_by_client_and_code(home: Path, run_folder: Any) -> None:
    folder = make_run(home, "first", run_folder.path)
    make_round(folder, 1, {"south": "policy-bundle"})
    make_round(folder, 2, {"south": "policy-bundle", "north": "no-answer"})
    (run,) = look(home).runs
    assert (run.name, run.state, run.completed, run.steps) == ("first", "going", 2, 3)
    assert run.answered == {"east": 2, "north": 1}
    assert run.refused == {("south", "policy-bundle"): 2, ("north", "no-answer"): 1}
    make_round(folder, 3, {})
    (run,) = look(home).runs
    assert (run.state, run.completed, run.solver, run.mode) == ("done", 3, "subspace", "local")


def test_a_run_that_is_only_asked_for_or_has_no_round_yet_is_shown(
    home: Path, run_folder: Any
) -> None:
    make_run(home, "begun", run_folder.path)
    (home / "runs" / "wish").mkdir()
    (home / "runs" / "wish" / "request.toml").write_text("rounds = 2\n")
    (home / "runs" / "nothing").mkdir()
    assert {(run.name, run.state, run.steps) for run in look(home).runs} == {
        ("begun", "going", 3),
        ("wish", "asked", None),
    }


def test_why_a_run_stopped_is_said_until_it_goes_on(home: Path, run_folder: Any) -> None:
    folder = make_run(home, "r", run_folder.path)
    make_round(folder, 1, {"south": "no-answer"})
    Outcome(run_id=1, code=Code.RUN_QUORUM).save(folder)
    (run,) = look(home).runs
    assert (run.state, run.problem) == ("stopped", Code.RUN_QUORUM)
    assert run_words(run) == "1 of 3 rounds; stopped: run-quorum"
    make_round(folder, 2, {})
    (run,) = look(home).runs
    assert (run.state, run.problem) == ("going", None)
    make_round(folder, 3, {})
    Outcome(run_id=1, code=OK).save(folder)
    (run,) = look(home).runs
    assert (run.state, run.problem, run_words(run)) == ("done", None, "done, 3 of 3 rounds")


def test_a_run_that_could_not_begin_says_why(home: Path) -> None:
    folder = home / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "request.toml").write_text("rounds = 2\n")
    Outcome(run_id=1, code=Code.RUN_QUORUM).save(folder)
    (run,) = look(home).runs
    assert run_words(run) == "not begun; stopped: run-quorum"
    (folder / "outcome.json").write_text("{")
    (run,) = look(home).runs
    assert (run.state, run.problem) == ("unreadable", Code.CONFIG_INVALID)


def test_what_is_broken_is_said_and_the_rest_is_there(home: Path, run_folder: Any) -> None:
    for name in ("good", "damaged", "rubbish"):
        make_round(make_run(home, name, run_folder.path), 1, {})
    (home / "runs/damaged/server/checkpoints/step-0001/round.json").write_text('{"step": 0, "o')
    (home / "runs/rubbish/job.json").write_text("{")
    (home / "cards" / "north.json").write_text("{}")
    view = look(home)
    assert {run.name: (run.state, run.problem) for run in view.runs} == {
        "good": ("going", None),
        "damaged": ("unreadable", Code.ARTIFACT_INVALID),
        "rubbish": ("unreadable", Code.CONFIG_INVALID),
    }
    assert view.members == ()
    assert any("cards" in fault for fault in view.faults)


def test_the_newest_runs_come_first_and_the_rest_is_counted(home: Path, run_folder: Any) -> None:
    for number, name in enumerate(("c", "a", "b")):
        job = make_run(home, name, run_folder.path) / "job.json"
        os.utime(job, ns=(number * 10**9, number * 10**9 + 1))
    view = Lookout(home, most_runs=2).look()
    assert ([run.name for run in view.runs], view.older_runs) == (["b", "a"], 1)


def test_a_round_that_is_new_is_seen_and_an_old_one_is_not_read_again(
    home: Path, run_folder: Any
) -> None:
    lookout = Lookout(home, rest_seconds=0)
    folder = make_run(home, "r", run_folder.path)
    make_round(folder, 1, {})
    first = lookout.look().runs[0]
    assert lookout.look().runs[0] is first
    make_round(folder, 2, {})
    assert lookout.look().runs[0].completed == 2


def test_for_a_while_one_look_is_enough(home: Path) -> None:
    lookout = Lookout(home, rest_seconds=3600)
    assert lookout.look() is lookout.look()


def test_looking_changes_nothing(home: Path, run_folder: Any) -> None:
    make_round(make_run(home, "r", run_folder.path), 1, {})
    (home / "state.db").write_bytes(b"no database")
    before = snapshot(home)
    look(home)
    assert snapshot(home) == before


def test_a_certificate_that_is_over_is_a_fault(home: Path) -> None:
    renew_server(home, now=datetime.now(UTC) - timedelta(days=500))
    view = look(home)
    assert view.certificates[0].state == "expired"
    assert view.certificates[0].days is not None
    assert view.certificates[0].days < 0
    assert view.faults == ("certificate tls: expired",)


def test_a_gateway_that_is_not_there_is_a_fault(home: Path) -> None:
    view = Lookout(home, "127.0.0.1:1").look()
    assert (view.is_up, view.faults) == (False, ("the gateway does not answer",))


def test_a_folder_that_is_no_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HushRecError) as caught:
        Lookout.of(tmp_path)
    assert caught.value.code is Code.CONFIG_NOT_FOUND


def test_the_gateway_is_asked_where_clients_are_sent(tmp_path: Path) -> None:
    enrol_server(tmp_path / "server", "--port", 8444)
    assert Lookout.of(tmp_path / "server").probe == "127.0.0.1:8444"


@pytest.mark.parametrize("name", ["missing", "..", "../runs/r", ".", ""])
def test_a_run_that_is_not_there_is_named(home: Path, run_folder: Any, name: str) -> None:
    make_run(home, "r", run_folder.path)
    with pytest.raises(HushRecError) as caught:
        look_at_run(home, name)
    assert caught.value.code is Code.RUN_NOT_FOUND


def line(number: int, **more: Any) -> bytes:
    values = {"time": f"2026-01-01T00:00:{number % 60:02d}.000+00:00", "side": "outside"}
    return json.dumps({**values, "status": 200, **more}).encode() + b"\n"


def test_of_a_long_log_the_end_is_read_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    log.write_bytes(b"".join(line(n, n=n) for n in range(5000)) + b"rubbish\n[1]\n" + line(1)[:20])
    found = [entry["n"] for entry in tail(log)]
    assert found == list(range(5000 - len(found), 5000))
    assert 1000 < len(found) < 5000
    assert tail(tmp_path / "none") == []


def test_who_was_turned_away_is_counted() -> None:
    statuses = (200, 401, 404, 503, 500, 0, None)
    lines = [json.loads(line(n, status=status)) for n, status in enumerate(statuses)]
    lines.append(json.loads(line(0, status=401, side="inside")))
    door = view_door(lines)
    assert (door.lines, door.refused, door.since) == (8, 3, "2026-01-01T00:00:00.000+00:00")

"""`kill -9` in a stage of a secure sum: the client says the same afterwards, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.secure_sum.messages import STAGES

CHILD = Path(__file__).with_name("sum_crash_child.py")
ROOT = Path(__file__).parents[2]
OK = "ok"


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reports(summing_run: Any, stage: str) -> dict[str, dict[str, Any]]:
    """What the child found at every point."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(summing_run.path), stage],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {report["point"]: report for report in found}


def test_killed_at_any_point_of_a_stage(reports: dict[str, dict[str, Any]], stage: str) -> None:
    for point, report in reports.items():
        assert report["died"] == (report["sent"] is None), point
        check_one_answer(point, report)
        check_charges(point, report, stage)
        if "agree" in report["after"]:  # the row is there, whether or not the signature left
            refused, same, _ = report["other, same"]
            assert (refused[0], same[0]) == ("sum-survivors", OK), point
    last = list(reports)[-1]  # the points reach past the last statement
    assert not reports[last]["died"]
    assert not reports["no crash"]["died"]
    assert len(reports) > 20
    for point in ("before the state", "after the state", "before sending"):
        assert reports[point]["died"]


def check_one_answer(point: str, report: dict[str, Any]) -> None:
    """Whoever is asked first is answered, and nobody else ever is."""
    for way in ("same, other", "other, same"):
        first, then, again = report[way]
        assert (first[0], then[0]).count(OK) == 1, (point, way)
        assert again == first, (point, way)
    kept, other, _ = report["same, other"]
    assert kept[0] == OK, point  # a crash costs no session
    assert other[0] in {"sum-stage", "sum-survivors"}, point
    if report["sent"] is not None:  # what left is what is said again, in either order
        assert report["sent"] == kept, point
        assert report["other, same"][1] == kept, point


def check_charges(point: str, report: dict[str, Any], stage: str) -> None:
    for kinds in (report["finally"], report["second"]):
        left = [kind for kind in kinds if kind != "refuse"]
        spent, agreed = left.count("spend"), left.count("agree")
        assert spent == int(STAGES.index(stage) >= STAGES.index("masked")), point
        assert agreed == int(STAGES.index(stage) >= STAGES.index("survivors")), point
        reserved = report["after"].count("reserve")
        lost = int(reserved > report["after"].count("spend"))
        assert left.count("reserve") == spent + lost, point  # what died unsent stays counted

"""`kill -9` in a stage of a secure sum: the client says the same afterwards, or nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.secure_sum.messages import STAGES

CHILD = Path(__file__).with_name("sum_crash_child.py")
ROOT = Path(__file__).parents[2]
OK = "ok"


@pytest.fixture(scope="module")
def all_reports(
    _summing_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, dict[str, Any]]]:
    """What the child found at every point of every stage; one process imports once."""
    run = shutil.copytree(_summing_template, tmp_path_factory.mktemp("crashes") / "run")
    done = subprocess.run(
        [sys.executable, str(CHILD), str(run)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, dict[str, Any]]] = {stage: {} for stage in STAGES}
    for report in map(json.loads, done.stdout.splitlines()):
        found[report["stage"]][report["point"]] = report
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_point_of_a_stage(
    all_reports: dict[str, dict[str, dict[str, Any]]], stage: str
) -> None:
    reports = all_reports[stage]
    for point, report in reports.items():
        assert report["died"] == (report["sent"] is None), point
        if "like" in report:  # the same is on disk as after a point that was asked
            assert report["after"] == reports[report["like"]]["after"]
            continue
        check_one_answer(point, report)
        check_charges(point, report, stage)
        if stage == "survivors" and "agree" in report["after"]:  # whether or not it was sent
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

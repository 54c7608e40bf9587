"""`kill -9` between any two steps: what left was counted, and the retry works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("crash_child.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[0, 1], ids=["first step", "later step"])
def reports(
    request: Any, prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> dict[str, dict[str, Any]]:
    """What the child found at every point, with noise from the system."""
    run = prepare_run(fixed_noise=False)
    shop = open_shop(run)
    if request.param:
        shop.ask(shop.task(0))
    command = [sys.executable, str(CHILD), str(run.path), str(shop.folder)]
    done = subprocess.run(
        [*command, shop.job.model_dump_json(), str(request.param)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {report["point"]: report for report in found}


NAMED = {
    "before reserving": (0, 0),
    "after reserving": (1, 0),
    "during compute": (1, 0),
    "after the sum": (1, 0),
    "before commit": (1, 0),
    "after commit": (1, 1),
    "before sending": (1, 1),
    "after closing": (1, 1),
    "no crash": (1, 1),
}
"""Reservations and spends of the step that the ledger must hold after a crash there."""


def test_killed_at_any_point(reports: dict[str, dict[str, Any]]) -> None:
    base = kinds_before(reports)
    for name, report in reports.items():
        before, after = count(report["after"], base), count(report["finally"], base)
        assert report["died"] == (name != "no crash" and report["sent"] is None), name
        if name in NAMED:
            assert report["died"] is (name != "no crash"), name
            assert before == NAMED[name], name
        check_invariants(name, report, before, after)
    last = list(reports)[-1]  # the points reach past the last statement
    assert not reports[last]["died"]
    assert len(reports) - len(NAMED) > 15


def check_invariants(
    name: str, report: dict[str, Any], before: tuple[int, int], after: tuple[int, int]
) -> None:
    reserved, spent = before
    assert reserved in {0, 1}, name
    assert spent <= reserved, name
    assert report["committed"] == bool(spent), name  # bytes and `spend` are one transaction
    if report["sent"] is not None:  # what left was counted first, and is what replay returns
        assert spent == 1, name
        assert report["sent"] == report["retry"], name
    assert report["retry"].startswith("ok "), name
    assert report["same"], name
    assert after == (reserved + (0 if spent else 1), 1), name


def count(kinds: list[str], base: list[str]) -> tuple[int, int]:
    new = kinds[len(base) :]
    return new.count("reserve"), new.count("spend")


def kinds_before(reports: dict[str, dict[str, Any]]) -> list[str]:
    """Rows that were there before the child was asked."""
    final = reports["no crash"]["finally"]
    return final[:4] if final.count("spend") > 1 else []

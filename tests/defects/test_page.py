"""The page about these tests is held to them, and they to the form that makes them worth it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from common.errors import Code, PlanError
from common.job import Job
from common.schedule import Schedule
from common.solvers import registry
from tests.defects.support import JOBS

TESTS = Path(__file__).parents[1]
HERE = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "privacy" / "defects.md").read_text(encoding="utf-8")
FILES = sorted(path for path in HERE.glob("test_*.py") if path != Path(__file__))
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)))


@cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("name", "test"), NAMED, ids="::".join)
def test_a_test_that_the_page_names_exists(name: str, test: str) -> None:
    assert test in functions(TESTS / name)


def test_the_page_names_every_test_of_every_defect() -> None:
    here = {
        (path.relative_to(TESTS).as_posix(), name)
        for path in FILES
        for name in functions(path)
        if name.startswith("test_")
    }
    assert here == {named for named in NAMED if named[0].startswith("defects/")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_defect_has_a_check_that_guards_and_a_test_that_lets_it_in(path: Path) -> None:
    """A check, a test that runs it as it is, and one that expects it to fail by assertion."""
    found = functions(path)
    checks = {name for name in found if name.startswith("check")}
    assert checks
    tests = {name: ast.unparse(node) for name, node in found.items() if name.startswith("test_")}
    breaking = {name for name, text in tests.items() if "pytest.raises(AssertionError" in text}
    for check in checks:
        using = {name for name, text in tests.items() if f"{check}(" in text}
        assert using - breaking, f"{check} guards nothing"
        assert using & breaking, f"{check} was never seen to fail"


@pytest.mark.parametrize("solver", registry.SOLVERS)
def test_every_solver_with_a_private_mode_is_asked(solver: str) -> None:
    job = Job(
        job_id="0" * 32,
        catalogue_version="c",
        n_items=40,
        clients=1,
        population=60,
        signal=60.0,
        epsilon=8.0,
        delta=1e-3,
        solver=solver,
    )
    asked = {entry["solver"] for entry in JOBS.values()}
    if solver in asked:
        assert Schedule(job).plan.mode == "local"
    else:
        with pytest.raises(PlanError) as refused:
            Schedule(job)
        assert refused.value.code is Code.PLAN_MODE

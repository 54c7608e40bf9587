"""Whatever goes wrong in a client, and wherever: its logs have a code, and quote nobody."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from common.errors import Code, DataError
from common.logs import Style
from tests.client.test_release_rule import ERRORS, PHASES, raising
from tests.common.logging_state import guarded

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
SOURCES = sorted(
    path for name in ("client", "common", "server") for path in (ROOT / name).rglob("*.py")
)
SECRET = "user-4711 bought item-0815"
OURS = DataError(Code.DATA_FORMAT, SECRET, where=f"{SECRET}/events.parquet", remedy=SECRET)


@pytest.mark.parametrize(("target", "phase"), PHASES, ids=[name for _, name in PHASES])
def test_a_row_that_an_exception_quotes_is_in_no_line(
    shop: Any, monkeypatch: Any, target: str, phase: str
) -> None:
    for error in (OURS, *ERRORS):
        for style in Style:
            with monkeypatch.context() as patch, guarded(style) as written:
                patch.setattr(target, raising(error))
                shop.send(shop.task().to_records())
            assert written.text
            assert not re.search("4711|0815|bought", written.text)
            if error is OURS:
                known = (Code.CLIENT_UNREADY, Code.DATA_FORMAT)
                assert any(str(code) in written.text for code in known)


def test_a_defect_while_data_are_looked_at_is_for_the_owner_alone(
    shop: Any, monkeypatch: Any
) -> None:
    """Whether there was one can follow from the data, and from what a server sent for them."""
    monkeypatch.setattr("common.schedule.Schedule.contribute", raising(ValueError(SECRET)))
    with guarded() as written:
        shop.send(shop.task(0).to_records())
    assert written.text == ""
    monkeypatch.setenv("HUSHREC_DEBUG", "1")
    shop.allow_much()
    with guarded() as written:
        shop.send(shop.task(1).to_records())
    assert written.last["event"] == "step 1: no more contributions: a defect"
    assert written.last["error"] == "ValueError"


def _is_log(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name.lower().strip("_") in {"log", "logger"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_logged_is_a_literal_and_so_is_the_name_of_the_log(path: Path) -> None:
    """Anything else would be `…` in a deployment's logs."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        logs = node.func.attr in LEVELS and _is_log(node.func.value)
        if node.func.attr == "getLogger" and node.args:
            name = node.args[0]
            if not isinstance(name, ast.Constant) and getattr(name, "id", "") != "__name__":
                found.append(node.lineno)
        elif logs and not isinstance(node.args[0], ast.Constant):
            found.append(node.lineno)
    assert not found

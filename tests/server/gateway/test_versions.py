"""Another Flower than the one that was tested is not served at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import Code, RunError
from server.gateway import versions

ROOT = Path(__file__).resolve().parents[3]


def test_the_installed_flower_is_the_one_that_was_tested() -> None:
    versions.check_flower()


def test_a_part_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "USED", (*versions.USED, ("flwr.superlink.main", "gone", ())))
    with pytest.raises(RunError, match=r"no flwr\.superlink\.main\.gone") as caught:
        versions.check_flower()
    assert caught.value.code is Code.FLOWER_VERSION
    assert caught.value.where == "gateway"


def test_every_internal_name_that_is_imported_is_looked_at() -> None:
    imported = {
        f"{node.module}.{alias.name}"
        for path in (ROOT / "server" / "gateway").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("flwr.")
        for alias in node.names
    }
    assert imported == {f"{module}.{name}" for module, name, _ in versions.USED}


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (
            "import runpy; runpy.run_module('server.gateway', run_name='__main__')",
            ["folder", "--listen", "127.0.0.2:1"],
        ),
        (
            "from server.commands_gateway import server_commands; server_commands()()",
            ["login", "folder"],
        ),
    ],
    ids=["run", "login"],
)
def test_the_server_ends_with_the_code_where_flower_is_another(
    tmp_path: Path, start: str, words: list[str]
) -> None:
    """As a process: nothing is made, nothing listens."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from common import flower; flower.FLOWER = '0.0'; {start}",
            *words,
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error flower-version" in done.stderr
    assert not (tmp_path / "folder").exists()

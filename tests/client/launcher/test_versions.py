"""Another Flower than the one that was tested is not used at all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client.launcher import versions
from common import flower
from common.errors import Code, RunError

ROOT = Path(__file__).resolve().parents[3]
NAMED = [f"{module}.{name}" for module, name, _ in versions.USED]


def test_the_installed_flower_is_the_one_that_was_tested() -> None:
    versions.check_flower()


def test_the_project_pins_the_same_version() -> None:
    pinned = re.search(r'"flwr\[simulation\]==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert pinned[1] == flower.FLOWER


@pytest.mark.parametrize("version", ["1.40.0", "1.41.1", "1.42.0"])
def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(flower, "version", lambda _: version)
    with pytest.raises(RunError, match=version) as caught:
        versions.check_flower()
    assert caught.value.code is Code.FLOWER_VERSION


@pytest.mark.parametrize(
    "used",
    [
        ("flwr.no_such_module", "name", ()),
        ("flwr.app", "NoSuchName", ()),
        ("flwr.common.serde", "message_to_proto", ("another",)),
    ],
    ids=["module", "name", "parameter"],
)
def test_a_part_that_is_gone_or_changed_is_refused(
    monkeypatch: pytest.MonkeyPatch, used: tuple[str, str, tuple[str, ...]]
) -> None:
    monkeypatch.setattr(versions, "USED", (*versions.USED, used))
    with pytest.raises(RunError, match=used[0]) as caught:
        versions.check_flower()
    assert caught.value.code is Code.FLOWER_VERSION


def test_every_internal_name_that_is_imported_is_looked_at() -> None:
    imported = {
        f"{node.module}.{alias.name}"
        for path in (ROOT / "client" / "launcher").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("flwr.")
        for alias in node.names
    }
    public = {f"flwr.app.{name}" for name in ("Context", "Message", "RecordDict")}
    assert imported - public == set(NAMED) - public


def test_the_launcher_ends_with_the_code_where_flower_is_another(tmp_path: Path) -> None:
    """As a process: nothing of Flower's is used before the check."""
    program = (
        "import sys; from common import flower; flower.FLOWER = '0.0'; "
        "sys.argv = ['launcher', 'nowhere', '--superlink', '127.0.0.1:1']; "
        "import runpy; runpy.run_module('client.launcher', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "error flower-version" in done.stderr

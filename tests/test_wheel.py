"""What is installed from a wheel is whole: every package, stub and data file, and it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("client", "common", "server", "simulations")
STARTED = (
    "client.launcher.__main__",
    "client.running.__main__",
    "client.service.__main__",
    "client.service.servicer",
    "common.probe",
    "hushrec",
    "server.app",
    "server.gateway.__main__",
    "server.gateway.serve",
    "server.monitor.__main__",
    "server.monitor.serve",
    "simulations.deployment.handout",
)
"""What units, containers and commands start."""
_LOOK = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
found = {name: importlib.import_module(name).__file__ for name in sys.argv[2:]}
print(json.dumps(found))
"""
_BUNDLE = """
import sys
sys.path.insert(0, sys.argv[1])
from common.bundle import build_bundle, bundle_sha256
print(bundle_sha256(build_bundle()))
"""


def _sources() -> list[str]:
    """What git has, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the build tools that are here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in _sources():
        if name.partition("/")[0] in PACKAGES or "/" not in name:
            (folder / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "src" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder]
    done = subprocess.run(
        [*pip, "wheel", *options, folder / "src"],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Unpacked as pip would lay it out."""
    target = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_everything_that_belongs_to_a_package_is_in_it(installed: Path) -> None:
    built_of = installed.parent / "src"
    sources = {path.relative_to(built_of).as_posix() for path in _sources_in(built_of)}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    assert len(sources) > 100
    assert not sources - found
    assert not [name for name in found if name.startswith(("tests", "docs"))]


def _sources_in(folder: Path) -> list[Path]:
    """What is no leftover of building."""
    kept = [path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file()]
    return [folder / "hushrec.py", *(path for path in kept if path.suffix != ".pyc")]


def test_what_is_started_starts_from_it(installed: Path) -> None:
    found: dict[str, Any] = json.loads(said_by(_LOOK, installed, *STARTED))
    assert all(Path(path).is_relative_to(installed) for path in found.values())


def test_its_bundle_is_that_of_the_sources(installed: Path) -> None:
    assert said_by(_BUNDLE, installed) == said_by(_BUNDLE, installed.parent / "src")


def said_by(script: str, place: Path, *more: str) -> str:
    """What a fresh interpreter prints that looks for packages in `place` first."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, place, *more],
        check=False, capture_output=True, text=True, timeout=300, cwd=place.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout

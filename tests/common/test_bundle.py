"""The bundle is all of HushRec's sources, the same bytes each time, and Flower takes it."""

from __future__ import annotations

import io
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from flwr.cli.install import install_from_fab
from flwr.supercore.fab_format_version import normalize_and_validate_fab_format

from common import bundle
from common.bundle import APP_SETTINGS, build_bundle, bundle_sha256
from common.errors import Code, ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built() -> bytes:
    return build_bundle()


def test_it_holds_every_source_that_both_sides_have_and_nothing_else(built: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(built)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    sources = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in ("client", "common", "server")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in held if name.endswith(".py")} == set(sources)
    assert set(held) - set(sources) == {"pyproject.toml", ".info/CONTENT"}
    assert all(held[name] == data for name, data in sources.items())


def test_it_does_not_say_when_or_where_it_was_made(built: bytes) -> None:
    """Another process, another folder, another environment: the same hash."""
    made = subprocess.run(
        [sys.executable, "-c", "from common.bundle import *; print(bundle_sha256(build_bundle()))"],
        cwd=ROOT.anchor,
        env={"PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout.strip() == bundle_sha256(built)


def test_flower_unpacks_it_and_finds_the_apps_and_their_settings(
    built: bytes, tmp_path: Path
) -> None:
    folder = install_from_fab(built, tmp_path, skip_prompt=True)
    config = tomllib.loads((folder / "pyproject.toml").read_text())
    app = config["tool"]["flwr"]["app"]
    assert app["components"] == {"serverapp": "server.app:app", "clientapp": "client.app:app"}
    assert app["config"] == dict.fromkeys(APP_SETTINGS, "")
    assert normalize_and_validate_fab_format(config)
    assert (folder / "server" / "app.py").is_file()


def test_the_settings_are_those_of_the_project(built: bytes) -> None:
    """`flwr run .` in a checkout takes the same run configuration."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert project["config"] == dict.fromkeys(APP_SETTINGS, "")


def test_without_a_wing_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_PACKAGES", ("client", "common", "wing_that_is_not_there"))
    with pytest.raises(ConfigError, match="wing_that_is_not_there") as caught:
        build_bundle()
    assert caught.value.code is Code.CONFIG_NOT_FOUND

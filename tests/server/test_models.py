"""Versions at the server: registered once, whole, promoted and rolled back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.artifacts import load_artifact
from common.errors import ArtifactError, Code, DataError, HushRecError, RunError
from server.models import Models
from tests.sent_models import finished

ROOT = Path(__file__).parents[2]
ONE, TWO = "1a2b3c4d" * 4, "5e6f7a8b" * 4


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path / "home")


def registered(models: Models, tmp_path: Path, *jobs: str) -> list[str]:
    return [
        models.register(f"run-{at}", finished(tmp_path / f"run-{at}", job, seed=at)).version
        for at, job in enumerate(jobs)
    ]


def refused(models: Models, code: Code, version: str, **options: bool) -> None:
    before = models.promotions
    with pytest.raises(HushRecError) as caught:
        models.promote(version, **options)
    assert caught.value.code is code
    assert models.promotions == before


def test_a_version_is_the_artefact_under_a_name_that_can_be_said(
    models: Models, tmp_path: Path
) -> None:
    assert (models.versions(), models.current) == ([], None)
    folder = finished(tmp_path / "north", ONE)
    version = models.register("north", folder)
    assert (version.version, version.run, version.number) == ("0001-1a2b3c4d", "north", 1)
    assert version.folder == models.home / "models" / "0001-1a2b3c4d"
    assert models.versions() == [version]
    for name in ("arrays.safetensors", "manifest.json"):
        assert (version.folder / name).read_bytes() == (folder / name).read_bytes()


def test_a_job_that_is_registered_keeps_its_version(models: Models, tmp_path: Path) -> None:
    first, second = registered(models, tmp_path, ONE, TWO)
    assert (first, second) == ("0001-1a2b3c4d", "0002-5e6f7a8b")
    assert models.register("again", tmp_path / "run-0").version == first
    assert [one.run for one in models.versions()] == ["run-0", "run-1"]
    with pytest.raises(RunError) as caught:
        models.register("other", finished(tmp_path / "other", ONE, seed=9))
    assert caught.value.code is Code.RUN_MISMATCH
    assert len(models.versions()) == 2


def test_versions_are_in_order_of_number_beyond_four_digits(models: Models, tmp_path: Path) -> None:
    registered(models, tmp_path, ONE)
    folder = models.home / "models" / "0001-1a2b3c4d"
    shutil.copytree(folder, models.home / "models" / "9999-1a2b3c4d")
    about = models.home / "models" / "9999-1a2b3c4d" / "version.json"
    about.write_text(about.read_text().replace("0001-", "9999-"))
    later = models.register("later", finished(tmp_path / "later", TWO))
    assert later.version == "10000-5e6f7a8b"
    assert [one.number for one in models.versions()] == [1, 9999, 10000]


@pytest.mark.parametrize("kind", ["checkpoint", "damaged", "missing"])
def test_what_is_no_whole_model_is_not_registered(
    models: Models, tmp_path: Path, kind: str
) -> None:
    folder = finished(tmp_path / "run", ONE, kind="checkpoint" if kind == "checkpoint" else "model")
    if kind == "damaged":
        (folder / "arrays.safetensors").write_bytes(b"x")
    if kind == "missing":
        shutil.rmtree(folder)
    with pytest.raises(ArtifactError) as caught:
        models.register("run", folder)
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert models.versions() == []


DIES = """
import os, sys
from pathlib import Path
from server.models import Models
from tests.dying import everywhere

homes, folder, points = Path(sys.argv[1]), Path(sys.argv[2]), 0
for at in everywhere(lambda at: Models(homes / str(at)).register("run", folder)):
    models, points = Models(homes / str(at)), points + 1
    assert len(models.versions()) <= 1, at
    again = models.register("run", folder)
    assert [one.version for one in models.versions()] == [again.version], at
    assert os.listdir(homes / str(at) / "models") == [again.version], at
print(points)
"""


def test_killed_while_registering_there_is_a_whole_version_or_none(tmp_path: Path) -> None:
    """Before every call to the disk; what was begun is done again, and nothing is left over."""
    folder = finished(tmp_path / "run", ONE)
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path / "homes"), str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_registering_at_once_gives_every_job_a_number_of_its_own(
    models: Models, tmp_path: Path
) -> None:
    jobs = [f"{at:08x}" * 4 for at in range(6)]
    folders = [finished(tmp_path / job, job) for job in jobs]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda folder: models.register("run", folder), folders * 2))
    assert len(models.versions()) == 6
    assert {one.version for one in found} == {one.version for one in models.versions()}
    assert sorted(one.number for one in models.versions()) == [1, 2, 3, 4, 5, 6]


def test_promoting_at_once_gives_no_number_twice(models: Models, tmp_path: Path) -> None:
    first, second = registered(models, tmp_path, ONE, TWO)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(models.promote, [first, second] * 8))
    assert sorted(one.serial for one in found) == list(range(1, 17))
    assert sorted(found, key=lambda one: one.serial) == models.promotions


def test_promote_and_roll_back(models: Models, tmp_path: Path) -> None:
    first, second = registered(models, tmp_path, ONE, TWO)
    assert models.promote(first).serial == 1
    assert models.promote(second).serial == 2
    back = models.rollback()
    assert (back.serial, back.version, back.back_to) == (3, first, 1)
    assert models.current == back
    with pytest.raises(ArtifactError) as caught:
        models.rollback()
    assert caught.value.code is Code.MODEL_MISSING
    assert models.current == back


def test_nothing_promoted_is_nothing_to_go_back_from(models: Models, tmp_path: Path) -> None:
    registered(models, tmp_path, ONE)
    with pytest.raises(ArtifactError) as caught:
        models.rollback()
    assert caught.value.code is Code.MODEL_MISSING


def test_a_version_without_a_guarantee_takes_words(models: Models, tmp_path: Path) -> None:
    folder = finished(tmp_path / "exact", ONE, private=False)
    version = models.register("exact", folder)
    assert not version.manifest.private
    refused(models, Code.MODEL_NOT_PRIVATE, version.version)
    assert models.promote(version.version, not_private=True).serial == 1


def test_what_is_not_there_or_not_whole_is_not_promoted(models: Models, tmp_path: Path) -> None:
    first, second = registered(models, tmp_path, ONE, TWO)
    for name in ("0003-1a2b3c4d", "", "../0001-1a2b3c4d", "0001"):
        refused(models, Code.MODEL_UNKNOWN, name)
    models.promote(first)
    models.promote(second)
    (models.version(first).folder / "arrays.safetensors").write_bytes(b"x")
    refused(models, Code.ARTIFACT_INVALID, first)
    with pytest.raises(ArtifactError):
        models.rollback()
    assert [one.version for one in models.promotions] == [first, second]


@pytest.mark.parametrize("name", ["version.json", "manifest.json"])
def test_a_version_whose_facts_are_damaged_is_named(
    models: Models, tmp_path: Path, name: str
) -> None:
    registered(models, tmp_path, ONE)
    (models.home / "models" / "0001-1a2b3c4d" / name).write_text("{")
    with pytest.raises(ArtifactError, match=r"0001-1a2b3c4d") as caught:
        models.versions()
    assert caught.value.code is Code.ARTIFACT_INVALID


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataError) as caught:
        Models(tmp_path / "home").register("run", finished(tmp_path / "run", ONE))
    assert caught.value.code is Code.DATA_NOT_FOUND


def test_what_is_promoted_is_what_was_trained(models: Models, tmp_path: Path) -> None:
    (first,) = registered(models, tmp_path, ONE)
    arrays, manifest = load_artifact(models.version(first).folder)
    trained, _ = load_artifact(tmp_path / "run-0")
    assert manifest.heads
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in trained.items()
    }

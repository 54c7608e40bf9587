"""Checkpoints and models on the operator's disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ArtifactError, Code, ConfigError, HushRecError, RunError
from common.privacy.heads import SignedHead
from common.privacy.signing import SigningKey
from common.schedule import schedule_of
from server.app import read_job
from server.record import RoundRecord
from server.registry import Checkpoint, Registry

HEAD = SignedHead.sign(SigningKey.create(), "shop-1", 5, "a" * 64)


@pytest.fixture
def job(run_folder: Any) -> Any:
    return read_job(run_folder.path)


@pytest.fixture
def registry(tmp_path: Path, job: Any) -> Registry:
    """Two checkpoints of a job."""
    found = Registry(tmp_path / "registry")
    for completed in (1, 2):
        found.save(job, checkpoint(completed), {"mode": "local"}, record(completed))
    return found


def checkpoint(completed: int) -> Checkpoint:
    state = {"table": np.full((3, 2), completed, np.float64), "steps": np.arange(completed)}
    return Checkpoint(completed, state, {"shop-1": HEAD}, private=False)


def record(completed: int) -> RoundRecord:
    return RoundRecord(
        step=completed - 1, of=3, name="s", answered=("shop-1",), refused={"shop-2": "internal"},
        seconds=0.5, bytes_down=1, bytes_up=2, noise_std=0.0, signal_to_noise=None,
    )  # fmt: skip


def test_the_newest_checkpoint_comes_back_as_it_was(registry: Registry, job: Any) -> None:
    found = registry.latest(job)
    assert found is not None
    assert (found.completed, found.heads, found.private) == (2, {"shop-1": HEAD}, False)
    for name, array in checkpoint(2).state.items():
        assert found.state[name].dtype == array.dtype
        np.testing.assert_array_equal(found.state[name], array)
    assert registry.rounds() == [record(1), record(2)]


def test_an_empty_folder_has_none(tmp_path: Path, job: Any) -> None:
    empty = Registry(tmp_path / "nothing")
    assert empty.latest(job) is None
    assert empty.rounds() == []


def test_progress_of_another_job_is_refused(registry: Registry, job: Any) -> None:
    for other in ({"job_id": "0" * 32}, {"seed": 8}, {"epsilon": 1.0}):
        with pytest.raises(RunError) as caught:
            registry.latest(job.model_copy(update=other))
        assert caught.value.code is Code.RUN_MISMATCH


def swap(folder: Path) -> None:
    """The older checkpoint in the place of the newer."""
    shutil.rmtree(folder / "checkpoints/step-0002")
    shutil.copytree(folder / "checkpoints/step-0001", folder / "checkpoints/step-0002")


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "progress.json").write_text("{"),
        lambda f: (f / "progress.json").write_text("[]"),
        lambda f: (f / "progress.json").write_text('{"completed": 2}'),
        lambda f: (f / "checkpoints/step-0002/arrays.safetensors").write_bytes(b"x" * 100),
        lambda f: (f / "checkpoints/step-0002/arrays.safetensors").unlink(),
        lambda f: (f / "checkpoints/step-0002/manifest.json").write_text("null"),
        lambda f: shutil.rmtree(f / "checkpoints/step-0002"),
        swap,
    ],
)
def test_damage_is_named_with_a_way_out(registry: Registry, job: Any, damage: Any) -> None:
    damage(registry.folder)
    with pytest.raises(ArtifactError, match=r"remove progress\.json in the folder") as caught:
        registry.latest(job)
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert str(registry.folder) in caught.value.where


@pytest.mark.parametrize("text", ["", "{}", "null"])
def test_a_damaged_record_is_named(registry: Registry, text: str) -> None:
    (registry.folder / "checkpoints/step-0001/round.json").write_text(text)
    with pytest.raises(ArtifactError):
        registry.rounds()


def test_a_checkpoint_that_was_not_finished_does_not_count(registry: Registry, job: Any) -> None:
    """Killed while it wrote the third: the pointer still names the second."""
    shutil.copytree(registry.folder / "checkpoints/step-0001", registry.folder / "checkpoints/step-0003")  # fmt: skip # noqa: E501
    found = registry.latest(job)
    assert found is not None
    assert found.completed == 2


def test_a_model_goes_out_and_in(tmp_path: Path, job: Any) -> None:
    registry, schedule = Registry(tmp_path / "r"), schedule_of(job)
    popularity = {"popularity": np.linspace(1, 2, 60), "item_weight": np.ones(60)}
    state = {**schedule.initial_state(), **popularity, "basis": np.eye(60, 4)}
    model = schedule.finish(state)
    manifest = registry.publish(job, model, Checkpoint(3, state, {}), {"mode": "local"})
    assert (manifest.kind, manifest.job_id, manifest.private) == ("model", job.job_id, True)
    loaded, found = registry.model(job.catalogue_version)
    assert found == manifest
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array)
    with pytest.raises(ArtifactError) as caught:
        registry.model("0" * 64)
    assert caught.value.code is Code.ARTIFACT_CATALOGUE


def test_a_checkpoint_is_no_model(registry: Registry, job: Any) -> None:
    shutil.copytree(registry.folder / "checkpoints/step-0001", registry.folder / "model")
    with pytest.raises(ArtifactError, match="not a model"):
        registry.model(job.catalogue_version)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, Code.RUN_NOT_FOUND),
        ("{", Code.RUN_NOT_FOUND),
        ('{"job_id": 1}', Code.CONFIG_INVALID),
        ("[]", Code.RUN_NOT_FOUND),
    ],
)
def test_a_folder_without_a_readable_job(tmp_path: Path, text: str | None, code: Code) -> None:
    if text is not None:
        (tmp_path / "job.json").write_text(text)
    with pytest.raises(HushRecError) as caught:
        read_job(tmp_path)
    assert caught.value.code is code
    assert isinstance(caught.value, (RunError, ConfigError))


def test_a_manifest_says_what_was_not_private(registry: Registry, job: Any) -> None:
    manifest = json.loads((registry.folder / "checkpoints/step-0002/manifest.json").read_text())
    assert manifest["private"] is False
    assert manifest["step"] == 2
    assert SignedHead.load(manifest["heads"]["shop-1"]) == HEAD

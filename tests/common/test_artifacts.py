"""Arrays and manifests on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.artifacts import (
    Manifest,
    arrays_from_bytes,
    arrays_to_bytes,
    load_artifact,
    save_artifact,
)
from common.errors import ArtifactError, Code

ARRAYS = {"b": np.arange(6.0).reshape(2, 3), "a": np.ones(2, np.float32), "n": np.arange(3)}
MANIFEST = Manifest(
    kind="model", name="mf", catalogue_version="c" * 64, job_id="ab" * 16, step=3, private=True,
    privacy={"mode": "local"},
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text("abc.", min_size=1),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        max_size=4,
    )
)
def test_arrays_round_trip_and_bytes_do_not_depend_on_order(arrays: dict[str, Any]) -> None:
    blob = arrays_to_bytes(arrays)
    assert blob == arrays_to_bytes(dict(reversed(arrays.items())))
    found = arrays_from_bytes(blob)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_arrays_of_any_layout_are_stored_by_value() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    for view in (grid.T, grid[:, ::2], grid[::-1], np.asfortranarray(grid)):
        found = arrays_from_bytes(arrays_to_bytes({"x": view}))["x"]
        np.testing.assert_array_equal(found, view)


@pytest.mark.parametrize(
    "blob", [b"", b"{}", b"\xff" * 100, b"\x80\x04\x95", arrays_to_bytes(ARRAYS)[:-1]]
)
def test_bytes_that_are_no_arrays_are_refused(blob: bytes) -> None:
    with pytest.raises(ArtifactError) as caught:
        arrays_from_bytes(blob, where="here")
    assert (caught.value.code, caught.value.where) == (Code.ARTIFACT_INVALID, "here")


def test_an_artefact_comes_back_with_its_manifest(tmp_path: Path) -> None:
    saved = save_artifact(tmp_path / "deep" / "model", ARRAYS, MANIFEST)
    arrays, manifest = load_artifact(tmp_path / "deep" / "model", catalogue_version="c" * 64)
    assert manifest == saved
    assert len(manifest.sha256) == 64
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_another_catalogues_artefact_is_refused(tmp_path: Path) -> None:
    save_artifact(tmp_path, ARRAYS, MANIFEST)
    with pytest.raises(ArtifactError) as caught:
        load_artifact(tmp_path, catalogue_version="d" * 64)
    assert caught.value.code is Code.ARTIFACT_CATALOGUE


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "manifest.json").unlink(),
        lambda f: (f / "manifest.json").write_text("{"),
        lambda f: (f / "manifest.json").write_text("null"),
        lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"),
        lambda f: rewrite(f, job_id=None),
        lambda f: rewrite(f, surprise=1),
        lambda f: rewrite(f, sha256="0" * 64),
        lambda f: (f / "arrays.safetensors").unlink(),
        lambda f: (f / "arrays.safetensors").write_bytes(b""),
        lambda f: (f / "arrays.safetensors").write_bytes(arrays_to_bytes({"a": np.ones(1)})),
    ],
)
def test_a_damaged_artefact_is_refused(tmp_path: Path, damage: Any) -> None:
    save_artifact(tmp_path, ARRAYS, MANIFEST)
    damage(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        load_artifact(tmp_path)
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert str(tmp_path) in caught.value.where

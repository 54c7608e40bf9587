"""Vectors that lie in a file: three forms, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from common.errors import Code, DataError
from common.features.base import ItemEncoder
from common.features.precomputed import Precomputed
from tests.common.features.encoders import CATALOGUE, EncoderSuite

IDS = ("4", "1", "2", "77")
VECTORS = np.array([[1, 0], [0, 2], [3, 4], [5, 5]], dtype=np.float32)


class TestPrecomputed(EncoderSuite):
    def encoder(self) -> ItemEncoder:
        return Precomputed(IDS, VECTORS)


def _write(path: Path) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame({"item_id": IDS, "vector": VECTORS.tolist()}).to_parquet(path)
        return path
    if path.suffix == ".npy":
        np.save(path, VECTORS)
    else:
        save_file({"vectors": VECTORS}, path)
    path.with_suffix(".item_ids").write_text("\n".join(IDS) + "\n")
    return path


@pytest.mark.parametrize("ending", [".parquet", ".npy", ".safetensors"])
def test_every_form_gives_the_same(tmp_path: Path, ending: str) -> None:
    read = Precomputed.read(_write(tmp_path / f"images{ending}"))
    assert read.item_ids == IDS
    found = read.encode(CATALOGUE)
    expected = [[0, 1], [0.6, 0.8], [0, 0], [1, 0]]
    np.testing.assert_allclose(found.values, expected, atol=1e-7)
    assert (found.missing, found.unknown) == (("3",), ("77",))


def test_numbers_as_ids_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    pd.DataFrame({"item_id": [1, 2], "vector": [[1.0], [2.0]]}).to_parquet(path)
    assert Precomputed.read(path).item_ids == ("1", "2")


def _refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        Precomputed.read(path)
    assert caught.value.code in (Code.DATA_FORMAT, Code.DATA_NOT_FOUND)
    assert str(path.parent) in caught.value.where
    return str(caught.value)


@pytest.mark.parametrize("shape", [f"({10**15}, 500)", f"({10**30},)", "(True, 2)", "(-1, 2)"])
def test_sizes_that_no_array_has_are_refused(tmp_path: Path, shape: str) -> None:
    """Of a file's first line, which says what it likes."""
    words = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    path = _write(tmp_path / "v.npy")
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words + b"\0" * 16)
    assert "array of numbers" in _refused(path)


def test_a_file_without_its_ids_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.npy")
    path.with_suffix(".item_ids").unlink()
    assert "v.item_ids" in _refused(path)


def test_ids_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "v.npy")
    path.with_suffix(".item_ids").write_text("1\n2\n2\n")
    assert "for 3 items" in _refused(path)
    path.with_suffix(".item_ids").write_text("1\n2\n2\n3\n")
    assert "'2'" in _refused(path)


@pytest.mark.parametrize("ending", [".parquet", ".npy", ".safetensors", ".csv"])
def test_what_is_something_else_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v{ending}"
    path.write_bytes(b"not vectors at all")
    path.with_suffix(".item_ids").write_text("1\n")
    _refused(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.array([[object()]]), allow_pickle=True)
    path.with_suffix(".item_ids").write_text("1\n")
    _refused(path)


@pytest.mark.parametrize(
    "frame",
    [
        {"item_id": ["1"], "colour": [[1.0]]},
        {"item_id": ["1", "2"], "vector": [[1.0], [1.0, 2.0]]},
        {"item_id": ["1", None], "vector": [[1.0], [2.0]]},
        {"item_id": ["1"], "vector": [[float("inf")]]},
        {"item_id": ["1"], "vector": [["red"]]},
    ],
    ids=["no-vector", "ragged", "no-id", "infinite", "words"],
)
def test_a_bad_table_is_refused(tmp_path: Path, frame: dict[str, list[object]]) -> None:
    path = tmp_path / "v.parquet"
    pd.DataFrame(frame).to_parquet(path)
    _refused(path)


def test_words_as_an_array_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.array([["red"]]))
    path.with_suffix(".item_ids").write_text("1\n")
    assert "not of numbers" in _refused(path)

"""Vectors that somebody else made of the items: of their images, their sound, their texts.

Three forms, told apart by the name's ending:
- `.parquet`: a column `item_id` and a column `vector` of lists, all of one length;
- `.safetensors`: an array `vectors` `[rows, width]`, and `NAME.item_ids` beside the file, a text
  with the item of each row on a line of its own;
- `.npy`: the same as a bare array.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from common.artifacts import arrays_from_bytes
from common.catalogue import Catalogue
from common.errors import ArtifactError, Code, DataError
from common.features.base import ItemFeatures, unit_rows
from common.files import read_bytes

__all__ = ["Precomputed"]

_IDS: Final = ".item_ids"
_REMEDY: Final = (
    "A row for each item: Parquet with `item_id` and `vector`, or an array with the items' ids, "
    "one on a line, in `NAME.item_ids` beside it."
)


@dataclass(frozen=True, eq=False)
class Precomputed:
    """Vectors by item; an `ItemEncoder`.

    Guarantee:
        Features are a function of the catalogue's ids and of the file, which must be public and
        made without any event. What a model learnt from logs is no such file.

    Attributes:
        item_ids: `[rows]`, distinct.
        vectors: `[rows, width]`, finite.
        where: the file, for errors.

    Raises:
        DataError: `data-format`, repeated items, or vectors that do not fit.
    """

    item_ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    where: str = ""

    def __post_init__(self) -> None:
        shape = self.vectors.shape
        if len(shape) != 2 or 0 in shape or shape[0] != len(self.item_ids):
            raise _bad(f"vectors of shape {shape} for {len(self.item_ids)} items.", self.where)
        bad = ~np.isfinite(self.vectors).all(axis=1)
        if bad.any():
            item = self.item_ids[int(np.argmax(bad))]
            raise _bad(f"the vector of item {item!r} is not finite.", self.where)
        seen: set[str] = set()
        for item in self.item_ids:
            if item in seen or not item:
                raise _bad(f"item_id: {item!r} is empty, or there twice.", self.where)
            seen.add(item)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read vectors from a file.

        Raises:
            DataError: `data-not-found`, `data-empty`, or `data-format` with the place.
        """
        where, data = str(path), read_bytes(path)
        if path.suffix == ".parquet":
            return cls(*_from_parquet(data, where), where)
        if path.suffix == ".safetensors":
            vectors = _from_safetensors(data, where)
        elif path.suffix == ".npy":
            vectors = _from_npy(data, where)
        else:
            raise _bad(f"unknown ending {path.suffix!r}.", where)
        return cls(_ids_beside(path), _floats(vectors, where), where)

    def encode(self, catalogue: Catalogue) -> ItemFeatures:
        """Rows of norm 1, zero for the items without a vector, `[items, width]`."""
        places = catalogue.positions(self.item_ids)
        values = np.zeros((len(catalogue), self.vectors.shape[1]), dtype=np.float32)
        values[places[places >= 0]] = unit_rows(self.vectors[places >= 0])
        bare = np.flatnonzero(~values.any(axis=1))
        return ItemFeatures(
            values,
            tuple(catalogue.item_ids[row] for row in bare),
            tuple(i for i, place in zip(self.item_ids, places, strict=True) if place < 0),
        )


def _from_parquet(data: bytes, where: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read(columns=["item_id", "vector"])
        ids = tuple(item or "" for item in table["item_id"].cast(pa.string()).to_pylist())
        vectors = np.array(table["vector"].to_pylist(), dtype=np.float32)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise _bad(f"not such a Parquet file: {error}.", where) from None
    return ids, vectors


def _from_safetensors(data: bytes, where: str) -> NDArray[Any]:
    try:
        return np.asarray(arrays_from_bytes(data, where=where)["vectors"])
    except ArtifactError as error:
        raise _bad(error.message, where) from None
    except KeyError:
        raise _bad("no array `vectors`.", where) from None


def _from_npy(data: bytes, where: str) -> NDArray[Any]:
    try:
        return np.asarray(npy.read_array(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError, TypeError, OverflowError, MemoryError) as error:
        raise _bad(f"not a `.npy` array of numbers: {error}.", where) from None


def _floats(vectors: NDArray[Any], where: str) -> NDArray[np.float32]:
    if vectors.dtype.kind not in "fiu":
        raise _bad(f"an array of {vectors.dtype}, not of numbers.", where)
    return np.asarray(vectors, dtype=np.float32)


def _ids_beside(path: Path) -> tuple[str, ...]:
    beside = path.with_suffix(_IDS)
    try:
        lines = read_bytes(beside).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8: {error}.", str(beside)) from None
    return tuple(line.strip() for line in lines)


def _bad(message: str, where: str) -> DataError:
    return DataError(Code.DATA_FORMAT, message, where=where, remedy=_REMEDY)

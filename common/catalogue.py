"""The public list of items: stable order, metadata, and a version that is its content.

A catalogue is a product file that exists without any log. Deriving one from events tells
who bought something, so it is for simulation only, and marked.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.arrays import Ints
from common.delimited import parse_delimited
from common.errors import Code, DataError
from common.files import read_bytes, write_atomic

__all__ = ["Catalogue", "Source"]

Source: TypeAlias = Literal["product-file", "derived"]
_FORMAT = "hushrec-catalogue/1"
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "item_id": ("itemid", "item", "sku", "productid", "stockcode", "movieid", "asin", "id"),
    "title": ("title", "name", "description", "productname"),
    "category": ("category", "categories", "genres", "genre", "department"),
}


@dataclass(frozen=True)
class Catalogue:
    """The public items of a federation, in the order of all item arrays.

    Attributes:
        item_ids: `[items]`, distinct, not empty.
        metadata: columns of `[items]` strings by name (`title`, `category`, …), empty
            strings where nothing is known. A category may hold several, joined by `|`.
        source: `product-file`, or `derived` from events: simulation only.

    Raises:
        DataError: `catalogue-invalid` for no item, an empty, repeated or unprintable id, or
            a column of another length.
    """

    item_ids: tuple[str, ...]
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: Source = "product-file"

    def __post_init__(self) -> None:
        object.__setattr__(self, "item_ids", tuple(self.item_ids))
        columns = {name: tuple(self.metadata[name]) for name in sorted(self.metadata)}
        object.__setattr__(self, "metadata", MappingProxyType(columns))
        _check(self.item_ids, columns)
        if self.source not in ("product-file", "derived"):
            raise _invalid(f"unknown source {self.source!r}.")

    def __len__(self) -> int:
        return len(self.item_ids)

    def __hash__(self) -> int:
        return hash((self.version, self.source))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.item_ids, dict(self.metadata), self.source)

    @cached_property
    def version(self) -> str:
        """SHA-256 of ids and metadata in canonical JSON, hexadecimal; the source is no part."""
        content = {"item_ids": self.item_ids, "metadata": dict(self.metadata)}
        return hashlib.sha256(_canonical(content)).hexdigest()

    @property
    def categories(self) -> dict[str, str] | None:
        """Category by item id; None when the metadata has no such column."""
        if "category" not in self.metadata:
            return None
        return dict(zip(self.item_ids, self.metadata["category"], strict=True))

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.item_ids, dtype="str")

    def positions(self, item_ids: Iterable[str]) -> Ints:
        """Position of each id in the catalogue, -1 where it is unknown."""
        wanted = item_ids if isinstance(item_ids, pd.Series) else list(item_ids)
        return np.asarray(self._index.get_indexer(pd.Index(wanted, dtype="str")), dtype=np.int64)

    def first(self, count: int) -> Catalogue:
        """The catalogue of the first `count` items: what it was before the others came."""
        columns = {name: values[:count] for name, values in self.metadata.items()}
        return Catalogue(self.item_ids[:count], columns, self.source)

    def begins_with(self, version: str, count: int) -> bool:
        """Whether the first `count` items, in their order and as they are, are that version.

        Then row i of its arrays is item i here, too.
        """
        if count == len(self):
            return version == self.version
        return 0 < count < len(self) and self.first(count).version == version

    def with_more(self, more: Catalogue) -> Catalogue:
        """A catalogue with the items of another one behind those of this, which stay as they are.

        Raises:
            DataError: `catalogue-invalid`, an item is here already, or the columns are others.
        """
        if set(more.metadata) != set(self.metadata):
            theirs, ours = (", ".join(one.metadata) or "none" for one in (more, self))
            raise DataError(
                Code.CATALOGUE_INVALID,
                f"the new items have the columns {theirs}, those of the catalogue are {ours}.",
                where="new items",
                remedy="Give the new items the columns of the old ones, and no others.",
            )
        known = self.positions(more.item_ids) >= 0
        if known.any():
            raise DataError(
                Code.CATALOGUE_INVALID,
                f"{int(known.sum())} of the {len(more)} items are in the catalogue already, "
                f"the first is {more.item_ids[int(known.argmax())]!r}.",
                where="new items",
                remedy="List the new items alone: what is known of an old one cannot change.",
            )
        columns = {name: values + more.metadata[name] for name, values in self.metadata.items()}
        return Catalogue(self.item_ids + more.item_ids, columns, self.source)

    @classmethod
    def of_federation(cls, path: Path) -> Self:
        """The public items of a deployment: `catalogue.json`, or a product file.

        Raises:
            DataError: it cannot be read; `catalogue-invalid`, it was made from events.
        """
        is_ours = path.suffix.lower() == ".json"
        found = cls.load(path) if is_ours else cls.read_product_file(path)
        if found.source == "derived":
            raise DataError(
                Code.CATALOGUE_INVALID,
                "this catalogue was made from somebody's events, and tells who bought what exists.",
                where=str(path),
                remedy="Take the federation's product file.",
            )
        return found

    @classmethod
    def derive(cls, events: pd.DataFrame, metadata: pd.DataFrame | None = None) -> Self:
        """Make a catalogue of the items in events. Simulation only; marked `derived`.

        Args:
            events: anything with a column `item_id`.
            metadata: columns for the items, with a column `item_id`; other items in it are
                left out.

        Returns:
            Items by length of the id, then by id: numbers in their order, and nothing of
            the order of the events.
        """
        found = {str(item) for item in events["item_id"].unique()}
        return cls._from_items(sorted(found, key=lambda item: (len(item), item)), metadata)

    @classmethod
    def _from_items(cls, items: list[str], metadata: pd.DataFrame | None) -> Self:
        columns: dict[str, tuple[str, ...]] = {}
        if metadata is not None:
            known = metadata.drop_duplicates("item_id").set_index("item_id").reindex(items)
            columns = {str(name): _texts(known[name]) for name in known.columns}
        return cls(tuple(items), columns, "derived")

    @classmethod
    def read_product_file(cls, path: Path) -> Self:
        """Read a product file, CSV or Parquet, in the order of its rows.

        The item is the column `item_id` (or `sku`, `product_id`, `StockCode`, `movieId`, …);
        columns like `name` and `genres` become `title` and `category`; others keep their
        names.

        Raises:
            DataError: `data-not-found`, `data-empty`, `data-format`, or `catalogue-invalid`
                with the row, for a missing or repeated id and a line that is no row.
        """
        frame, rows = _product_rows(path)
        frame = _renamed(frame, str(path))
        try:
            columns = {str(name): _texts(frame[name]) for name in frame.columns}
        except UnicodeDecodeError as error:  # bytes of a Parquet file
            raise _invalid(f"not UTF-8: {error}.", str(path)) from None
        item_ids = columns.pop("item_id")
        _check_rows(item_ids, rows, str(path))
        return cls(item_ids, columns, "product-file")

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            DataError: `disk-full` or `data-not-found`.
        """
        content = {
            "format": _FORMAT,
            "version": self.version,
            "source": self.source,
            "item_ids": self.item_ids,
            "metadata": dict(self.metadata),
        }
        write_atomic(path, _canonical(content))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: `data-not-found`, `data-empty`, `catalogue-invalid` when it is not such
                a file, `catalogue-mismatch` when the content is not that of its version.
        """
        try:
            content = json.loads(read_bytes(path))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {_FORMAT!r}")
            made = cls(tuple(content["item_ids"]), dict(content["metadata"]), content["source"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _invalid(f"not a catalogue file: {error!r}.", str(path)) from None
        if made.version != content.get("version"):
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                "the content is not that of the version it names.",
                where=str(path),
                remedy="The file was changed by hand or damaged; take the original.",
            )
        return made


def _canonical(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")


def _check(item_ids: tuple[str, ...], columns: Mapping[str, tuple[str, ...]]) -> None:
    if not item_ids:
        raise _invalid("no items.")
    for values in (item_ids, *columns.values()):
        if not all(isinstance(value, str) for value in values):
            raise _invalid("ids and metadata must be strings.")
        if any("\ud800" <= char <= "\udfff" for char in "".join(values)):
            raise _invalid("ids and metadata must be valid Unicode.")
    _check_rows(item_ids, np.arange(1, len(item_ids) + 1, dtype=np.int64), "items")
    for name, values in columns.items():
        if len(values) != len(item_ids):
            raise _invalid(f"column {name!r} has {len(values)} values, not {len(item_ids)}.")


def _check_rows(item_ids: tuple[str, ...], rows: Ints, where: str) -> None:
    seen: dict[str, int] = {}
    for row, item in zip(rows.tolist(), item_ids, strict=True):
        if not item or item != item.strip():
            raise _invalid(f"item_id: empty, or spaces around it: {item!r}.", f"{where}, row {row}")
        if item in seen:
            problem = f"item_id: {item!r} is already in row {seen[item]}."
            raise _invalid(problem, f"{where}, row {row}")
        seen[item] = row


def _product_rows(path: Path) -> tuple[pd.DataFrame, Ints]:
    data = read_bytes(path)
    if data.startswith(b"PAR1") or path.suffix.lower() == ".parquet":
        try:
            frame = pq.ParquetFile(io.BytesIO(data)).read().to_pandas(ignore_metadata=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _invalid(f"not a Parquet file: {error}.", str(path)) from None
        return frame, np.arange(1, len(frame) + 1, dtype=np.int64)
    table = parse_delimited(data, str(path))
    if table.faults:
        fault = table.faults[0]
        problem = f"{fault.reason}: {fault.value}, in a line that is no row."
        raise _invalid(problem, f"{path}, row {fault.row}")
    return table.frame, table.rows


def _renamed(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    plain = {str(c).lower().replace("_", "").replace(" ", ""): c for c in reversed(frame.columns)}
    names = {}
    for name, aliases in _ALIASES.items():
        found = name if name in frame.columns else None
        found = found or next((plain[alias] for alias in aliases if alias in plain), None)
        if found is not None:
            names[found] = name
    if not frame.columns.is_unique:
        raise _invalid("a column name occurs twice.", where)
    if "item_id" not in names.values():
        columns = ", ".join(map(str, frame.columns))
        raise _invalid(f"no column of item ids; the columns are: {columns}.", where)
    return frame.rename(columns=names)


def _texts(values: pd.Series[Any]) -> tuple[str, ...]:
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    texts = values.astype("str").where(values.notna(), "")
    return tuple(str(text).strip() for text in texts)


def _invalid(message: str, where: str = "") -> DataError:
    remedy = "A catalogue is a file with one row and one distinct id for each item."
    return DataError(Code.CATALOGUE_INVALID, message, where=where, remedy=remedy)

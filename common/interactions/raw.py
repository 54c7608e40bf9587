"""What a reader hands over before anything is checked, and what checking sets aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Ints
from common.catalogue import Catalogue
from common.delimited import Fault
from common.errors import Code, DataError
from common.files import write_atomic

__all__ = ["PublishedSplit", "RawEvents", "Rejected", "raw_from_frame", "raw_from_lines"]


@dataclass(frozen=True)
class PublishedSplit:
    """Held-out items and sampled negatives as their authors published them.

    Attributes:
        user_ids: `[users]`.
        item_ids: `[users]`, the held-out item of each user.
        weights: `[users]`, its rating.
        negatives: `[users, 99]`, item ids as strings (object array).
        own_negatives: how many negatives equal the held-out item of their own user.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    weights: np.ndarray[tuple[int], np.dtype[np.float64]]
    negatives: np.ndarray[tuple[int, int], np.dtype[np.object_]]
    own_negatives: int

    def positions(self, catalogue: Catalogue, user_ids: Sequence[str]) -> tuple[Ints, Ints]:
        """Catalogue positions for `user_ids`: held-out `[users]`, negatives `[users, 99]`.

        A user without a held-out item has -1 everywhere.

        Raises:
            DataError: `catalogue-mismatch` when an item of the split is not in the catalogue.
        """
        wanted = pd.Index(list(user_ids), dtype="str")
        row = pd.Index(self.user_ids, dtype="str").get_indexer(wanted)
        heldout = catalogue.positions(self.item_ids)
        negatives = catalogue.positions(self.negatives.ravel()).reshape(self.negatives.shape)
        if (heldout < 0).any() or (negatives < 0).any():
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                "the published split holds items that the catalogue lacks.",
                remedy="Make the catalogue from the file of the split.",
            )
        absent = row < 0
        return (
            np.where(absent, -1, heldout[row]),
            np.where(absent[:, None], -1, negatives[row]),
        )


@dataclass(frozen=True)
class RawEvents:
    """Rows as a reader found them. Sensitive.

    Attributes:
        frame: raw values in the columns `user_id`, `item_id` and, where there are such,
            `weight` and `datetime`.
        extra: the other columns, same index.
        rows: number of each row in its file, `[rows]`.
        where: the file.
        raw_lines: the rows at given positions as they stood in the file.
        faults: rows that could not even be split into fields.
        time_format: `strptime` format of the times; None for ISO 8601 or seconds since 1970.
        ordered: the times are the order of rows, made up by the reader.
        items: metadata of items with a column `item_id`.
        split: held-out items as published.
    """

    frame: pd.DataFrame
    extra: pd.DataFrame
    rows: Ints
    where: str
    raw_lines: Callable[[Ints], list[str]]
    faults: Sequence[Fault] = ()
    time_format: str | None = None
    ordered: bool = False
    items: pd.DataFrame | None = None
    split: PublishedSplit | None = None


@dataclass(frozen=True)
class Rejected:
    """Rows set aside, each with everything that is wrong with it. Sensitive.

    Attributes:
        faults: columns `row, field, reason, value, raw`, by row; several lines for a row with
            several faults.
        n_rows: rows set aside; a line of `user item item …` is a row for each item.
        total_rows: rows of the file, accepted and set aside.
    """

    faults: pd.DataFrame
    n_rows: int
    total_rows: int

    @property
    def counts(self) -> Mapping[str, int]:
        """Faults by reason, the most frequent first."""
        return {str(k): int(v) for k, v in self.faults["reason"].value_counts().items()}

    def summary(self) -> str:
        """One line for people."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items())
        return f"{self.n_rows} of {self.total_rows} rows set aside" + (
            f": {reasons}." if reasons else "."
        )

    def write(self, path: Path) -> None:
        """Write `faults` as CSV.

        Raises:
            DataError: `disk-full` or `data-not-found`.
        """
        write_atomic(path, self.faults.to_csv(index=False, lineterminator="\n").encode())


@dataclass(frozen=True)
class _FrameLines:
    frame: pd.DataFrame = field(repr=False)

    def __call__(self, positions: Ints) -> list[str]:
        records = self.frame.iloc[positions].to_dict(orient="records")
        return [json.dumps(record, default=str, ensure_ascii=False) for record in records]


def raw_from_frame(
    table: pd.DataFrame, names: Mapping[str, str], where: str, **known: Any
) -> RawEvents:
    """Raw events from a typed table; rows are numbered from 1, without a header.

    Args:
        table: the table.
        names: its column for each of `user_id`, `item_id`, `weight`, `datetime`.
        where: the file.
        known: other attributes of `RawEvents`.
    """
    table = table.reset_index(drop=True)
    frame, extra = _sorted_out(table, names)
    rows = np.arange(1, len(table) + 1, dtype=np.int64)
    return RawEvents(frame, extra, rows, where, _FrameLines(table), **known)


def raw_from_lines(
    table: pd.DataFrame,
    names: Mapping[str, str],
    where: str,
    rows: Ints,
    lines: list[str],
    **known: Any,
) -> RawEvents:
    """Raw events from text.

    Args:
        table: fields as strings.
        names: column of `table` for each of `user_id`, `item_id`, `weight`, `datetime`.
        where: the file.
        rows: line number of each row.
        lines: all lines of the file.
        known: other attributes of `RawEvents`.
    """
    frame, extra = _sorted_out(table, names)

    def raw_lines(positions: Ints) -> list[str]:
        return [lines[row - 1].rstrip("\n") for row in rows[positions].tolist()]

    return RawEvents(frame, extra, rows, where, raw_lines, **known)


def _sorted_out(table: pd.DataFrame, names: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.DataFrame({name: table[column] for name, column in names.items()})
    return frame, table.drop(columns=list(set(names.values())))

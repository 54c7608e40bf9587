"""One small file for each format, and the one function that knows them all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from common.catalogue import Catalogue
from common.errors import Code, DataError
from common.interactions.columns import Columns
from common.interactions.raw import PublishedSplit, RawEvents, Rejected
from common.interactions.readers.base import Reader, Source
from common.interactions.readers.movielens import ML_1M, ML_100K
from common.interactions.readers.ncf import NCF
from common.interactions.readers.recbole import RECBOLE
from common.interactions.readers.retail import RETAIL
from common.interactions.readers.sequences import SEQUENCES
from common.interactions.readers.tables import CSV, PARQUET
from common.interactions.validate import Clock, validate

__all__ = ["READERS", "EventFile", "read_events"]

READERS: tuple[Reader, ...] = (ML_100K, ML_1M, NCF, RETAIL, PARQUET, RECBOLE, SEQUENCES, CSV)
"""All formats; the first that recognises a file reads it."""


@dataclass(frozen=True)
class EventFile:
    """A file of events, read and checked. Sensitive.

    Attributes:
        events: the event table: `user_id, item_id, weight, datetime`.
        extra: other columns of the same rows (`Country`, …), for partitioning.
        rejected: rows set aside.
        clock: `real` times, only the `order` of rows, or `none`: all times are equal, and
            nothing can be called last.
        weighed: the file has weights; else all of them are 1.
        items: what the file says of its items (`item_id`, `title`, `category`, …).
        split: held-out items as published, for the NCF split.
        format: name of the reader.
        path: the file.
    """

    events: pd.DataFrame
    extra: pd.DataFrame
    rejected: Rejected
    clock: Clock
    weighed: bool
    items: pd.DataFrame | None
    split: PublishedSplit | None
    format: str
    path: Path

    @property
    def rated(self) -> pd.DataFrame:
        """The events as a client's log has them: no weight, NaN, where the file has none."""
        return self.events if self.weighed else self.events.assign(weight=np.nan)

    def catalogue(self) -> Catalogue:
        """Derive a catalogue from the events: simulation only, and marked so.

        Items of a published split belong to it even without a training event.
        """
        known = self.events[["item_id"]]
        if self.split is not None and self.items is not None:
            known = pd.concat([known, self.items[["item_id"]]])
        return Catalogue.derive(known, self.items)


def read_events(
    path: Path | str,
    *,
    format: str | None = None,  # noqa: A002 — the option's own name
    columns: Columns | None = None,
    catalogue: Catalogue | None = None,
    now: datetime | None = None,
) -> EventFile:
    """Read and check a file of events; the format is recognised by name and content.

    Args:
        path: CSV, Parquet, MovieLens 100K or 1M zip, NCF zip, UCI Online Retail, RecBole
            `.inter`, or text of `user item item …`.
        format: name of a reader, to be used whatever the file looks like.
        columns: which column is which, for tables; None finds them by their usual names.
        catalogue: items that may occur; None accepts all.
        now: the present, for impossible times; None asks the clock.

    Raises:
        DataError: `data-not-found`; `data-empty` when the file is empty or no row is usable;
            `data-format` when it is none of these formats or damaged.
    """
    source = Source.open(Path(path))
    reader = _reader(source, format)
    raw: RawEvents = reader.read(source, columns or Columns())
    checked = validate(raw, catalogue=catalogue, now=now)
    if not len(checked.events):
        faults = checked.rejected.faults
        first = (
            ""
            if faults.empty
            else (
                f" The first: row {faults['row'][0]}, {faults['field'][0] or 'whole row'}, "
                f"{faults['reason'][0]} {faults['value'][0]!r}."
            )
        )
        raise DataError(
            Code.DATA_EMPTY,
            f"no usable row: {checked.rejected.summary()}{first}",
            where=raw.where,
            remedy="Check that the columns are the right ones.",
        )
    return EventFile(
        checked.events,
        checked.extra,
        checked.rejected,
        checked.clock,
        checked.weighed,
        raw.items,
        raw.split,
        reader.name,
        source.path,
    )


def _reader(source: Source, name: str | None) -> Reader:
    if name is not None:
        found = next((reader for reader in READERS if reader.name == name), None)
        problem = f"unknown format {name!r}"
    else:
        found = next((reader for reader in READERS if reader.recognises(source)), None)
        problem = "no known format; the zip holds " + (", ".join(source.members[:12]) or "nothing")
    if found is None:
        raise DataError(
            Code.DATA_FORMAT,
            f"{problem}.",
            where=source.where,
            remedy=f"Formats: {', '.join(reader.name for reader in READERS)}.",
        )
    return found

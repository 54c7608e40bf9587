"""UCI Online Retail (DOI 10.24432/C5BW33) as Parquet or CSV.

The weight is `Quantity`; returns have a negative one and are set aside, as are rows without
a customer. `Country` and the rest stay extra columns.
"""

from __future__ import annotations

import pandas as pd

from common.interactions.columns import Columns
from common.interactions.raw import RawEvents
from common.interactions.readers.base import Reader, Source
from common.interactions.readers.tables import read_csv, read_parquet

__all__ = ["RETAIL"]

_SIGNS = (b"StockCode", b"InvoiceDate", b"Country")
_US_TIMES = "%m/%d/%Y %H:%M"  # the times of UCI's own CSV: 12/1/2010 8:26


def _recognises(source: Source) -> bool:
    if source.is_zip:
        return False
    place = source.data if source.is_parquet else source.data[:4096].split(b"\n", 1)[0]
    return all(sign in place for sign in _SIGNS)


def _read(source: Source, columns: Columns) -> RawEvents:
    if source.is_parquet:
        raw = read_parquet(source, columns)
    else:
        first = source.head().split("\n", 2)[1:2]
        if columns.datetime_format is None and first and "/" in first[0]:
            columns = columns.model_copy(update={"datetime_format": _US_TIMES})
        raw = read_csv(source, columns)
    if "Description" not in raw.extra:
        return raw
    titles = {"item_id": raw.frame["item_id"].astype("str").str.strip()}
    items = pd.DataFrame({**titles, "title": raw.extra["Description"]})
    items = items.loc[items["title"].notna()].drop_duplicates("item_id")
    return RawEvents(**{**raw.__dict__, "items": items.reset_index(drop=True)})


RETAIL = Reader("online-retail", _recognises, _read)

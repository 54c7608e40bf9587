"""CSV and Parquet tables with a column for each field."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.delimited import parse_delimited
from common.errors import Code, DataError
from common.interactions.columns import Columns, match_columns
from common.interactions.raw import RawEvents, raw_from_frame, raw_from_lines
from common.interactions.readers.base import Reader, Source

__all__ = ["CSV", "PARQUET", "read_csv", "read_parquet"]


def read_csv(source: Source, columns: Columns) -> RawEvents:
    """Read text with a header; comma, tab, semicolon or bar between fields; UTF-8.

    Raises:
        DataError: `data-format` or `data-empty`.
    """
    table = parse_delimited(source.data, source.where)
    names = match_columns(table.frame.columns, columns, source.where)
    return raw_from_lines(
        table.frame,
        names,
        source.where,
        table.rows,
        table.lines,
        faults=table.faults,
        time_format=columns.datetime_format,
    )


def read_parquet(source: Source, columns: Columns) -> RawEvents:
    """Read a Parquet file; rows are numbered from 1.

    Raises:
        DataError: `data-format`.
    """
    table = _loaded(source)
    if not table.columns.is_unique:
        raise _unusable(source, "a column name occurs twice")
    names = match_columns(map(str, table.columns), columns, source.where)
    for field, name in names.items():
        kind = table[name].dtype.kind if isinstance(table[name].dtype, np.dtype) else "U"
        if kind in ("O", "m") or (field == "weight" and _is_time(table[name])):
            raise _unusable(source, f"column {name!r} ({field}) has values of the wrong kind")
    return raw_from_frame(table, names, source.where, time_format=columns.datetime_format)


def _loaded(source: Source) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(io.BytesIO(source.data)).read()
        table.validate(full=True)
        for place, column in enumerate(table.schema):
            values = table.column(place)
            if pa.types.is_dictionary(column.type):
                table = table.set_column(place, column.name, values.cast(column.type.value_type))
            elif pa.types.is_integer(column.type) and values.null_count:
                # As floats, large ids would lose their last digits.
                table = table.set_column(place, column.name, values.cast(pa.string()))
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise _unusable(source, f"not a Parquet file, or a damaged one ({error})") from None
    return frame.rename(columns=str)


def _is_time(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_datetime64_any_dtype(values)


def _unusable(source: Source, problem: str) -> DataError:
    remedy = "Export it again, with one plain column for each field."
    return DataError(Code.DATA_FORMAT, f"{problem}.", where=source.where, remedy=remedy)


PARQUET = Reader("parquet", lambda source: source.is_parquet, read_parquet)
CSV = Reader("csv", lambda source: not source.is_zip, read_csv)

"""RecBole's atomic files `.inter`: tabs, and a header of `name:type`."""

from __future__ import annotations

from common.delimited import parse_delimited
from common.errors import Code, DataError
from common.interactions.columns import Columns, match_columns
from common.interactions.raw import RawEvents, raw_from_lines
from common.interactions.readers.base import Reader, Source

__all__ = ["RECBOLE"]

_TYPES = ("token", "token_seq", "float", "float_seq")


def _recognises(source: Source) -> bool:
    if source.is_zip or source.is_parquet:
        return False
    first = source.head().split("\n", 1)[0].split("\t")
    return source.suffix == ".inter" or all(
        name.partition(":")[2].strip() in _TYPES for name in first
    )


def _read(source: Source, columns: Columns) -> RawEvents:
    table = parse_delimited(source.data, source.where, delimiter="\t", quoted=False)
    plain: dict[str, str] = {}
    for name in table.frame.columns:
        field, _, kind = name.partition(":")
        if kind not in _TYPES or field in plain.values():
            raise DataError(
                Code.DATA_FORMAT,
                f"header: {name!r} is not a distinct `name:type` with one of {', '.join(_TYPES)}.",
                where=f"{source.where}, row 1",
                remedy="The first line of an .inter file is like user_id:token\titem_id:token.",
            )
        plain[name] = field
    frame = table.frame.rename(columns=plain)
    names = match_columns(frame.columns, columns, source.where)
    return raw_from_lines(
        frame,
        names,
        source.where,
        table.rows,
        table.lines,
        faults=table.faults,
        time_format=columns.datetime_format,
    )


RECBOLE = Reader("recbole", _recognises, _read)

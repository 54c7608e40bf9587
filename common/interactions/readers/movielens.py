"""MovieLens 100K and 1M, as GroupLens zips them (https://grouplens.org/datasets/movielens/)."""

from __future__ import annotations

from functools import partial

import pandas as pd

from common.delimited import parse_delimited
from common.interactions.columns import Columns
from common.interactions.raw import RawEvents, raw_from_lines
from common.interactions.readers.base import Reader, Source

__all__ = ["ML_1M", "ML_100K"]

_FIELDS = ("user_id", "item_id", "weight", "datetime")


def _ratings(source: Source, suffix: str, delimiter: str, items: pd.DataFrame | None) -> RawEvents:
    where = f"{source.where}:{suffix}"
    table = parse_delimited(
        source.member(suffix), where, names=_FIELDS, delimiter=delimiter, quoted=False
    )
    names = {name: name for name in _FIELDS}
    return raw_from_lines(
        table.frame, names, where, table.rows, table.lines, faults=table.faults, items=items
    )


def _read_100k(source: Source, columns: Columns) -> RawEvents:  # noqa: ARG001 — fixed columns
    items = _items_100k(source) if source.has_member("u.item") else None
    return _ratings(source, "u.data", "\t", items)


def _read_1m(source: Source, columns: Columns) -> RawEvents:  # noqa: ARG001 — fixed columns
    items = _items_1m(source) if source.has_member("movies.dat") else None
    return _ratings(source, "ratings.dat", "::", items)


def _items_1m(source: Source) -> pd.DataFrame:
    names = ("item_id", "title", "category")
    where = f"{source.where}:movies.dat"
    return parse_delimited(
        source.member("movies.dat"),
        where,
        names=names,
        delimiter="::",
        quoted=False,
        encoding="latin-1",
    ).frame


def _items_100k(source: Source) -> pd.DataFrame:
    parse = partial(parse_delimited, delimiter="|", quoted=False, encoding="latin-1")
    genres = (
        parse(source.member("u.genre"), f"{source.where}:u.genre", names=("genre", "number"))
        .frame["genre"]
        .tolist()
        if source.has_member("u.genre")
        else []
    )
    names = ("item_id", "title", "released", "video", "url", *genres)
    table = parse(source.member("u.item"), f"{source.where}:u.item", names=names).frame
    category = pd.Series("", index=table.index, dtype="str")
    for genre in genres:
        category = category.where(table[genre] != "1", category + "|" + genre)
    items = table[["item_id", "title"]].assign(category=category.str.removeprefix("|"))
    return items.loc[items["item_id"] != ""]


ML_100K = Reader("ml-100k", lambda source: source.has_member("u.data"), _read_100k)
ML_1M = Reader("ml-1m", lambda source: source.has_member("ratings.dat"), _read_1m)

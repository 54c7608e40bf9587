"""The leave-one-out split of He et al. 2017 (Neural Collaborative Filtering), zipped.

`*.train.rating` and `*.test.rating` have a line `user item rating time`, separated by
tabs; `*.test.negative` a line `(user,item)` and the negatives of that user.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from common.delimited import decode_lines, parse_delimited
from common.errors import Code, DataError
from common.interactions.columns import Columns
from common.interactions.raw import PublishedSplit, RawEvents, raw_from_lines
from common.interactions.readers.base import Reader, Source

__all__ = ["NCF"]

_FIELDS = ("user_id", "item_id", "weight", "datetime")


def _read(source: Source, columns: Columns) -> RawEvents:  # noqa: ARG001 — fixed columns
    where = f"{source.where}:train.rating"
    table = parse_delimited(
        source.member(".train.rating"), where, names=_FIELDS, delimiter="\t", quoted=False
    )
    split = _split(source)
    known = [table.frame["item_id"], pd.Series(split.item_ids, dtype="str")]
    negatives = pd.Series(split.negatives.ravel(), dtype="str")
    items = pd.concat([*known, negatives]).drop_duplicates().to_frame("item_id")
    names = {name: name for name in _FIELDS}
    return raw_from_lines(
        table.frame,
        names,
        where,
        table.rows,
        table.lines,
        faults=table.faults,
        items=_with_originals(source, items.reset_index(drop=True)),
        split=split,
    )


def _split(source: Source) -> PublishedSplit:
    """Read the held-out items; they are what was published, so a bad line is an error."""
    where = f"{source.where}:test.rating"
    test = parse_delimited(
        source.member(".test.rating"), where, names=_FIELDS, delimiter="\t", quoted=False
    )
    if test.faults:
        raise _bad(where, test.faults[0].row, test.faults[0].value)
    weights = pd.to_numeric(test.frame["weight"], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(weights).all():
        row = int(test.rows[np.argmin(np.isfinite(weights))])
        raise _bad(where, row, "the rating is no number")
    users, items = tuple(test.frame["user_id"]), tuple(test.frame["item_id"])
    if len(set(users)) != len(users):
        raise _bad(where, 1, "a user has two held-out items")
    negatives = _negatives(source, list(zip(users, items, strict=True)))
    own = (negatives == np.array(items, dtype=object)[:, None]).sum()
    return PublishedSplit(users, items, weights, negatives, int(own))


def _negatives(
    source: Source, pairs: list[tuple[str, str]]
) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    where = f"{source.where}:test.negative"
    lines, faults = decode_lines(source.member(".test.negative"), where)
    if faults:
        raise _bad(where, faults[0].row, faults[0].value)
    rows = [line.split() for line in lines if line.strip()]
    if len(rows) != len(pairs):
        raise _bad(where, len(rows), f"{len(rows)} lines for {len(pairs)} held-out items")
    for number, (row, (user, item)) in enumerate(zip(rows, pairs, strict=True), start=1):
        if row[0] != f"({user},{item})":
            raise _bad(where, number, f"starts with {row[0]!r}, expected ({user},{item})")
        if len(row) != len(rows[0]):
            problem = f"{len(row) - 1} negatives, {len(rows[0]) - 1} in the first line"
            raise _bad(where, number, problem)
    return np.array([row[1:] for row in rows], dtype=object).reshape(len(rows), -1)


def _with_originals(source: Source, items: pd.DataFrame) -> pd.DataFrame:
    """MovieLens' own ids beside the items where the zip has the map."""
    if not source.has_member("item_map.csv"):
        return items
    table = parse_delimited(source.member("item_map.csv"), f"{source.where}:item_map.csv").frame
    if len(table.columns) != 2:
        return items
    table.columns = pd.Index(["item_id", "movielens_id"])
    return items.merge(table.drop_duplicates("item_id"), on="item_id", how="left")


def _bad(where: str, row: int, problem: str) -> DataError:
    return DataError(
        Code.DATA_FORMAT,
        f"{problem}.",
        where=f"{where}, row {row}",
        remedy="The three files of the split must be those published together.",
    )


NCF = Reader("ncf", lambda source: source.has_member(".train.rating"), _read)

"""Which column of a file is which field of an event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.config import Settings
from common.errors import Code, DataError

__all__ = ["Columns", "match_columns"]

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("userid", "user", "customerid", "customer", "uid", "reviewerid", "memberid"),
    "item_id": (
        *("itemid", "item", "productid", "product", "stockcode", "sku", "movieid", "asin"),
        *("articleid", "iid"),
    ),
    "weight": ("weight", "rating", "ratings", "score", "stars", "strength", "quantity"),
    "datetime": (
        *("datetime", "timestamp", "time", "date", "invoicedate", "eventtime", "createdat"),
        *("unixreviewtime", "orderdate"),
    ),
}


class Columns(Settings):
    """Names of columns in a file. A field left out is found by its usual names."""

    user_id: str | None = None
    """Column of users; else `user_id`, `user`, `CustomerID`, …"""
    item_id: str | None = None
    """Column of items; else `item_id`, `item`, `StockCode`, `movieId`, `asin`, …"""
    weight: str | None = None
    """Column of weights; else `weight`, `rating`, `score`, `Quantity`, …; without any, 1."""
    datetime: str | None = None
    """Column of times; else `datetime`, `timestamp`, `InvoiceDate`, …; without any, the order
    of rows is the time."""
    datetime_format: str | None = None
    """`strptime` format of times; else ISO 8601 or numbers since 1970."""


def match_columns(found: Iterable[str], columns: Columns, where: str) -> dict[str, str]:
    """Find the column of the file for each field that it has.

    Case, spaces, `_` and `-` do not matter. Where several names fit, the first in the list of
    names wins and the others stay extra columns.

    Raises:
        DataError: `data-format` when a named column, the users or the items are missing.
    """
    names = list(found)
    plain = {_plain(name): name for name in reversed(names)}
    matched = {}
    for field, aliases in _ALIASES.items():
        wanted = getattr(columns, field)
        if wanted is None:
            wanted = next((plain[alias] for alias in aliases if alias in plain), None)
        elif wanted not in names:
            raise _missing(field, f"no column {wanted!r}", names, where)
        if wanted is not None:
            matched[field] = wanted
    for field in ("user_id", "item_id"):
        if field not in matched:
            raise _missing(field, "no such column", names, where)
    if len(set(matched.values())) < len(matched):
        raise _missing("columns", "one column is named for two fields", names, where)
    return matched


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _missing(field: str, problem: str, names: list[str], where: str) -> DataError:
    listed = ", ".join(map(repr, names[:20]))
    return DataError(
        Code.DATA_FORMAT,
        f"{field}: {problem}; the first line or schema has {listed or 'nothing'}.",
        where=where,
        remedy="Give the file a header, or say which column is which.",
    )

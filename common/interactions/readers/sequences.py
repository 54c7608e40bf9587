"""Text with a line `user item item …` for each user, items in time order, no times.

What is known of the items may lie beside it: `NAME.attributes.json`, an object with a list of
labels for each item.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from common.delimited import Fault, decode_lines
from common.errors import Code, DataError
from common.files import read_bytes
from common.interactions.columns import Columns
from common.interactions.raw import RawEvents, raw_from_lines
from common.interactions.readers.base import Reader, Source

__all__ = ["SEQUENCES"]

_BESIDE: Final = ".attributes.json"


def _recognises(source: Source) -> bool:
    if source.is_zip or source.suffix not in (".txt", ".seq", ""):
        return False
    lines = [line for line in source.head().split("\n")[:-1] if line.strip()][:20]
    lines = lines or source.head().split("\n")[:1]
    if lines[0].casefold().startswith("user"):
        return False  # a header
    if any(sign in line for line in lines for sign in "\t,;|"):
        return False
    return 2 * sum(len(line.split()) > 1 for line in lines) > len(lines)


def _read(source: Source, columns: Columns) -> RawEvents:  # noqa: ARG001 — no columns
    lines, faults = decode_lines(source.data, source.where)
    users: list[str] = []
    items: list[str] = []
    rows: list[int] = []
    places: list[int] = []
    for row, line in enumerate(lines, start=1):
        user, *rest = line.split() or ("",)
        if user and not rest:
            faults.append(Fault(row, "item_id", "missing", "", line.rstrip("\n")))
        users.extend([user] * len(rest))
        items.extend(rest)
        rows.extend([row] * len(rest))
        places.extend(range(len(rest)))
    seconds = np.array(places, dtype=np.int64).view("datetime64[s]")
    times = pd.Series(seconds.astype("datetime64[us]")).dt.tz_localize("UTC")
    table = pd.DataFrame(
        {
            "user_id": pd.Series(users, dtype="str"),
            "item_id": pd.Series(items, dtype="str"),
            "datetime": times,
        }
    )
    names = {name: name for name in table.columns}
    numbers = np.array(rows, dtype=np.int64)
    return raw_from_lines(
        table,
        names,
        source.where,
        numbers,
        lines,
        faults=faults,
        ordered=True,
        items=_attributes(source.path.with_suffix(_BESIDE)),
    )


def _attributes(path: Path) -> pd.DataFrame | None:
    """Labels of items, joined by `|`; None without such a file.

    Raises:
        DataError: `data-format` when it is something else.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(read_bytes(path))
        labels = {item: "|".join(map(_label, found)) for item, found in content.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(
            Code.DATA_FORMAT,
            f"not an object with a list of labels for each item: {error}.",
            where=str(path),
            remedy="Mend it, or take it away: events can be read without it.",
        ) from None
    columns = {"item_id": list(labels), "attributes": list(labels.values())}
    return pd.DataFrame(columns, dtype="str")


def _label(label: object) -> str:
    """One label as text: a number or a word."""
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise TypeError(f"{label!r} is no label")
    return str(label).replace("|", " ").strip()


SEQUENCES = Reader("sequences", _recognises, _read)

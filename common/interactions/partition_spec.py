"""`column:NAME | hash | dirichlet:ALPHA | sizes:FILE`, as the command line has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd

from common.delimited import decode_lines
from common.errors import Code, DataError
from common.files import read_bytes
from common.interactions.partition import Partition, by_column, by_hash, by_sizes, dirichlet

__all__ = ["PartitionSpec", "make_partition", "parse_partition", "read_sizes"]

Kind: TypeAlias = Literal["column", "hash", "dirichlet", "sizes"]


@dataclass(frozen=True)
class PartitionSpec:
    """How to deal users out.

    Attributes:
        kind: which of the four.
        column: name of the column, for `column`.
        alpha: concentration, for `dirichlet`.
        sizes: users of each client, for `sizes`.
        names: names of the clients, for `sizes`, empty for numbers.
        text: the specification as it was written.
    """

    kind: Kind
    text: str
    column: str = ""
    alpha: float = 0.0
    sizes: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def parse_partition(text: str) -> PartitionSpec:
    """Read a specification; `sizes:FILE` reads the file.

    Raises:
        DataError: `data-partition`, or `data-not-found` for the file of sizes.
    """
    kind, colon, rest = text.strip().partition(":")
    if kind == "hash" and not colon:
        return PartitionSpec("hash", text)
    if kind == "column" and rest:
        return PartitionSpec("column", text, column=rest)
    if kind == "dirichlet" and rest:
        return PartitionSpec("dirichlet", text, alpha=_positive(rest))
    if kind == "sizes" and rest:
        sizes, names = read_sizes(Path(rest))
        return PartitionSpec("sizes", text, sizes=sizes, names=names)
    raise _bad(f"{text!r} is no partition.", "--partition")


def read_sizes(path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Sizes and names of shops, one on a line: `755`, or `Lisbon,755`; `#` begins a comment.

    Returns:
        Sizes, and names or nothing when no line has one.

    Raises:
        DataError: `data-not-found`, `data-empty`, or `data-partition` with the row.
    """
    lines, faults = decode_lines(read_bytes(path), str(path))
    if faults:
        raise _bad("not UTF-8.", f"{path}, row {faults[0].row}")
    sizes: list[int] = []
    names: list[str] = []
    for row, line in enumerate(lines, start=1):
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        name, _, size = content.rpartition(",")
        # isdecimal alone accepts digits of other scripts, which int() reads as well: fine.
        if not size.strip().isdecimal() or not 0 < len(size.strip()) < 10 or int(size) < 1:
            raise _bad(f"{content!r} is not a size of at least 1.", f"{path}, row {row}")
        sizes.append(int(size))
        names.append(name.strip())
    if not sizes or (any(names) and (not all(names) or len(set(names)) != len(names))):
        raise _bad("no sizes, or names that are missing or repeated.", str(path))
    return tuple(sizes), tuple(names) if any(names) else ()


def make_partition(
    spec: PartitionSpec,
    events: pd.DataFrame,
    extra: pd.DataFrame,
    *,
    clients: int,
    seed: int,
    categories: Mapping[str, str] | None = None,
    min_users: int = 1,
) -> Partition:
    """Deal the users of `events` out.

    Args:
        spec: how.
        events: an event table.
        extra: further columns of the same rows.
        clients: how many, for `hash` and `dirichlet`; the others know themselves.
        seed: of the draws.
        categories: category by item id, for `dirichlet`.
        min_users: regions with fewer are joined, for `column`.

    Raises:
        DataError: `data-partition`.
    """
    if spec.kind == "hash":
        return by_hash(events, clients)
    if spec.kind == "dirichlet":
        return dirichlet(events, clients, spec.alpha, seed, categories)
    if spec.kind == "sizes":
        return by_sizes(events, spec.sizes, seed, spec.names or None)
    if spec.column not in extra:
        known = ", ".join(map(str, extra.columns)) or "none"
        raise _bad(f"no column {spec.column!r}; there are: {known}.", "--partition")
    return by_column(events, extra[spec.column], min_users=min_users)


def _positive(text: str) -> float:
    try:
        alpha = float(text)
    except ValueError:
        raise _bad(f"{text!r} is not a number.", "--partition dirichlet:ALPHA") from None
    if not 0 < alpha < float("inf"):
        raise _bad(f"alpha must be positive and finite, not {text}.", "--partition")
    return alpha


def _bad(message: str, where: str) -> DataError:
    return DataError(
        Code.DATA_PARTITION,
        message,
        where=where,
        remedy="Use column:NAME, hash, dirichlet:ALPHA or sizes:FILE.",
    )

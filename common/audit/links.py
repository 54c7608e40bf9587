"""Which rows of a chain were edited, dropped, moved, doubled or put in: by number and hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from common.privacy.ledger import BEFORE_ALL, PlainRow

__all__ = ["LinkFault", "LinkWhat", "link_faults"]

LinkWhat: TypeAlias = Literal["edited", "dropped", "reordered", "duplicated", "inserted"]


class LinkFault(NamedTuple):
    """One row that is not where it belongs, or not what it was."""

    row: int
    """Number of the row."""
    what: LinkWhat
    """What happened to it."""
    says: str
    """In a sentence that begins with the row."""


def link_faults(rows: Sequence[PlainRow]) -> Iterator[LinkFault]:
    """What is wrong with the links of a chain, each fault once.

    A row is known by its hash, so that a fault does not make faults of all that follow: after
    a gap the chain is taken up where it goes on. One of a row's numbers is named: that of
    the row which is missing, moved, doubled or no longer what the next one was written after.
    """
    here = {row.seq for row in rows}
    seen: set[str] = set()
    numbers: set[int] = set()
    expected, previous = 0, BEFORE_ALL  # the hash is unknown after a row that was edited
    for row in rows:
        if not row.intact:
            yield LinkFault(expected, "edited", "does not have the hash that it carries")
        elif row.hash in seen:
            yield LinkFault(row.seq, "duplicated", "is there twice")
            continue
        elif row.seq < expected:
            if row.seq < 0:
                yield LinkFault(row.seq, "inserted", "has a number that no row has")
            elif row.seq in numbers:
                yield LinkFault(row.seq, "inserted", "has a second row with its number")
            seen.add(row.hash)
            numbers.add(row.seq)
            continue  # else it was missed where it belongs, and named there
        elif row.seq > expected and expected in here:
            yield LinkFault(expected, "reordered", "stands after rows that were written later")
        elif row.seq > expected:
            last = row.seq - 1
            says = "is missing" if last == expected else f"and all up to row {last} are missing"
            yield LinkFault(expected, "dropped", says)
        elif previous and row.prev != previous:
            replaced = max(0, expected - 1)
            yield LinkFault(replaced, "edited", "is not the one that the next was written after")
        at = row.seq if row.intact else expected
        seen.add(row.hash)
        numbers.add(at)
        expected, previous = at + 1, row.hash if row.intact else ""

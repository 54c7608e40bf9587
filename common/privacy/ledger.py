"""The hash chain of the privacy ledger. Pure: no disk, no clock.

Every row hashes its own content with the hash of the row before it; the first is bound to a
client, a data set and the key that signs heads. Nothing gives budget back: what is in force
is every reservation, spent or not, and what open jobs still hold (`ledger_index`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from common.errors import Code, LedgerError
from common.privacy.ledger_rows import (
    BEFORE_ALL,
    KINDS,
    Kind,
    PlainRow,
    Row,
    next_row,
    open_row,
    read_text,
    row_hash,
    row_text,
)

__all__ = [
    "ANSWERS",
    "BEFORE_ALL",
    "KINDS",
    "RESTORE",
    "Chain",
    "Kind",
    "Meaning",
    "PlainRow",
    "Problem",
    "Row",
    "broken",
    "charges",
    "check_owner",
    "next_row",
    "open_row",
    "read_text",
    "row_hash",
    "row_text",
    "verify",
]


ANSWERS: Final = frozenset({"admit", "reserve", "spend", "agree"})
"""Kinds that a ledger which was rolled back takes no more."""
RESTORE: Final = (
    "Restore a backup only if it has the last head that any server or officer holds;"
    " otherwise count the budget as spent."
)
"""What to do with a ledger that is broken: an older one counts too little."""
What: TypeAlias = Literal["opening", "time-backwards", "halted", "unreserved", "agreed-twice"]


class Problem(NamedTuple):
    """What is wrong with a row, in a word and in a sentence that begins with the row."""

    what: What
    says: str


class Meaning:
    """Takes rows in order and says where one cannot follow those before it.

    Attributes:
        time: of the last row.
    """

    def __init__(self) -> None:
        self.time = ""
        self._reserved: set[int] = set()
        self._agreed: dict[str, object] = {}
        self._halted = False

    def add(self, row: Row | PlainRow) -> Problem | None:
        """Take the next row; what is wrong with it, None if nothing is."""
        before, self.time = self.time, max(self.time, row.time)
        if (row.kind == "open") != (row.seq == 0):
            return Problem("opening", "is not what a ledger begins with, and may not be elsewhere")
        if row.time < before:
            return Problem("time-backwards", f"goes back in time, from {before} to {row.time}")
        if row.kind in ANSWERS and self._halted:
            return Problem("halted", "answers after the ledger was found to be rolled back")
        if row.kind == "reserve":
            self._reserved.add(row.seq)
        elif row.kind == "halt":
            self._halted = True
        elif row.kind == "spend":
            return self._spend(row.body.get("reservation"))
        elif row.kind == "agree":
            return self._agree(row.body)
        return None

    def _spend(self, reservation: object) -> Problem | None:
        if not isinstance(reservation, int) or reservation not in self._reserved:
            return Problem("unreserved", "spends what was never reserved, or spends it twice")
        self._reserved.remove(reservation)
        return None

    def _agree(self, body: Mapping[str, object]) -> Problem | None:
        session = repr([body.get(name) for name in ("job_id", "step", "session")])
        survivors = body.get("survivors")
        if self._agreed.setdefault(session, survivors) != survivors:
            return Problem("agreed-twice", "agrees to a second list of survivors for one sum")
        return None


class Chain:
    """Takes a ledger's rows one after another and says what is wrong with the next.

    Attributes:
        length: rows taken so far; the position of the next one.
        head: hash of the last row, empty where it is not known.
    """

    def __init__(self) -> None:
        self.length = 0
        self.head = BEFORE_ALL
        self._meaning = Meaning()

    def add(self, row: Row | PlainRow, *, intact: bool) -> str | None:
        """Take a row; what is wrong with it, None if nothing is. Nothing follows a bad one."""
        if row.seq != self.length:
            return f"carries number {row.seq}: rows are missing or out of order"
        if self.head and row.prev != self.head:
            return "does not continue the row before it"
        if not intact:
            return "does not have the hash that it carries: it was edited"
        problem = self._meaning.add(row)
        if problem is not None:
            return problem.says
        self.length, self.head = row.seq + 1, row.hash
        return None

    def resume(self, seq: int, row: Row | PlainRow | None = None) -> None:
        """Go on after the bad row at `seq`, so that more can be found; None is an unreadable one.

        What follows a row whose hash is not known is not held to it.
        """
        self.length, self.head = seq + 1, ""
        if row is not None:
            self.head = row.hash
            self._meaning.add(row)


def verify(
    rows: Sequence[Row],
    *,
    client: str | None = None,
    dataset_id: str | None = None,
    head: str | None = None,
) -> None:
    """Check the whole chain, and whose it is where that is given.

    Finds a row edited, dropped, reordered, duplicated or inserted, a spend without its
    reservation, and time that goes back. Rows cut off at the end leave a consistent ledger:
    only a later head that somebody else holds shows that.

    Args:
        rows: all rows in order.
        client: the client that the ledger must belong to.
        dataset_id: the data set that it must belong to.
        head: a hash that somebody else holds; some row must have it.

    Raises:
        LedgerError: `ledger-broken`, naming the first bad row, or `ledger-foreign`.
    """
    chain = Chain()
    for row in rows:
        problem = chain.add(row, intact=row_hash(row) == row.hash)
        if problem is not None:
            raise broken(chain.length, problem)
    if not rows:
        raise broken(0, "is missing: the ledger is empty")
    check_owner(rows[0].body, client, dataset_id)
    if head is not None and all(row.hash != head for row in rows):
        raise broken(len(rows), "is missing: a head that was seen before is not here")


def charges(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Events in force, as stored: those of every reservation, with or without its bytes."""
    return [row.body["event"] for row in rows if row.kind == "reserve"]


def check_owner(opening: Mapping[str, Any], client: str | None, dataset_id: str | None) -> None:
    """Hold the body of an `open` row to whose ledger it must be.

    Raises:
        LedgerError: `ledger-foreign`.
    """
    for name, expected in (("client", client), ("dataset_id", dataset_id)):
        if expected is not None and opening.get(name) != expected:
            raise LedgerError(
                Code.LEDGER_FOREIGN,
                f"it belongs to {name} {opening.get(name)!r}, not to {expected!r}.",
                where="ledger",
                remedy="Put the client's own ledger back; never start with another's.",
            )


def broken(position: int, what: str) -> LedgerError:
    """What `verify` raises about the row at `position`."""
    return LedgerError(
        Code.LEDGER_BROKEN,
        f"row {position} {what}.",
        where="ledger",
        remedy=RESTORE,
    )

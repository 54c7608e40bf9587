"""Everything that can be wrong with a ledger file, one thing after another, to the end.

Guarantee:
    What is checked: every row against the one before it; the signature under the last; every
    release against its `spend` and `reserve` rows (bytes, request, job, step, session, and the
    head that left with it); every receipt against the row that it is about, and the signatures
    of each server's newest; every derived table against the rows and against its own sum; the
    tables, indexes and triggers of the file. The signature under the head of a release is
    checked when the release is replayed, not here: there is one for every release.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import ValidationError

from client.ledger_file import broken_file
from client.ledger_index import LedgerIndex
from client.ledger_receipts import ReceiptTable
from client.ledger_schema import found_in, misfits, stale
from common.errors import LedgerError
from common.privacy.heads import SignedHead
from common.privacy.ledger import Chain
from common.privacy.ledger_index import Derived
from common.privacy.ledger_rows import PlainRow, read_own_text

__all__ = ["Checks", "chained", "exact"]

_ROWS: Final = "SELECT seq, kind, CAST(row AS BLOB) FROM ledger ORDER BY seq"
_RELEASES: Final = (
    "SELECT job_id, step, session, request_hash, spend_seq, head, bytes FROM release"
    " ORDER BY spend_seq"
)
_NAMES: Final = ("job_id", "step", "session", "request_hash")


_Reserved: TypeAlias = tuple[tuple[object, ...], bool]
"""Of a `reserve` row: job, step, session and request; whether its sums are exact."""
_Spent: TypeAlias = tuple[str, object, _Reserved]
"""Of a `spend` row: its hash, that of the bytes, and its reservation. There may be hundreds of
thousands: plain tuples are what the collector passes over."""


def chained(
    connection: sqlite3.Connection, path: Path
) -> Iterator[tuple[PlainRow | None, LedgerError | None]]:
    """All rows in order, each with what is wrong with it; None for one that cannot be read."""
    chain = Chain()
    for seq, kind, text in connection.execute(_ROWS):
        try:
            row = read_own_text(text.decode())
        except (ValueError, RecursionError):
            chain.resume(seq)
            yield None, broken_file(f"row {seq} cannot be read", path)
            continue
        at, problem = chain.length, chain.add(row, intact=row.intact)
        if problem is None and (seq, kind) != (row.seq, row.kind):
            problem = "is filed under another number or kind"
        if problem is None:
            yield row, None
        else:
            chain.resume(seq, row)
            yield row, broken_file(f"row {at} {problem}", path)


def exact(reserve: PlainRow | None) -> bool:
    """Whether a reservation is of exact sums, whose bytes need not be kept."""
    event = None if reserve is None else reserve.body.get("event")
    return isinstance(event, dict) and event.get("kind") == "no-privacy"


class Checks:
    """Checks one file in the snapshot that is open.

    Args:
        connection: the file.
        path: where it is.
        index: its derived tables.
        receipts: its receipts.
        key: the ledger's public key.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        index: LedgerIndex,
        receipts: ReceiptTable,
        key: str,
    ) -> None:
        self._connection = connection
        self._path = path
        self._index = index
        self._receipts = receipts
        self._key = key
        self._reserves: dict[int, _Reserved] = {}
        self._spends: dict[int, _Spent] = {}
        self._derived = Derived()
        self._last: PlainRow | None = None

    def problems(self) -> Iterator[LedgerError]:
        """What is wrong, rows first."""
        whole = True
        for problem in self._rows():
            whole = False
            yield problem
        yield from self._tip()
        schema = found_in(self._connection)
        said = [*misfits(schema), *self._releases(), *self._receipts.misfits()]
        if stale(schema):
            said.append("a derived table is missing, or not what this version writes")
        elif whole:
            said += self._tables()
        for what in said:
            yield broken_file(what, self._path)

    def _rows(self) -> Iterator[LedgerError]:
        for row, problem in chained(self._connection, self._path):
            self._last = row
            if problem is not None:
                yield problem
            elif row is not None:
                try:
                    self._take(row)
                except LedgerError as error:
                    yield error

    def _take(self, row: PlainRow) -> None:
        if row.kind == "reserve":
            self._reserves[row.seq] = tuple(map(row.body.get, _NAMES)), exact(row)
        elif row.kind == "spend":
            kept = self._reserves.pop(row.body["reservation"], ((), False))
            self._spends[row.seq] = row.hash, row.body.get("release_sha256"), kept
        self._derived.add(row)

    def _tip(self) -> Iterator[LedgerError]:
        found = self._connection.execute("SELECT head FROM tip").fetchone()
        try:
            head = SignedHead.model_validate_json("" if found is None else found[0])
        except ValidationError:
            yield broken_file("the signed head is missing or cannot be read", self._path)
            return
        last = self._last
        if last is None or (head.seq, head.hash) != (last.seq, last.hash):
            yield broken_file(f"the signed head, of row {head.seq}, is not the end", self._path)
        try:
            head.check(self._key)
        except LedgerError as error:
            yield error

    def _releases(self) -> Iterator[str]:
        missing = self._spends.copy()
        for *names, seq, head, payload in self._connection.execute(_RELEASES):
            spend = missing.pop(seq, None)
            if spend is None:
                yield f"a release is filed under row {seq}, which spends nothing that holds"
            else:
                yield from self._release(seq, spend, tuple(names), head, payload)
        for seq in missing:
            yield f"row {seq} spends, and its release is not here"

    def _release(
        self, seq: int, spend: _Spent, names: tuple[object, ...], text: str, payload: bytes
    ) -> Iterator[str]:
        row_hash, release_sha256, (reserved, is_exact) = spend
        charged = hashlib.sha256(payload).hexdigest() == release_sha256
        if not charged and (payload or not is_exact):
            yield f"the release of row {seq} does not have the bytes that were charged for"
        for name, value, said in zip(_NAMES, names, reserved or names, strict=True):
            if said is not None and said != value:
                yield f"the release of row {seq} has another {name} than was reserved"
        try:
            head = SignedHead.model_validate_json(text)
        except ValidationError:
            yield f"the head of the release of row {seq} cannot be read"
            return
        if (head.seq, head.hash, head.key) != (seq, row_hash, self._key):
            yield f"the release of row {seq} has the head of another row or ledger"

    def _tables(self) -> Iterator[str]:
        same = True
        for difference in self._index.differences(self._derived):
            same = False
            yield difference
        if same and self._last is not None and not self._index.is_current(self._last):
            yield "the derived tables do not have the sum that was kept with the last row"

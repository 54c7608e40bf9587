"""Reading a ledger file: its rows, what they amount to, what was released, who saw it."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from client.ledger_checks import Checks, chained, exact
from client.ledger_file import broken_file, guarded, in_transaction
from client.ledger_index import LedgerIndex
from client.ledger_receipts import ReceiptTable
from common.errors import Code, LedgerError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger_index import AdmittedJob, admitted_job
from common.privacy.ledger_rows import Kind, PlainRow, Row, read_own_text

__all__ = ["Key", "LedgerReader", "StoredRelease"]

_MOST: Final = 100
"""Findings that are listed; one edit can make thousands."""


@dataclass(frozen=True)
class Key:
    """What makes two requests the same: HushRec's job, step and session, not Flower's run."""

    job_id: str
    step: int
    session: int


@dataclass(frozen=True)
class StoredRelease:
    """A release as it left, or will leave, the client."""

    request_hash: str
    head: SignedHead
    payload: bytes


class LedgerReader:
    """One client's ledger file, as far as it is read."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._index = LedgerIndex(connection, path)
        self._receipts = ReceiptTable(connection)
        self._public = ""

    @property
    def path(self) -> Path:
        """The file, in the client's folder."""
        return self._path

    @property
    def head(self) -> str:
        """Hash of the last row."""
        return self.signed_head().hash

    def signed_head(self) -> SignedHead:
        """The last row's number and hash, signed when it was written."""
        with guarded(self._path):
            found = self._connection.execute("SELECT head FROM tip").fetchone()
        if found is None:
            raise broken_file("the signed head is missing", self._path)
        return self._head(found[0])

    def day(self, today: date) -> date:
        """The day that counts: `today`, or that of the last row where a clock was set back."""
        last = self._last()
        return today if last is None else max(today, date.fromisoformat(last.time[:10]))

    def rows(self, kind: Kind | None = None, *, lenient: bool = False) -> list[Row]:
        """All rows in order, or those of one kind.

        Args:
            kind: of which kind; None is all.
            lenient: leave out rows that cannot be read or were edited; `findings` names them.

        Raises:
            LedgerError: `ledger-broken`, a row cannot be read; it is named.
        """
        where = "" if kind is None else " WHERE kind = ?"
        query = f"SELECT seq, row FROM ledger{where} ORDER BY seq"  # noqa: S608 - a constant
        with guarded(self._path):
            found = self._connection.execute(query, () if kind is None else (kind,)).fetchall()
        if not lenient:
            return [_model(self._plain(*one)) for one in found]
        rows = (self._whole(*one) for one in found)
        return [_model(row) for row in rows if row is not None]

    def texts(self) -> Iterator[str]:
        """All rows in their text form, in order."""
        with guarded(self._path):
            for (text,) in self._connection.execute("SELECT row FROM ledger ORDER BY seq"):
                yield text

    def count(self, kind: Kind) -> int:
        """How many rows there are of a kind."""
        with guarded(self._path):
            query = "SELECT count(*) FROM ledger WHERE kind = ?"
            return int(self._connection.execute(query, (kind,)).fetchone()[0])

    def last(self, kind: Kind) -> Row | None:
        """The last row of a kind, None if there is none."""
        row = self._one(
            "SELECT seq, row FROM ledger WHERE kind = ? ORDER BY seq DESC LIMIT 1", kind
        )
        return None if row is None else _model(row)

    def reserved(self, since: date | None = None) -> Counter[str]:
        """Reservations by event in canonical JSON, all or those from a day (UTC) on."""
        with guarded(self._path):
            return self._index.reserved(since)

    def pledged(self) -> Counter[str]:
        """What open jobs admitted and have not reserved yet, by event in canonical JSON."""
        with guarded(self._path):
            return self._index.pledged()

    def job(self, job_id: str) -> AdmittedJob | None:
        """The admitted job with this id, None if there is none.

        Raises:
            LedgerError: `ledger-broken`, its `admit` row says something else.
        """
        with guarded(self._path):
            found = self._index.job(job_id)
        if found is None:
            return None
        row = self._row(found.seq)
        fits = row is not None and row.intact and row.kind == "admit"
        if not fits or row is None or admitted_job(row) != replace(found, closed=False):
            raise broken_file(f"row {found.seq} does not admit job {job_id}", self._path)
        return found

    def receipts(self) -> list[Receipt]:
        """All receipts in the order in which they came."""
        with guarded(self._path):
            return self._receipts.all(self._path)

    def find(self, key: Key) -> StoredRelease | None:
        """The release that was made for `key`, None if there is none.

        Raises:
            LedgerError: `ledger-broken`, the bytes or the head are not those of its `spend`
                row; `ledger-signature`, the head's signature does not fit.
        """
        query = (
            "SELECT request_hash, head, bytes, seq, row FROM release"
            " JOIN ledger ON seq = spend_seq"
            " WHERE job_id = ? AND step = ? AND session = ?"
        )
        with guarded(self._path):
            found = self._connection.execute(query, (key.job_id, key.step, key.session)).fetchone()
        if found is None:
            return None
        request_hash, text, payload, *row = found
        spend, head = self._plain(*row), self._head(text)
        charged = hashlib.sha256(payload).hexdigest() == spend.body.get("release_sha256")
        if not charged and (payload or not self._was_exact(spend)):
            raise broken_file("a stored release is not what was charged for", self._path)
        if (head.seq, head.hash) != (spend.seq, spend.hash):
            raise broken_file("a stored release has the head of another row", self._path)
        head.check(self._public)
        return StoredRelease(request_hash, head, payload)

    def newest_session(self, job_id: str, step: int) -> int:
        """The last session of a step of which words were released, -1 if there is none."""
        query = "SELECT coalesce(max(session), -1) FROM release WHERE job_id = ? AND step = ?"
        with guarded(self._path):
            return int(self._connection.execute(query, (job_id, step)).fetchone()[0])

    def agreed(self, key: Key) -> tuple[str, ...] | None:
        """The list of survivors that was agreed to for a secure sum, None if none was.

        Raises:
            LedgerError: `ledger-broken`, a row that might say so cannot be read or was edited.
        """
        query = "SELECT seq, row FROM ledger WHERE kind = 'agree' AND seq > ? ORDER BY seq"
        with guarded(self._path):
            for one in self._connection.execute(query, (self._spent(key),)):
                row = self._plain(*one)
                if not row.intact:
                    raise broken_file(f"row {row.seq} was edited", self._path)
                named = [row.body.get(name) for name in ("job_id", "step", "session")]
                if named == [key.job_id, key.step, key.session]:
                    return tuple(row.body["survivors"])
        return None

    def _spent(self, key: Key) -> int:
        """The row in which a session's words were spent, else that of its job, else -1.

        Nobody agrees before: from there on there are few rows, however long the ledger is.
        """
        query = "SELECT spend_seq FROM release WHERE job_id = ? AND step = ? AND session = ?"
        with guarded(self._path):
            found = self._connection.execute(query, (key.job_id, key.step, key.session)).fetchone()
        if found is not None:
            return int(found[0])
        job = self.job(key.job_id)
        return -1 if job is None else job.seq

    def transaction(self) -> AbstractContextManager[None]:
        """Look and write with nobody in between; durable when it ends, or leaves no trace.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; the ledger is as it was.
        """
        return in_transaction(self._connection, self._path, "BEGIN IMMEDIATE")

    def snapshot(self) -> AbstractContextManager[None]:
        """Several reads of one state, whatever others append meanwhile; nobody waits for it."""
        return in_transaction(self._connection, self._path, "BEGIN")

    def verify(self) -> None:
        """Check every row, and every table against the rows; `ledger_checks` says what of them.

        Raises:
            LedgerError: `ledger-broken`, naming the first row or entry that does not hold;
                `ledger-signature`, the ledger's key did not sign the last row.
        """
        with self.snapshot():
            for problem in self._checks().problems():
                raise problem

    def findings(self) -> list[str]:
        """As `verify`, for auditors: everything that is wrong, in sentences, at most 100.

        Raises:
            LedgerError: `ledger-write`, the file cannot be read just now. Nothing that stands
                in it is an error.
        """
        found: list[str] = []
        try:
            with self.snapshot():
                problems = self._checks().problems()
                found += (one.message for one in itertools.islice(problems, _MOST))
        except LedgerError as error:
            if error.code is Code.LEDGER_WRITE:
                raise
            found.append(error.message)
        return found

    def _checks(self) -> Checks:
        return Checks(self._connection, self._path, self._index, self._receipts, self._public)

    def _chained(self) -> Iterator[PlainRow]:
        """All rows in order, each checked against the one before it."""
        for row, problem in chained(self._connection, self._path):
            if problem is not None:
                raise problem
            if row is not None:
                yield row

    def _check_tip(self, last: PlainRow | None) -> None:
        head = self.signed_head()
        if last is None or (head.seq, head.hash) != (last.seq, last.hash):
            raise broken_file(f"the signed head, of row {head.seq}, is not the end", self._path)
        head.check(self._public)

    def _was_exact(self, spend: PlainRow) -> bool:
        """Whether a spend is of exact sums, whose bytes need not be kept."""
        return exact(self._row(int(spend.body.get("reservation", -1))))

    def _row(self, seq: int) -> PlainRow | None:
        return self._one("SELECT seq, row FROM ledger WHERE seq = ?", seq)

    def _last(self) -> PlainRow | None:
        return self._one("SELECT seq, row FROM ledger ORDER BY seq DESC LIMIT 1")

    def _one(self, query: str, *values: object) -> PlainRow | None:
        with guarded(self._path):
            found = self._connection.execute(query, values).fetchone()
        return None if found is None else self._plain(*found)

    def _whole(self, seq: int, text: str) -> PlainRow | None:
        """The row, None if it cannot be read or was edited."""
        try:
            row = self._plain(seq, text)
        except LedgerError:
            return None
        return row if row.intact else None

    def _plain(self, seq: int, text: str) -> PlainRow:
        try:
            return read_own_text(text)
        except (ValueError, RecursionError):
            raise broken_file(f"row {seq} cannot be read", self._path) from None

    def _head(self, text: str) -> SignedHead:
        try:
            return SignedHead.model_validate_json(text)
        except ValidationError:
            raise broken_file("a signed head cannot be read", self._path) from None


def _model(row: PlainRow) -> Row:
    """The validated model; its text form was checked already."""
    values = row._asdict()
    del values["intact"]
    return Row(**values)

"""The ledger on SQLite: append-only by trigger, WAL, full fsync outside simulations.

`reserve` is durable before anything is computed; a release's bytes and its `spend` row are
one transaction before anything is sent. A process that dies between any two steps leaves a
ledger that counts at least what left the client.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError

from common.errors import Code, LedgerError, PrivacyError
from common.privacy.ledger import Kind, Row, next_row, open_row, verify

__all__ = ["Key", "LedgerStore", "StoredRelease"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, row TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS release (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL,
    request_hash TEXT NOT NULL, spend_seq INTEGER NOT NULL REFERENCES ledger(seq),
    head TEXT NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (job_id, step, session)
) STRICT;
CREATE TABLE IF NOT EXISTS secret (
    id INTEGER PRIMARY KEY CHECK (id = 0), key BLOB NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS ledger_keeps BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_grows BEFORE INSERT ON ledger
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM ledger)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS release_keeps BEFORE DELETE ON release
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER IF NOT EXISTS release_stays BEFORE UPDATE ON release
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER IF NOT EXISTS release_grows BEFORE INSERT ON release
    WHEN EXISTS (SELECT 1 FROM release WHERE (job_id, step, session)
                 = (NEW.job_id, NEW.step, NEW.session))
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
"""
# REPLACE deletes without firing delete triggers: hence the triggers on INSERT

_COUNT: Final = "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'trigger')"
_RESTORE: Final = "Restore it from a backup and compare heads with the server."
_DISK: Final = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
}
"""Primary result codes that blame the place, not the content."""


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
    head: str
    payload: bytes


class LedgerStore:
    """One client's ledger file. Use as a context manager."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(
        cls, path: Path, client: str, dataset_id: str, *, survives_power_cut: bool = True
    ) -> Self:
        """Open the ledger, or begin one.

        Args:
            path: the file.
            client: whose it is.
            dataset_id: which data it is about.
            survives_power_cut: wait for the disk at every commit. Without, what a killed
                process wrote is still kept, but not what a power cut interrupts: for
                simulations, where thousands of ledgers would wait for one disk.

        Raises:
            LedgerError: `ledger-foreign`, it belongs to another client or data set;
                `ledger-broken`, it is no ledger, or its chain does not hold;
                `ledger-write`, the disk refuses.
        """
        store = cls(_connect(path, "FULL" if survives_power_cut else "OFF"), path)
        try:
            if store._last() is None:
                store._begin(open_row(client, dataset_id, secrets.token_hex(32), _now()))
            verify(store.rows(), client=client, dataset_id=dataset_id)
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def head(self) -> str:
        """Hash of the last row."""
        last = self._last()
        return "" if last is None else last.hash

    def rows(self, kind: Kind | None = None) -> list[Row]:
        """All rows in order, or those of one kind."""
        query = "SELECT row FROM ledger WHERE ?1 IS NULL OR kind = ?1 ORDER BY seq"
        with self._guarded():
            found = self._connection.execute(query, (kind,)).fetchall()
        return [self._parse(text) for (text,) in found]

    def keyed_hash(self, text: str) -> str:
        """HMAC-SHA256 of `text` under a key that is in this file and in no row.

        Rows are shown to auditors: who lacks the key can tell from the hash whether two
        values are the same, and cannot try out what they were.
        """
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def find(self, key: Key) -> StoredRelease | None:
        """The release that was made for `key`, None if there is none.

        Raises:
            LedgerError: `ledger-broken`, the bytes are not those that its `spend` row names.
        """
        query = (
            "SELECT request_hash, head, bytes, row FROM release"
            " JOIN ledger ON seq = spend_seq"
            " WHERE job_id = ? AND step = ? AND session = ?"
        )
        with self._guarded():
            found = self._connection.execute(query, (key.job_id, key.step, key.session)).fetchone()
        if found is None:
            return None
        stored, spend = StoredRelease(*found[:3]), self._parse(found[3])
        if hashlib.sha256(stored.payload).hexdigest() != spend.body.get("release_sha256"):
            raise self._broken("a stored release is not what was charged for")
        return stored

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Look and write with nobody in between; durable when it ends, or leaves no trace.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; the ledger is as it was.
        """
        if self._in_transaction():  # part of a larger one
            yield
            return
        with self._guarded():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._in_transaction():  # SQLite itself may have rolled back
                    self._connection.execute("ROLLBACK")
                raise

    def _in_transaction(self) -> bool:
        return self._connection.in_transaction

    def append(self, kind: Kind, body: Mapping[str, Any]) -> Row:
        """Write one row, durably unless a transaction around it is still open.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; the ledger is as it was.
        """
        with self.transaction():
            last = self._last()
            if last is None:
                raise self._broken("the ledger is empty")
            row = next_row(last, kind, body, _now())
            self._insert(row)
        return row

    def commit_release(
        self, key: Key, request_hash: str, payload: bytes, spend: Mapping[str, Any]
    ) -> StoredRelease:
        """Write a release's bytes and its `spend` row in one transaction.

        Returns:
            What may be sent: this release, or the one that another process committed for
            the same request meanwhile. Two for one request would halve the noise.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; the reservation stays counted.
            PrivacyError: `replay-conflict`, the step was answered for another request.
        """
        with self.transaction():
            earlier = self.find(key)
            if earlier is not None:
                return self.same_request(earlier, key, request_hash)
            row = self.append("spend", spend)
            values = (key.job_id, key.step, key.session, request_hash, row.seq, row.hash, payload)
            self._connection.execute("INSERT INTO release VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return StoredRelease(request_hash, row.hash, payload)

    @staticmethod
    def same_request(stored: StoredRelease, key: Key, request_hash: str) -> StoredRelease:
        """`stored`, if it answers this request.

        Raises:
            PrivacyError: `replay-conflict`, it answered another one.
        """
        if stored.request_hash != request_hash:
            raise PrivacyError(
                Code.REPLAY_CONFLICT,
                "this step was answered before, for a request with other content.",
                where=f"job {key.job_id} step {key.step}",
                remedy="A server must not change a job under way: start a new job.",
            )
        return stored

    def _begin(self, first: Row) -> None:
        with self.transaction():
            if self._last() is None:  # else another process was faster
                self._key()
                self._insert(first)

    def _key(self) -> bytes:
        """The random key of this ledger, made with it."""
        query = "SELECT key FROM secret"
        with self._guarded():
            found = self._connection.execute(query).fetchone()
            if found is None:
                made = (secrets.token_bytes(32),)
                self._connection.execute("INSERT OR IGNORE INTO secret VALUES (0, ?)", made)
                found = self._connection.execute(query).fetchone()
        return bytes(found[0])

    def _insert(self, row: Row) -> None:
        values = (row.seq, row.kind, row.model_dump_json())
        self._connection.execute("INSERT INTO ledger VALUES (?, ?, ?)", values)

    def _last(self) -> Row | None:
        query = "SELECT row FROM ledger ORDER BY seq DESC LIMIT 1"
        with self._guarded():
            found = self._connection.execute(query).fetchone()
        return None if found is None else self._parse(found[0])

    def _parse(self, text: str) -> Row:
        try:
            return Row.model_validate_json(text)
        except ValidationError:
            raise self._broken("a row cannot be read") from None

    def _broken(self, what: str) -> LedgerError:
        return LedgerError(Code.LEDGER_BROKEN, f"{what}.", where=str(self._path), remedy=_RESTORE)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _explain(error, self._path) from None


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    except sqlite3.DatabaseError as error:
        raise _explain(error, path) from None
    try:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        if connection.execute(_COUNT).fetchone() != (_SCHEMA.count("CREATE "),):
            path.chmod(0o600)  # before there is anything in it; WAL files take it over
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _explain(error, path) from None
    except OSError as error:
        connection.close()
        raise _cannot_write(error.strerror or "no permission", path) from None
    return connection


def _explain(error: sqlite3.DatabaseError, path: Path) -> LedgerError:
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DISK:
        return _cannot_write(str(error), path)
    return LedgerError(
        Code.LEDGER_BROKEN,
        f"the ledger cannot be used: {error}.",
        where=str(path),
        remedy=_RESTORE,
    )


def _cannot_write(why: str, path: Path) -> LedgerError:
    return LedgerError(
        Code.LEDGER_WRITE,
        f"the ledger cannot be written: {why}.",
        where=str(path),
        remedy="Free disk space or mend permissions; nothing was released meanwhile.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

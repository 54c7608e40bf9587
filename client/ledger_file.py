"""The ledger's SQLite file: its tables, what they refuse to forget, and its errors in words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import Code, LedgerError

__all__ = ["broken_file", "cannot_write", "connect", "guarded", "in_transaction"]

_KEPT: Final = """
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, row TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS ledger_kind ON ledger (kind, seq);
CREATE TABLE IF NOT EXISTS tip (
    id INTEGER PRIMARY KEY CHECK (id = 0), head TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS release (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL,
    request_hash TEXT NOT NULL, spend_seq INTEGER NOT NULL REFERENCES ledger(seq),
    head TEXT NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (job_id, step, session)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS release_spend ON release (spend_seq);
CREATE TABLE IF NOT EXISTS receipt (
    id INTEGER PRIMARY KEY, server TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL,
    receipt TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS receipt_server ON receipt (server, seq);
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
                 = (NEW.job_id, NEW.step, NEW.session) OR spend_seq = NEW.spend_seq)
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER IF NOT EXISTS receipt_keeps BEFORE DELETE ON receipt
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
CREATE TRIGGER IF NOT EXISTS receipt_stays BEFORE UPDATE ON receipt
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
CREATE TRIGGER IF NOT EXISTS receipt_grows BEFORE INSERT ON receipt
    WHEN NEW.id IS NOT (SELECT coalesce(max(id), 0) + 1 FROM receipt)
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
"""
# REPLACE deletes without firing delete triggers: hence the triggers on INSERT

_DERIVED: Final = """
CREATE TABLE IF NOT EXISTS indexed (
    id INTEGER PRIMARY KEY CHECK (id = 0), seq INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, event TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS reserved (
    day TEXT NOT NULL, event INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, event)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pledged (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job (
    job_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, snapshot TEXT NOT NULL,
    seq INTEGER NOT NULL, closed INTEGER NOT NULL, server TEXT
) STRICT, WITHOUT ROWID;
"""
_SCHEMA: Final = _KEPT + _DERIVED
# an index of which a part is missing is made again as a whole
_LAY_OUT: Final = f"BEGIN IMMEDIATE; DROP TABLE IF EXISTS indexed; {_SCHEMA} COMMIT;"
_NAMES: Final = frozenset(re.findall(r"IF NOT EXISTS (\w+)", _SCHEMA))
_PRESENT: Final = "SELECT name FROM sqlite_schema"
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


def connect(path: Path, *, survives_power_cut: bool) -> sqlite3.Connection:
    """Open the file, with every table that a ledger has.

    Raises:
        LedgerError: `ledger-broken`, it is no ledger; `ledger-write`, the disk refuses.
    """
    with guarded(path):
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        with guarded(path):
            synchronous = "FULL" if survives_power_cut else "OFF"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            if not {name for (name,) in connection.execute(_PRESENT)} >= _NAMES:
                _lay_out(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    try:
        path.chmod(0o600)  # before there is anything in it; WAL files take it over
    except OSError as error:
        raise cannot_write(error.strerror or "no permission", path) from None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_LAY_OUT)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into an error of the ledger."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _DISK:
            raise cannot_write(str(error), path) from None
        raise broken_file(f"the ledger cannot be used: {error}", path) from None


@contextmanager
def in_transaction(connection: sqlite3.Connection, path: Path, begin: str) -> Iterator[None]:
    """Run inside one transaction: durable as a whole when it ends, or without a trace.

    Args:
        connection: where; inside another transaction this is a part of that one.
        path: its file.
        begin: how it begins, `BEGIN IMMEDIATE` to write.
    """
    if _is_open(connection):
        yield
        return
    with guarded(path):
        connection.execute(begin)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if _is_open(connection):  # SQLite itself may have rolled back
                connection.execute("ROLLBACK")
            raise


def _is_open(connection: sqlite3.Connection) -> bool:
    return connection.in_transaction


def broken_file(what: str, path: Path) -> LedgerError:
    """`ledger-broken`, about the file at `path`."""
    return LedgerError(
        Code.LEDGER_BROKEN,
        f"{what}.",
        where=str(path),
        remedy="Restore it from a backup and compare heads with the server.",
    )


def cannot_write(why: str, path: Path) -> LedgerError:
    """`ledger-write`, about the file at `path`."""
    return LedgerError(
        Code.LEDGER_WRITE,
        f"the ledger cannot be written: {why}.",
        where=str(path),
        remedy="Free disk space or mend permissions; nothing was released meanwhile.",
    )

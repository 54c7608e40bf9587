"""The SQLite file of events that the shop recorded through the service: its tables, its opening.

The service writes it; import, retention and sealing read and empty it, also meanwhile. Who
reads or writes does so in a transaction that first looks at `state`, so that everybody agrees
on the form that the rows have.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from common.errors import Code, DataError
from common.folder_lock import folder_lock

__all__ = ["RECORDED", "begin_file", "connect", "emptied_journal", "guarded", "transaction"]

RECORDED: Final = "recorded.sqlite"
"""In the client's folder."""
_WAIT_SECONDS: Final = 10.0
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    microseconds INTEGER NOT NULL,
    rating REAL
) STRICT;
CREATE INDEX IF NOT EXISTS event_user ON event (user_id);
CREATE TABLE IF NOT EXISTS sealed (
    seq INTEGER PRIMARY KEY,
    event_hash BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    generation INTEGER NOT NULL,
    seal BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS taken (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    seq INTEGER NOT NULL,
    microseconds INTEGER NOT NULL
) STRICT;
"""
"""Rows are in `event`, or all of them in `sealed` once `state.seal` is there: what only their
key opens. `generation` grows whenever rows are deleted. Rows up to `taken.seq` are in the log
since then, and wait to be deleted."""


def begin_file(folder: Path) -> None:
    """Make the file if there is none, for its owner alone, with a write-ahead log.

    Raises:
        DataError: `data-not-found` or `disk-full`, it cannot be made; `data-format`, it is no
            such file.
    """
    path = folder / RECORDED
    with guarded(path):
        with suppress(FileExistsError):  # private from its first byte; WAL files take it over
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        path.chmod(0o600)
        with folder_lock(folder):  # two that change the journal mode wait for nobody
            connection = connect(path)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, for any thread that is alone with the connection; commits wait for the disk.

    Raises:
        sqlite3.Error: it is no such file; use it in `guarded`.
    """
    connection = sqlite3.connect(
        path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.executescript(_SCHEMA)
        _add_ratings(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _add_ratings(connection: sqlite3.Connection) -> None:
    """Give a file of before ratings its column: nobody has rated what it holds."""
    if _has_ratings(connection):
        return
    with transaction(connection):
        if not _has_ratings(connection):  # nobody else was here first
            connection.execute("ALTER TABLE event ADD COLUMN rating REAL")


def _has_ratings(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM pragma_table_info('event') WHERE name = 'rating'"
    return connection.execute(query).fetchone() is not None


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing, and one state of the file.

    Args:
        connection: of `connect`.
        kind: `IMMEDIATE` to write, `DEFERRED` to read.
    """
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself may have rolled back
            connection.execute("ROLLBACK")
        raise


def emptied_journal(connection: sqlite3.Connection) -> bool:
    """Bring the write-ahead log into the file and cut it off; False: somebody reads just then."""
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into an error that quotes no event."""
    try:
        yield
    except OSError as error:
        raise _unusable(Code.DATA_NOT_FOUND, error.strerror or "no permission", path) from None
    except sqlite3.ProgrammingError:
        raise _unusable(Code.DATA_NOT_FOUND, "it was closed", path) from None
    except sqlite3.Error as error:
        number = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        code = Code.DATA_FORMAT
        if number in _FULL:
            code = Code.DISK_FULL
        elif number in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}:
            code = Code.DATA_NOT_FOUND
        raise _unusable(code, name, path) from None


def _unusable(code: Code, why: str, path: Path) -> DataError:
    remedies = {
        Code.DISK_FULL: "Make room on the disk, and check that it can be written.",
        Code.DATA_FORMAT: "Restore it from a backup, or move it away: a new one is begun.",
    }
    return DataError(
        code,
        f"the recorded events cannot be used: {why}.",
        where=str(path),
        remedy=remedies.get(code, "Check the folder and its permissions."),
    )

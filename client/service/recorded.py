"""Events that the shop recorded through the service: `recorded.sqlite`, the owner's alone.

An event is on the disk before the reply that says so (WAL, full fsync), and counts from the
next answer on. It is no part of `events.parquet`: models are trained on what was imported.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from common.errors import Code, DataError
from common.folder_lock import folder_lock

__all__ = ["RECORDED", "Event", "Recorded", "Written"]

RECORDED: Final = "recorded.sqlite"
_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    microseconds INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_user ON event (user_id);
"""


@dataclass(frozen=True)
class Event:
    """One event. Sensitive.

    Attributes:
        event_id: the caller's, the same when it is sent again.
        user_id: the shopper.
        item_id: an item of the catalogue.
        microseconds: when it happened, since 1970 UTC; None: now, and on a repetition what
            was written then.
    """

    event_id: str
    user_id: str
    item_id: str
    microseconds: int | None


@dataclass(frozen=True)
class Written:
    """What became of events.

    Attributes:
        recorded: events that were not there before.
        repeated: events that were there, with the same content.
        conflicts: positions of events whose id is that of another event.
    """

    recorded: int
    repeated: int
    conflicts: tuple[int, ...]


class Recorded:
    """The file, for many threads. Use as a context manager."""

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self._path = path
        self._reader, self._reading = reader, threading.Lock()
        self._writer, self._writing = writer, threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the file in a client's folder, or begin one.

        Raises:
            DataError: `data-not-found` or `disk-full`, it cannot be made or read;
                `data-format`, it is no such file.
        """
        path = folder / RECORDED
        with _guarded(path):
            with suppress(FileExistsError):  # private from its first byte; WAL files take it over
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            path.chmod(0o600)
            writer = _connect(path)
            try:
                with folder_lock(folder):  # two that change the journal mode wait for nobody
                    writer.execute("PRAGMA journal_mode = WAL")
                    writer.executescript(_SCHEMA)
                return cls(path, _connect(path), writer)
            except BaseException:
                writer.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    def write(self, events: Sequence[Event], now_microseconds: int) -> Written:
        """Write events; they are on the disk when this returns, all or none of them.

        Args:
            events: whose users, items and times are in order.
            now_microseconds: since 1970 UTC, the time of events without one.

        Raises:
            DataError: `disk-full`, or the file is damaged; nothing was written.
        """
        with self._writing, _guarded(self._path), _transaction(self._writer):
            found = [self._write(event, now_microseconds) for event in events]
        conflicts = tuple(place for place, what in enumerate(found) if what is None)
        return Written(found.count(True), found.count(False), conflicts)

    def _write(self, event: Event, now: int) -> bool | None:
        """True: written; False: was there; None: another event has the id."""
        time = now if event.microseconds is None else event.microseconds
        values = (event.event_id, event.user_id, event.item_id, time)
        done = self._writer.execute(
            "INSERT INTO event (event_id, user_id, item_id, microseconds) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (event_id) DO NOTHING",
            values,
        )
        if done.rowcount == 1:
            return True
        there = self._writer.execute(
            "SELECT user_id, item_id, microseconds FROM event WHERE event_id = ?",
            (event.event_id,),
        ).fetchone()
        same_time = event.microseconds is None or there[2] == event.microseconds
        return False if there[:2] == values[1:3] and same_time else None

    def items_of(self, user_id: str) -> list[str]:
        """Items of a shopper's events, each once, in the order of their first."""
        with self._reading, _guarded(self._path):
            rows = self._reader.execute(
                "SELECT item_id, min(seq) AS first FROM event WHERE user_id = ?"
                " GROUP BY item_id ORDER BY first",
                (user_id,),
            )
            return [str(item) for item, _ in rows]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself may have rolled back
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
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

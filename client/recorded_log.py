"""What the service recorded, as far as it goes into the log, and its deletion.

Guarantee:
    What was deleted is overwritten in the file and in its journal, unless somebody is reading
    it just then: then the journal goes with the next deletion, or when the service ends. Not
    reached: blocks that a disk has not overwritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from common.errors import Code, DataError

__all__ = ["RECORDED", "RecordedEvent", "forget_older", "forget_taken", "recorded_events"]

RECORDED: Final = "recorded.sqlite"
"""Where `client.service.recorded` writes."""
_WAIT_SECONDS: Final = 10.0


class RecordedEvent(NamedTuple):
    """One event that the service recorded. Sensitive."""

    seq: int
    user_id: str
    item_id: str
    microseconds: int


def recorded_events(folder: Path) -> list[RecordedEvent]:
    """All events that the service has recorded, in the order in which they came.

    Raises:
        DataError: they cannot be read.
    """
    with _file(folder) as connection:
        if connection is None:
            return []
        query = "SELECT seq, user_id, item_id, microseconds FROM event ORDER BY seq"
        return [RecordedEvent(*row) for row in connection.execute(query)]


def forget_taken(folder: Path, last_seq: int) -> int:
    """Delete events up to this one, which are in the log now; how many.

    Raises:
        DataError: they cannot be deleted; then all are still there.
    """
    return _forget(folder, "DELETE FROM event WHERE seq <= ?", last_seq)


def forget_older(folder: Path, before: datetime) -> int:
    """Delete events that happened before; how many.

    Raises:
        DataError: they cannot be deleted; then all are still there.
    """
    microseconds = int(before.timestamp()) * 1_000_000
    return _forget(folder, "DELETE FROM event WHERE microseconds < ?", microseconds)


def _forget(folder: Path, statement: str, value: int) -> int:
    with _file(folder) as connection:
        if connection is None:
            return 0
        connection.execute("PRAGMA secure_delete = ON")
        gone = connection.execute(statement, (value,)).rowcount
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return gone


@contextmanager
def _file(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The file; None where the service has never recorded anything."""
    path = folder / RECORDED
    if not path.exists():
        yield None
        return
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as opened:
            opened.execute("PRAGMA synchronous = FULL")
            yield opened
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        code = Code.DISK_FULL if name == "SQLITE_FULL" else Code.DATA_FORMAT
        raise DataError(
            code,
            f"the recorded events cannot be used: {name}.",
            where=str(path),
            remedy="Make room on the disk, or restore the file from a backup.",
        ) from None

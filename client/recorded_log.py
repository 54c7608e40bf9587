"""What the service recorded, as far as it goes into the log; its deletion, and its sealing.

What an import has taken stays for a while: the service answers with it until it has read the
new log, and knows its ids. A later import deletes it.

Guarantee:
    What was deleted or sealed is overwritten in the file and in its journal, unless somebody
    is reading it just then: then the journal goes with the next deletion, or when the service
    ends, and `convert_recorded` says so. Not reached: blocks that a disk has not overwritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from client.recorded_file import RECORDED, connect, emptied_journal, guarded, transaction
from client.recorded_rows import (
    PlainRows,
    RecordedEvent,
    Rows,
    SealedRows,
    form_of,
    mark_deletion,
    rows_in,
    set_form,
)
from client.sealed import Sealer
from client.store import data_files, sealer_of
from common.errors import Code, DataError

__all__ = [
    "RECORDED",
    "STAYS",
    "RecordedEvent",
    "convert_recorded",
    "forget_older",
    "forget_taken",
    "is_in_the_clear",
    "recorded_events",
    "seal_if_wanted",
]

STAYS: Final = timedelta(hours=1)
"""So long at least a service may take to read a new log."""


def recorded_events(folder: Path) -> list[RecordedEvent]:
    """Events that the service has recorded and no import has taken, in the order of coming.

    Raises:
        DataError: they cannot be read; `store-sealed`, without their key.
    """
    with _file(folder) as connection:
        if connection is None:
            return []
        with transaction(connection, "DEFERRED"):
            return list(rows_in(connection, folder).after(_taken(connection)[0]))


def forget_taken(folder: Path, last_seq: int, now: datetime) -> int:
    """Say that events up to this one are in the log; delete those of imports before.

    Args:
        folder: the client's.
        last_seq: number of the last one; what was said once holds.
        now: with a zone. Nothing is deleted that was said less than `STAYS` ago.

    Returns:
        How many were deleted.

    Raises:
        DataError: the file cannot be written; then nothing has changed.
    """
    at = _microseconds(now)
    with _file(folder) as connection:
        if connection is None:
            return 0
        with transaction(connection):
            rows, (last, since) = rows_in(connection, folder), _taken(connection)
            gone = 0
            if abs(at - since) >= STAYS // timedelta(microseconds=1):
                gone = _deleted(connection, rows, lambda event: event.seq <= last)
            if last_seq > last:
                connection.execute("REPLACE INTO taken VALUES (0, ?, ?)", (last_seq, at))
        emptied_journal(connection)
        return gone


def forget_older(folder: Path, before: datetime) -> int:
    """Delete events that happened before; how many.

    Raises:
        DataError: they cannot be deleted; then all are still there.
    """
    microseconds = _microseconds(before)
    with _file(folder) as connection:
        if connection is None:
            return 0
        with transaction(connection):
            rows = rows_in(connection, folder)
            gone = _deleted(connection, rows, lambda event: event.microseconds < microseconds)
        emptied_journal(connection)
        return gone


def convert_recorded(folder: Path, *, to_plain: bool = False) -> bool:
    """Give all rows the other form, in one transaction; whether they had to change.

    Who calls is `alone` with the ledger; the service may go on meanwhile. The old form is
    overwritten in the file and its journal when this returns.

    Args:
        folder: the client's, whose client.toml names the key that opens or seals them.
        to_plain: open them; else seal them.

    Raises:
        DataError: `store-sealed`, the key is not there; or the disk refuses, or somebody reads
            all the time. Then all events are there, and a second call ends it.
    """
    with _file(folder) as connection:
        if connection is None:
            return False
        with transaction(connection):
            changed = _converted(connection, folder, None if to_plain else sealer_of(folder))
        if not emptied_journal(connection):
            raise DataError(
                Code.DATA_NOT_FOUND,
                "somebody reads the recorded events all the time: their journal stays as it is.",
                where=str(folder / RECORDED),
                remedy="Do it again, or end the service first.",
            )
    return changed


def seal_if_wanted(folder: Path) -> None:
    """Seal rows that are in the clear though the folder is sealed: of a backup, or a crash.

    Raises:
        DataError: as `convert_recorded`.
    """
    if data_files(folder).key_file is None:
        return
    with _file(folder) as connection:
        if connection is None or form_of(connection).seal is not None:
            return
    from client.guard.alone import alone  # the service needs nothing else of the guard

    with alone(folder / "ledger.sqlite"):
        if data_files(folder).key_file is not None:  # nobody unseals it just now
            convert_recorded(folder)


def is_in_the_clear(folder: Path) -> bool:
    """Whether there are rows that are not sealed.

    Raises:
        DataError: the file cannot be read.
    """
    with _file(folder) as connection:
        if connection is None:
            return False
        return connection.execute("SELECT 1 FROM event LIMIT 1").fetchone() is not None


def _converted(connection: sqlite3.Connection, folder: Path, sealer: Sealer | None) -> bool:
    rows = rows_in(connection, folder)
    if isinstance(rows, PlainRows) == (sealer is None):
        return False
    events = list(rows.after(0))
    for table in ("event", "sealed"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  all pages are overwritten
    set_form(connection, sealer)
    wanted = PlainRows(connection) if sealer is None else SealedRows(connection, sealer)
    for event in events:
        wanted.put(event)
    return True


def _deleted(
    connection: sqlite3.Connection, rows: Rows, is_to_go: Callable[[RecordedEvent], bool]
) -> int:
    gone = [event.seq for event in rows.after(0) if is_to_go(event)]
    rows.delete(gone)
    if gone:
        mark_deletion(connection)
    return len(gone)


def _taken(connection: sqlite3.Connection) -> tuple[int, int]:
    """Number of the last row that is in the log, and since when."""
    row = connection.execute("SELECT seq, microseconds FROM taken").fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


@contextmanager
def _file(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The file; None where the service has never recorded anything."""
    path = folder / RECORDED
    if not path.exists():
        yield None
        return
    with guarded(path), closing(connect(path)) as connection:
        yield connection

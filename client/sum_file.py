"""The SQLite file that the states of secure sums are in: opening it, and leaving nothing behind.

A transaction's rollback journal holds the pages as they were, secrets among them. SQLite would
unlink it, and its blocks would keep them: so it is overwritten first.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import Code, SumError

__all__ = ["NAME", "connect", "guarded", "is_there", "writing"]

NAME: Final = "sums.sqlite"
"""In the client's folder."""
_MODE: Final = 0o600
_MAGIC: Final = 8  # bytes that a journal begins with, zero once its transaction has ended


def is_there(folder: Path) -> bool:
    """Whether the client ever took part in a secure sum, or the file was lost."""
    return (folder / NAME).exists()


def connect(folder: Path, layout: str, *, survives_power_cut: bool) -> sqlite3.Connection:
    """Open the file, or begin one, readable by its owner alone whoever made it.

    Args:
        folder: the client's.
        layout: SQL that makes the tables where there are none.
        survives_power_cut: wait for the disk at every write.

    Raises:
        SumError: `sum-stage`, it cannot be read or written.
    """
    path = folder / NAME
    with guarded(path):
        _begin(path)
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        with guarded(path):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # or the next line, which mends
            connection.execute("PRAGMA journal_mode = PERSIST")  # the file, unlinks the journal
            connection.execute("PRAGMA locking_mode = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            synchronous = "EXTRA" if survives_power_cut else "OFF"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA fullfsync = ON")
            connection.executescript(f"BEGIN; {layout} COMMIT;")
            _wipe(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """One transaction: whole when it ends, or without a trace; its journal is overwritten."""
    with guarded(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            _wipe(connection, path)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what SQLite or the system says about the file into `sum-stage`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SumError(
            Code.SUM_STAGE,
            f"the states of secure sums cannot be used: {error}.",
            where=str(path),
            remedy="Mend disk or permissions, or remove the file: sums under way begin anew.",
        ) from None


def _begin(path: Path) -> None:
    """Make the file, or narrow one that was put back with a wider mode; SQLite does not."""
    try:  # not opened if it is there: closing it would give up the locks of this process
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    except FileExistsError:
        if path.stat().st_mode & 0o777 != _MODE:
            path.chmod(_MODE)


def _wipe(connection: sqlite3.Connection, path: Path) -> None:
    """Overwrite what the journal of an ended transaction has of earlier pages; remove it."""
    journal = path.with_name(f"{path.name}-journal")
    if not journal.exists():
        return
    connection.execute("BEGIN IMMEDIATE")  # nobody else writes one meanwhile
    try:
        with journal.open("r+b", buffering=0) as file:
            if any(file.read(_MAGIC)):  # it would be needed to mend the file
                return
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.write(bytes(length))
            if connection.execute("PRAGMA synchronous").fetchone()[0]:
                os.fsync(file.fileno())
        journal.unlink()
    finally:
        connection.execute("ROLLBACK")

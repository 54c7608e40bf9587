"""The ledger's SQLite file: opening it, transactions in it, and its errors in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from client.ledger_schema import found_in, lay_out, lay_out_derived, misfits, stale
from common.errors import Code, LedgerError
from common.folder_lock import folder_lock
from common.privacy.ledger import RESTORE

__all__ = ["broken_file", "cannot_write", "connect", "guarded", "in_transaction"]

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


def connect(path: Path, *, survives_power_cut: bool, mends: bool = True) -> sqlite3.Connection:
    """Open the file, with every table that a ledger has.

    Args:
        path: the file.
        survives_power_cut: wait for the disk at every commit.
        mends: lay out an empty file and make derived tables again. Without, the file is left
            as it is, and nothing that is wrong with its tables is an error yet.

    Raises:
        LedgerError: `ledger-broken`, it is no ledger, or a table, an index or a trigger of it
            is not what this version writes; `ledger-write`, the disk refuses.
    """
    with guarded(path):
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        with guarded(path):
            synchronous = "FULL" if survives_power_cut else "OFF"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            if mends:
                _hold_to_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _hold_to_schema(connection: sqlite3.Connection, path: Path) -> None:
    found = found_in(connection)
    if not found:
        _begin(connection, path)
        found = found_in(connection)
    for problem in misfits(found):
        raise broken_file(problem, path)
    if stale(found):
        with in_transaction(connection, path, "BEGIN IMMEDIATE"):
            if stale(found_in(connection)):  # else another process was faster
                lay_out_derived(connection)


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    try:
        path.chmod(0o600)  # before there is anything in it; WAL files take it over
    except OSError as error:
        raise cannot_write(error.strerror or "no permission", path) from None
    with ExitStack() as stack:
        try:  # where two change the journal mode together, SQLite says "locked" and waits for none
            stack.enter_context(folder_lock(path.parent))
        except OSError as error:
            raise cannot_write(error.strerror or "no lock", path) from None
        connection.execute("PRAGMA journal_mode = WAL")
        with in_transaction(connection, path, "BEGIN IMMEDIATE"):
            if not found_in(connection):  # else another process was faster
                lay_out(connection)


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
        remedy=RESTORE,
    )


def cannot_write(why: str, path: Path) -> LedgerError:
    """`ledger-write`, about the file at `path`."""
    return LedgerError(
        Code.LEDGER_WRITE,
        f"the ledger cannot be written: {why}.",
        where=str(path),
        remedy="Free disk space or mend permissions; nothing was released meanwhile.",
    )

"""What a ledger's SQLite file is made of, and whether a file still is.

Triggers refuse to forget rows, releases and receipts. A trigger that was dropped, or that has
the right name and does nothing, is as bad as none: so a file is compared with what this
version writes, object by object, and what is missing is never quietly put back.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["DERIVED", "found_in", "lay_out", "lay_out_derived", "misfits", "stale"]

_KEPT: Final = """
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, row TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_kind ON ledger (kind, seq);
CREATE TABLE tip (
    id INTEGER PRIMARY KEY CHECK (id = 0), head TEXT NOT NULL
) STRICT;
CREATE TABLE release (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL,
    request_hash TEXT NOT NULL, spend_seq INTEGER NOT NULL REFERENCES ledger(seq),
    head TEXT NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (job_id, step, session)
) STRICT;
CREATE UNIQUE INDEX release_spend ON release (spend_seq);
CREATE TABLE receipt (
    id INTEGER PRIMARY KEY, server TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL,
    receipt TEXT NOT NULL
) STRICT;
CREATE INDEX receipt_server ON receipt (server, seq);
CREATE TRIGGER ledger_keeps BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_grows BEFORE INSERT ON ledger
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM ledger)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER release_keeps BEFORE DELETE ON release
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER release_stays BEFORE UPDATE ON release
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER release_grows BEFORE INSERT ON release
    WHEN EXISTS (SELECT 1 FROM release WHERE (job_id, step, session)
                 = (NEW.job_id, NEW.step, NEW.session) OR spend_seq = NEW.spend_seq)
    BEGIN SELECT RAISE(ABORT, 'releases are kept for replay'); END;
CREATE TRIGGER receipt_keeps BEFORE DELETE ON receipt
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
CREATE TRIGGER receipt_stays BEFORE UPDATE ON receipt
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
CREATE TRIGGER receipt_grows BEFORE INSERT ON receipt
    WHEN NEW.id IS NOT (SELECT coalesce(max(id), 0) + 1 FROM receipt)
    BEGIN SELECT RAISE(ABORT, 'receipts are kept'); END;
"""
# REPLACE deletes without firing delete triggers: hence the triggers on INSERT

_DERIVED: Final = """
CREATE TABLE indexed (
    id INTEGER PRIMARY KEY CHECK (id = 0), seq INTEGER NOT NULL, sum TEXT NOT NULL,
    jobs INTEGER NOT NULL, closed INTEGER NOT NULL, mac TEXT NOT NULL
) STRICT;
CREATE TABLE event (id INTEGER PRIMARY KEY, event TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE reserved (
    day TEXT NOT NULL, event INTEGER NOT NULL, count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (day, event)
) STRICT, WITHOUT ROWID;
CREATE TABLE pledged (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE job (
    job_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, snapshot TEXT NOT NULL,
    seq INTEGER NOT NULL, closed INTEGER NOT NULL, server TEXT
) STRICT, WITHOUT ROWID;
"""
DERIVED: Final = ("indexed", "event", "reserved", "pledged", "job")
"""Tables that say what the rows amount to; they can be made again from the rows."""


def found_in(connection: sqlite3.Connection) -> dict[str, str]:
    """What a file has: the SQL of each table, index and trigger, by name."""
    query = "SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%'"
    return {name: " ".join(sql.split()) for name, sql in connection.execute(query + " ESCAPE '\\'")}


def misfits(found: Mapping[str, str]) -> Iterator[str]:
    """Where a file is not what it has to be, leaving aside what can be made again."""
    expected = _expected()
    for name in sorted((found.keys() | expected.keys()) - set(DERIVED)):
        if name not in found:
            yield f"{name} is missing from the file: it keeps what may not change"
        elif name not in expected:
            yield f"{name} is in the file, and is no part of a ledger"
        elif found[name] != expected[name]:
            yield f"{name} is not what this version writes"


def stale(found: Mapping[str, str]) -> bool:
    """Whether a derived table is missing, or is not what this version writes."""
    return any(found.get(name) != _expected()[name] for name in DERIVED)


def lay_out(connection: sqlite3.Connection) -> None:
    """Make everything in an empty file; belongs into a transaction."""
    for statement in (*_statements(_KEPT), *_statements(_DERIVED)):
        connection.execute(statement)


def lay_out_derived(connection: sqlite3.Connection) -> None:
    """Make the derived tables anew, empty; belongs into a transaction."""
    for name in DERIVED:
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in _statements(_DERIVED):
        connection.execute(statement)


@functools.cache
def _expected() -> dict[str, str]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        lay_out(connection)
        return found_in(connection)
    finally:
        connection.close()


def _statements(script: str) -> Iterator[str]:
    """One by one, since a script would end the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""What the parties' disks hold, read without the code that wrote it: SQLite, JSON, SHA-256."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from common.errors import Code, LedgerError

__all__ = ["LedgerCopy", "Released", "Said", "copy_ledger", "read_ledger", "witness_lines"]

_LEDGER: Final = "ledger.sqlite"


class Said(NamedTuple):
    """What a release answers: job, step, and number of the attempt at a sum."""

    job_id: str
    step: int
    session: int


@dataclass(frozen=True)
class Released:
    """A release as its client keeps it.

    Attributes:
        spend_seq: row that spent it.
        request_hash: of the request that it answers.
        payload: its bytes.
    """

    spend_seq: int
    request_hash: str
    payload: bytes


@dataclass(frozen=True)
class LedgerCopy:
    """One state of a client's ledger.

    Attributes:
        client: whose.
        texts: its rows as they stand in the file, in order.
        releases: what was released, by what it answers.
    """

    client: str
    texts: tuple[str, ...] = ()
    releases: dict[Said, Released] = field(default_factory=dict)

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows, parsed."""
        return tuple(json.loads(text) for text in self.texts)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Rows of one kind, in order."""
        return [row for row in self.rows if row["kind"] == kind]

    def hashes(self) -> list[str]:
        """What each row's hash has to be, by its content."""
        found = []
        for row in self.rows:
            content = {name: value for name, value in row.items() if name != "hash"}
            text = json.dumps(content, sort_keys=True, separators=(",", ":"))
            found.append(hashlib.sha256(text.encode()).hexdigest())
        return found


def read_ledger(client: str, folder: Path) -> LedgerCopy:
    """The ledger in a client's folder, in one state, while its client may be writing.

    Args:
        client: its name.
        folder: the client's. One that has never released anything has no ledger.

    Raises:
        LedgerError: `ledger-broken`, it cannot be read.
    """
    path = folder / _LEDGER
    if not path.exists():
        return LedgerCopy(client)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as file:
            file.isolation_level = None
            file.execute("BEGIN")
            texts = tuple(row for (row,) in file.execute("SELECT row FROM ledger ORDER BY seq"))
            query = "SELECT job_id, step, session, spend_seq, request_hash, bytes FROM release"
            releases = {Said(*one[:3]): Released(*one[3:]) for one in file.execute(query)}
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            Code.LEDGER_BROKEN, f"the ledger cannot be read: {error}.", where=str(path)
        ) from None
    return LedgerCopy(client, texts, releases)


def copy_ledger(folder: Path, kept: Path) -> None:
    """Keep the ledger of a client's folder in another, in one state; none changes nothing there.

    Raises:
        LedgerError: `ledger-broken`, it cannot be read.
    """
    path, part = folder / _LEDGER, kept / f"{_LEDGER}.part"
    if not path.exists():
        return
    kept.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as source,
            closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            Code.LEDGER_BROKEN, f"the ledger cannot be copied: {error}.", where=str(path)
        ) from None
    part.replace(kept / _LEDGER)


def witness_lines(home: Path) -> list[dict[str, Any]]:
    """What the server countersigned, in order; a last line that a kill cut off is left out."""
    path = home / "witness.jsonl"
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]

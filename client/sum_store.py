"""What a client said in secure sums, on its disk before it is sent: each message is a new process.

Guarantee:
    A stage of a session has one answer: the same request gets the same bytes again, another
    one nothing. Of a session that is older than the newest of its step nothing is answered.
    Once a session has revealed its shares, or a newer one or a later step of its job has
    begun, its secrets are no longer in the file (`secure_delete`, no write-ahead log); what a
    file system keeps of overwritten blocks is beyond that.

Losing the file loses sessions under way and no guarantee: words that left, and lists that were
agreed to, are in the ledger.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from client.ledger_reader import Key
from common.errors import Code, SumError
from common.secure_sum.messages import STAGES, Stage

__all__ = ["Kept", "SumStore", "out_of_order", "session_is_over"]

_NAME: Final = "sums.sqlite"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS session (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL,
    context TEXT NOT NULL, PRIMARY KEY (job_id, step)
) STRICT;
CREATE TABLE IF NOT EXISTS stage (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL, stage TEXT NOT NULL,
    request TEXT NOT NULL, state TEXT NOT NULL, reply TEXT NOT NULL,
    PRIMARY KEY (job_id, step, session, stage)
) STRICT;
"""
_OF_STEP: Final = "job_id = ? AND step = ?"
_OF_SESSION: Final = f"{_OF_STEP} AND session = ?"
_OVER: Final = "job_id = ? AND (step < ? OR (step = ? AND session < ?))"


@dataclass(frozen=True)
class Kept:
    """One stage of one session, as it was answered.

    Attributes:
        request: hash of the call.
        state: what the next stages need, JSON; empty once it is erased.
        reply: what was said, JSON; empty where the ledger keeps it.
    """

    request: str
    state: str
    reply: str


class SumStore:
    """`sums.sqlite` in a client's folder. Use as a context manager, under the client's lock."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, folder: Path, *, survives_power_cut: bool = True) -> Self:
        """Open the file, or begin one.

        Args:
            folder: the client's.
            survives_power_cut: wait for the disk at every write.

        Raises:
            SumError: `sum-stage`, it cannot be read or written.
        """
        path = folder / _NAME
        with _guarded(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        try:
            with _guarded(path):
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA secure_delete = ON")
                synchronous = "EXTRA" if survives_power_cut else "OFF"
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                connection.execute("PRAGMA fullfsync = ON")
                connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return cls(connection, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def newest(self, job_id: str, step: int) -> tuple[int, str] | None:
        """Number and context of the newest session of a step, None if none has begun."""
        query = f"SELECT session, context FROM session WHERE {_OF_STEP}"  # noqa: S608
        found = self._one(query, job_id, step)
        return None if found is None else (int(found[0]), str(found[1]))

    def find(self, key: Key, stage: Stage) -> Kept | None:
        """What a stage was answered, None if it was not or is over."""
        query = f"SELECT request, state, reply FROM stage WHERE {_OF_SESSION} AND stage = ?"  # noqa: S608
        found = self._one(query, key.job_id, key.step, key.session, stage)
        return None if found is None else Kept(*found)

    def begin(self, key: Key, context: str, kept: Kept) -> None:
        """Begin a session with its stage `keys`; older ones and earlier steps are erased.

        Raises:
            SumError: `sum-session`, it is not newer than the newest one; `sum-stage`, the
                disk refuses.
        """
        with self._writing():
            newest = self.newest(key.job_id, key.step)
            if newest is not None and newest[0] >= key.session:
                raise session_is_over(key)
            over = (key.job_id, key.step, key.step, key.session)
            self._connection.execute(f"DELETE FROM stage WHERE {_OVER}", over)  # noqa: S608
            named = (key.job_id, key.step, key.session)
            self._connection.execute(
                "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?)", (*named, context)
            )
            self._insert(key, "keys", kept)

    def keep(self, key: Key, stage: Stage, kept: Kept) -> None:
        """Keep the answer of a later stage, once; with `reveal` all secrets are erased.

        Raises:
            SumError: `sum-session`, another session is the newest; `sum-stage`, the stage was
                answered, the one before it was not, or the disk refuses.
        """
        with self._writing():
            newest = self.newest(key.job_id, key.step)
            if newest is None or newest[0] != key.session:
                raise session_is_over(key)
            if self.find(key, STAGES[STAGES.index(stage) - 1]) is None:
                raise out_of_order(f"stage `{stage}` is not next.")
            if self.find(key, stage) is not None:
                raise out_of_order(f"stage `{stage}` was answered before, for another request.")
            self._insert(key, stage, kept)
            if stage == "reveal":
                erase = f"UPDATE stage SET state = '' WHERE {_OF_SESSION}"  # noqa: S608
                self._connection.execute(erase, (key.job_id, key.step, key.session))

    def _insert(self, key: Key, stage: Stage, kept: Kept) -> None:
        values = (key.job_id, key.step, key.session, stage, kept.request, kept.state, kept.reply)
        self._connection.execute("INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with _guarded(self._path):
            found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _guarded(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SumError(
            Code.SUM_STAGE,
            f"the states of secure sums cannot be used: {error}.",
            where=str(path),
            remedy="Mend disk or permissions, or remove the file: sums under way begin anew.",
        ) from None


def session_is_over(key: Key) -> SumError:
    """`sum-session`, about one that is not the newest of its step."""
    return SumError(
        Code.SUM_SESSION,
        f"session {key.session} is over, or its number was used before.",
        where="task.session",
        remedy="Begin the next session.",
    )


def out_of_order(what: str) -> SumError:
    """`sum-stage`, with what is wrong."""
    return SumError(Code.SUM_STAGE, what, where="task.stage", remedy="Begin a new session.")

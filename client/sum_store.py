"""What a client said in secure sums, on its disk before it is sent: each message is a new process.

Guarantee:
    A stage of a session has one answer: the same request gets the same bytes again, another
    one nothing. Of a session that is older than the newest of its step nothing is answered. A
    job id means one job from its first session on. Once a session has revealed its shares, a
    newer one or a later step of its job has begun, its owner has closed its job, or a sum is
    asked for a week later, its secrets are no longer in the file or its journal
    (`secure_delete`, no write-ahead log, journals overwritten); what a file system keeps of
    overwritten blocks is beyond that. Of sessions without words, at most `MOST_OPEN` have
    secrets.

Losing the file loses sessions under way and no guarantee: words that left, and lists that were
agreed to, are in the ledger. The other way round, the file holds the newest head of the ledger
that words or a signed list rest on: a ledger that lacks it was put back.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError

from client.ledger_reader import Key
from client.sum_file import NAME, connect, guarded, is_there, writing
from common.errors import Code, SumError
from common.privacy.heads import SignedHead
from common.secure_sum.messages import STAGES, Stage

__all__ = [
    "FARTHEST",
    "Begun",
    "Kept",
    "SumStore",
    "forget_job",
    "out_of_order",
    "session_is_far",
    "session_is_over",
]

FARTHEST: Final = 1000
"""How far a session may be ahead of the newest: numbers that nobody used are used up then."""
MOST_OPEN: Final = 64
"""Sessions with secrets of which no words were asked yet; they cost nothing to begin."""
LONGEST: Final = timedelta(days=7)
"""After which a session is forgotten, however far it came."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS job (job_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS session (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL,
    context TEXT NOT NULL, begun REAL NOT NULL, PRIMARY KEY (job_id, step)
) STRICT;
CREATE INDEX IF NOT EXISTS session_begun ON session (begun);
CREATE TABLE IF NOT EXISTS stage (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, session INTEGER NOT NULL, stage TEXT NOT NULL,
    request TEXT NOT NULL, state TEXT NOT NULL, reply TEXT NOT NULL,
    PRIMARY KEY (job_id, step, session, stage)
) STRICT;
CREATE TABLE IF NOT EXISTS head (
    id INTEGER PRIMARY KEY CHECK (id = 0), head TEXT NOT NULL
) STRICT;
"""
_OF_STEP: Final = "job_id = ? AND step = ?"
_OF_SESSION: Final = f"{_OF_STEP} AND session = ?"
_OVER: Final = "job_id = ? AND (step < ? OR (step = ? AND session < ?))"
_UNCHARGED: Final = """
SELECT job_id, step, session FROM stage AS one JOIN session USING (job_id, step, session)
WHERE stage = 'keys' AND state <> '' AND NOT EXISTS (
    SELECT 1 FROM stage WHERE stage = 'masked'
    AND (job_id, step, session) = (one.job_id, one.step, one.session)
) ORDER BY session.rowid DESC LIMIT -1 OFFSET ?
"""
_OLD: Final = (
    "DELETE FROM stage WHERE (job_id, step) IN (SELECT job_id, step FROM session WHERE begun < ?)",
    "DELETE FROM session WHERE begun < ?",
)
_NO_JOB: Final = "DELETE FROM job WHERE job_id NOT IN (SELECT job_id FROM session)"


@dataclass(frozen=True)
class Kept:
    """One stage of one session, as it was answered.

    Attributes:
        request: hash of the call.
        state: what the next stages need, JSON; empty once it is erased. Not in the text form.
        reply: what was said, JSON; empty where the ledger keeps it. Not in the text form.
    """

    request: str
    state: str = field(repr=False)
    reply: str = field(repr=False)


@dataclass(frozen=True)
class Begun:
    """What a session was begun for, and does not change in it.

    Attributes:
        fingerprint: of the job, in every session of it.
        context: hash of the task and its grid.
    """

    fingerprint: str
    context: str


class SumStore:
    """`sums.sqlite` in a client's folder. Use as a context manager, under the client's lock."""

    def __init__(self, connection: sqlite3.Connection, path: Path, now: datetime) -> None:
        self._connection = connection
        self._path = path
        self._now = now

    @classmethod
    def open(
        cls, folder: Path, *, survives_power_cut: bool = True, now: datetime | None = None
    ) -> Self:
        """Open the file, or begin one; sessions older than `LONGEST` are forgotten.

        Args:
            folder: the client's.
            survives_power_cut: wait for the disk at every write.
            now: the time, UTC; None is the machine's.

        Raises:
            SumError: `sum-stage`, it cannot be read or written.
        """
        connection = connect(folder, _TABLES, survives_power_cut=survives_power_cut)
        store = cls(connection, folder / NAME, datetime.now(UTC) if now is None else now)
        try:
            store._forget_old()
        except BaseException:
            connection.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def head(self) -> SignedHead | None:
        """The newest head of the ledger that words or a signed list rest on, None before any.

        Raises:
            SumError: `sum-stage`, it cannot be read.
        """
        found = self._one("SELECT head FROM head")
        try:
            return None if found is None else SignedHead.model_validate_json(found[0])
        except ValidationError:
            raise out_of_order("the head that is kept cannot be read.") from None

    def fingerprint(self, job_id: str) -> str | None:
        """Which job the id means, None if no session of it has begun."""
        found = self._one("SELECT fingerprint FROM job WHERE job_id = ?", job_id)
        return None if found is None else str(found[0])

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

    def begin(self, key: Key, begun: Begun, kept: Kept) -> None:
        """Begin a session with its stage `keys`; older ones and earlier steps are erased.

        So are the oldest of other jobs, if more than `MOST_OPEN` are open without words: their
        numbers stay used.

        Args:
            key: the session.
            begun: what it is for.
            kept: the answer.

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
            job = (key.job_id, begun.fingerprint)
            self._connection.execute("INSERT OR IGNORE INTO job VALUES (?, ?)", job)
            named = (key.job_id, key.step, key.session, begun.context, self._now.timestamp())
            self._connection.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?)", named)
            self._insert(key, "keys", kept)
            self._evict()

    def keep(self, key: Key, stage: Stage, kept: Kept, head: SignedHead | None = None) -> None:
        """Keep the answer of a later stage, once; with `reveal` all secrets are erased.

        Args:
            key: the session.
            stage: which.
            kept: the answer.
            head: of the ledger, where the answer rests on a row of it; see `saw`.

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
            if head is not None:
                self._saw(head)

    def saw(self, head: SignedHead) -> None:
        """Remember that the ledger has this row, before what rests on it is sent.

        The newest is kept: an old answer that is given again takes nothing back.
        """
        with self._writing():
            self._saw(head)

    def forget(self, job_id: str) -> None:
        """Erase the secrets of a job's sessions; what was answered stays.

        Raises:
            SumError: `sum-stage`, the disk refuses.
        """
        with self._writing():
            self._connection.execute("UPDATE stage SET state = '' WHERE job_id = ?", (job_id,))

    def _forget_old(self) -> None:
        before = (self._now - LONGEST).timestamp()
        if self._one("SELECT 1 FROM session WHERE begun < ? LIMIT 1", before) is None:
            return
        with self._writing():
            for statement in _OLD:
                self._connection.execute(statement, (before,))
            self._connection.execute(_NO_JOB)

    def _evict(self) -> None:
        for named in self._connection.execute(_UNCHARGED, (MOST_OPEN,)).fetchall():
            self._connection.execute(f"DELETE FROM stage WHERE {_OF_SESSION}", named)  # noqa: S608

    def _saw(self, head: SignedHead) -> None:
        before = self.head()
        if before is None or before.seq < head.seq:  # what is said again has an old head
            text = head.model_dump_json()
            self._connection.execute("INSERT OR REPLACE INTO head VALUES (0, ?)", (text,))

    def _insert(self, key: Key, stage: Stage, kept: Kept) -> None:
        values = (key.job_id, key.step, key.session, stage, kept.request, kept.state, kept.reply)
        self._connection.execute("INSERT INTO stage VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with guarded(self._path):
            found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return found

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self._connection, self._path)


def forget_job(folder: Path, job_id: str) -> None:
    """Erase the secrets that the client in `folder` has for a job's secure sums.

    Raises:
        SumError: `sum-stage`, the disk refuses.
    """
    if is_there(folder):
        with SumStore.open(folder) as states:
            states.forget(job_id)


def session_is_over(key: Key) -> SumError:
    """`sum-session`, about one that is not the newest of its step."""
    return SumError(
        Code.SUM_SESSION,
        f"session {key.session} is over, or its number was used before.",
        where="task.session",
        remedy="Begin the next session.",
    )


def session_is_far(key: Key) -> SumError:
    """`sum-session`, about one that would leave too many numbers out."""
    return SumError(
        Code.SUM_SESSION,
        f"session {key.session} is more than {FARTHEST} after the newest one.",
        where="task.session",
        remedy="Sessions of a step are counted one by one, from 0.",
    )


def out_of_order(what: str) -> SumError:
    """`sum-stage`, with what is wrong."""
    return SumError(Code.SUM_STAGE, what, where="task.stage", remedy="Begin a new session.")

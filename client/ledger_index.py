"""The ledger's derived tables: what is in force, without reading every row.

They are written in the transaction that writes the row, so that they cannot fall behind it;
`common.privacy.ledger_index.derive` says the same from the rows alone, and `differences`
holds the two together.

A budget is only as true as these tables, and nobody reads all rows for a question. So what
they say is summed (SHA-256 of each day's reservations, each job's pledges and each event,
mod 2^256, kept up with every row), and the sum stands with the last row's number and hash
under an HMAC of a key that is made from the ledger's own. Opening adds it up again.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from client.ledger_file import broken_file
from common.privacy.ledger_index import (
    AdmittedJob,
    Derived,
    admitted_job,
    body_of,
    event_text,
    planned_events,
)
from common.privacy.ledger_rows import BEFORE_ALL, PlainRow, Row
from common.privacy.signing import SigningKey

__all__ = ["LedgerIndex"]

_ADD: Final = (
    "INSERT INTO reserved VALUES (?, ?, 1) ON CONFLICT (day, event) DO UPDATE SET count = count + 1"
)
_SUM: Final = (
    "SELECT event.event, total FROM (SELECT event AS id, sum(count) AS total FROM reserved"
    " WHERE day >= ? GROUP BY event) LEFT JOIN event USING (id)"
)
_HELD: Final = (
    "SELECT event.event, total FROM (SELECT event AS id, count(*) AS total FROM pledged"
    " GROUP BY event) LEFT JOIN event USING (id)"
)
_JOB: Final = "SELECT job_id, fingerprint, snapshot, seq, closed, server FROM job"
_DAY: Final = "SELECT day, group_concat(event || ' ' || count) FROM reserved"
_PLEDGES: Final = "SELECT job_id, group_concat(step || ' ' || event) FROM pledged"
_KEY: Final = "ledger tables"


class _State(NamedTuple):
    """What the tables add up to."""

    sum: str
    jobs: int
    closed: int


class LedgerIndex:
    """Derived tables of one ledger; every write belongs into the row's own transaction."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._secret = b""
        self._total = 0

    def use(self, key: SigningKey) -> None:
        """Take the ledger's key; before, nothing is current and nothing can be added."""
        self._secret = key.derive(_KEY)

    def is_current(self, last: Row | PlainRow) -> bool:
        """Whether the tables are those that were written with the row `last`."""
        state = self._kept(last.seq, last.hash)
        return state is not None and state == self._added_up()

    def add(self, row: Row | PlainRow) -> None:
        """Take the next row.

        Raises:
            LedgerError: `ledger-broken`, the row lacks what its kind has, or the tables are
                not those that were written with the row before it.
        """
        before = _State("0", 0, 0) if row.seq == 0 else self._kept(row.seq - 1, row.prev)
        if before is None:
            raise broken_file(f"its tables are not those of row {row.seq - 1}", self._path)
        self._total = int(before.sum, 16)
        jobs, closed = self._take(row)
        text = f"{self._total % (1 << 256):x}"
        self._keep(row.seq, row.hash, _State(text, before.jobs + jobs, before.closed + closed))

    def rebuild(self, rows: Iterable[Row | PlainRow]) -> None:
        """Forget everything and take all rows."""
        for table in ("indexed", "reserved", "pledged", "job", "event"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
        seq, last = -1, BEFORE_ALL
        for row in rows:
            self._take(row, summed=False)
            seq, last = row.seq, row.hash
        self._keep(seq, last, self._added_up())

    def _take(self, row: Row | PlainRow, *, summed: bool = True) -> tuple[int, int]:
        """Write what a row changes; how many jobs more there are, and how many more closed."""
        if row.kind == "reserve":
            self._reserve(row, summed)
        elif row.kind == "admit":
            return self._admit(row, summed), 0
        elif row.kind == "close":
            job_id = body_of(row, job_id=str)["job_id"]
            with self._summing(_PLEDGES, "job_id", job_id, summed):
                self._connection.execute("DELETE FROM pledged WHERE job_id = ?", (job_id,))
            query = "UPDATE job SET closed = 1 WHERE job_id = ? AND closed = 0"
            return 0, self._connection.execute(query, (job_id,)).rowcount
        return 0, 0

    def _reserve(self, row: Row | PlainRow, summed: bool) -> None:
        body = body_of(row, job_id=str, step=int, event=dict)
        day, event = row.time[:10], self._event(event_text(body["event"]))
        with self._summing(_DAY, "day", day, summed):
            self._connection.execute(_ADD, (day, event))
        where = (body["job_id"], body["step"])
        with self._summing(_PLEDGES, "job_id", body["job_id"], summed):
            self._connection.execute("DELETE FROM pledged WHERE job_id = ? AND step = ?", where)

    def _kept(self, seq: int, last: str) -> _State | None:
        """What was kept with the row, None if that is not what is there."""
        query = "SELECT sum, jobs, closed, mac FROM indexed WHERE seq = ?"
        found = self._connection.execute(query, (seq,)).fetchone()
        if found is None or not self._secret:
            return None
        state = _State(*found[:3])
        fits = hmac.compare_digest(self._mac(seq, last, state).encode(), found[3].encode())
        return state if fits else None

    def _keep(self, seq: int, last: str, state: _State) -> None:
        values = (seq, *state, self._mac(seq, last, state))
        self._connection.execute("INSERT OR REPLACE INTO indexed VALUES (0, ?, ?, ?, ?, ?)", values)

    def _mac(self, seq: int, last: str, state: _State) -> str:
        said = f"{seq} {last} {state.sum} {state.jobs} {state.closed}"
        return hmac.new(self._secret, said.encode(), hashlib.sha256).hexdigest()

    def _added_up(self) -> _State:
        """The state from the tables alone."""
        total = 0
        for query, column in ((_DAY, "day"), (_PLEDGES, "job_id")):
            for key, text in self._connection.execute(f"{query} GROUP BY {column}"):
                total += _entry(column, key, text)
        for number, event in self._connection.execute("SELECT id, event FROM event"):
            total += _entry("event", number, event)
        query = "SELECT count(*), coalesce(sum(closed), 0) FROM job"
        jobs, closed = self._connection.execute(query).fetchone()
        return _State(f"{total % (1 << 256):x}", jobs, closed)

    @contextmanager
    def _summing(self, query: str, column: str, key: str, summed: bool) -> Iterator[None]:
        """Keep the sum up with what changes for one day or one job."""
        if not summed:
            yield
            return
        whole = f"{query} WHERE {column} = ?"
        self._total -= _entry(column, key, self._connection.execute(whole, (key,)).fetchone()[1])
        yield
        self._total += _entry(column, key, self._connection.execute(whole, (key,)).fetchone()[1])

    def reserved(self, since: date | None = None) -> Counter[str]:
        """Reservations by event in canonical JSON, all or those from a day (UTC) on."""
        day = "" if since is None else since.isoformat()
        return self._counted(self._connection.execute(_SUM, (day,)))

    def pledged(self) -> Counter[str]:
        """What open jobs admitted and have not reserved yet, by event in canonical JSON."""
        return self._counted(self._connection.execute(_HELD))

    def _counted(self, found: Iterable[tuple[str | None, int]]) -> Counter[str]:
        """By event; two of one text would each hide the other."""
        counts: Counter[str] = Counter()
        for event, count in found:
            if event is None:
                raise broken_file("an event that was counted is missing", self._path)
            counts[event] += count
        return counts

    def job(self, job_id: str) -> AdmittedJob | None:
        """The admitted job with this id, None if there is none."""
        found = self._connection.execute(f"{_JOB} WHERE job_id = ?", (job_id,)).fetchone()
        return None if found is None else _job(found)

    def derived(self) -> Derived:
        """All that the tables say."""
        events: dict[int, str] = dict(
            self._connection.execute("SELECT id, event FROM event").fetchall()
        )
        found = Derived()
        for day, event, count in self._connection.execute("SELECT * FROM reserved"):
            found.reserved[day, events.get(event, "?")] += count
        for job in map(_job, self._connection.execute(_JOB)):
            found.jobs[job.job_id] = job
        for job_id, step, event in self._connection.execute("SELECT * FROM pledged"):
            found.pledged.setdefault(job_id, {})[step] = events.get(event, "?")
        return found

    def differences(self, expected: Derived) -> Iterator[str]:
        """Where the tables say something else than the rows, in words."""
        found = self.derived()
        for name in ("jobs", "reserved", "pledged"):
            said, true = _flat(getattr(found, name)), _flat(getattr(expected, name))
            wrong = [k for k in said.keys() | true.keys() if said.get(k) != true.get(k)]
            for key in sorted(wrong, key=str):
                yield f"{name} {key}: {said.get(key)} where the rows say {true.get(key)}"

    def _admit(self, row: Row | PlainRow, summed: bool) -> int:
        job = admitted_job(row)
        values = (job.job_id, job.fingerprint, job.snapshot, job.seq, 0, job.server)
        made = self._connection.execute(
            "INSERT OR IGNORE INTO job VALUES (?, ?, ?, ?, ?, ?)", values
        ).rowcount
        if made == 0:
            return 0
        events = [self._event(event) for event in planned_events(row)]
        with self._summing(_PLEDGES, "job_id", job.job_id, summed):
            for step, event in enumerate(events):
                pledge = (job.job_id, step, event)
                self._connection.execute("INSERT INTO pledged VALUES (?, ?, ?)", pledge)
        return made

    def _event(self, text: str) -> int:
        new = self._connection.execute("INSERT OR IGNORE INTO event (event) VALUES (?)", (text,))
        query = "SELECT id FROM event WHERE event = ?"
        number = int(self._connection.execute(query, (text,)).fetchone()[0])
        if new.rowcount:
            self._total += _entry("event", number, text)
        return number


def _entry(what: str, key: str | int, text: str | None) -> int:
    """What one entry adds to the sum; nothing for one that is not there."""
    if text is None:
        return 0
    return int.from_bytes(hashlib.sha256(repr((what, key, text)).encode()).digest())


def _job(values: tuple[str, str, str, int, int, str | None]) -> AdmittedJob:
    job_id, fingerprint, snapshot, seq, closed, server = values
    return AdmittedJob(job_id, fingerprint, snapshot, seq, bool(closed), server)


def _flat(values: dict[object, object]) -> dict[object, object]:
    """Entries of dictionaries inside `values` beside one another; empty ones say nothing."""
    flat: dict[object, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {(key, inner): each for inner, each in value.items()}
        else:
            flat[key] = value
    return flat

"""The ledger's derived tables: what is in force, without reading every row.

They are written in the transaction that writes the row, so that they cannot fall behind it;
`common.privacy.ledger_index.derive` says the same from the rows alone, and `differences`
holds the two together.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date

from common.privacy.ledger_index import (
    AdmittedJob,
    Derived,
    admitted_job,
    body_of,
    event_text,
    planned_events,
)
from common.privacy.ledger_rows import PlainRow, Row

__all__ = ["LedgerIndex"]

_ADD = (
    "INSERT INTO reserved VALUES (?, ?, 1) ON CONFLICT (day, event) DO UPDATE SET count = count + 1"
)
_SUM = (
    "SELECT event.event, total FROM (SELECT event AS id, sum(count) AS total FROM reserved"
    " WHERE day >= ? GROUP BY event) JOIN event USING (id)"
)
_HELD = (
    "SELECT event.event, total FROM (SELECT event AS id, count(*) AS total FROM pledged"
    " GROUP BY event) JOIN event USING (id)"
)
_JOB = "SELECT job_id, fingerprint, snapshot, seq, closed, server FROM job"


class LedgerIndex:
    """Derived tables of one ledger; every write belongs into the row's own transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def is_current(self, last: int) -> bool:
        """Whether the tables know every row up to number `last`."""
        found = self._connection.execute("SELECT seq FROM indexed").fetchone()
        return found is not None and int(found[0]) == last

    def add(self, row: Row | PlainRow) -> None:
        """Take the next row.

        Raises:
            LedgerError: `ledger-broken`, the row lacks what its kind has.
        """
        if row.kind == "reserve":
            body = body_of(row, job_id=str, step=int, event=dict)
            day, event = row.time[:10], self._event(event_text(body["event"]))
            self._connection.execute(_ADD, (day, event))
            where = (body["job_id"], body["step"])
            self._connection.execute("DELETE FROM pledged WHERE job_id = ? AND step = ?", where)
        elif row.kind == "admit":
            self._admit(row)
        elif row.kind == "close":
            job_id = body_of(row, job_id=str)["job_id"]
            self._connection.execute("UPDATE job SET closed = 1 WHERE job_id = ?", (job_id,))
            self._connection.execute("DELETE FROM pledged WHERE job_id = ?", (job_id,))
        self._connection.execute("INSERT OR REPLACE INTO indexed VALUES (0, ?)", (row.seq,))

    def rebuild(self, rows: Iterable[Row | PlainRow]) -> None:
        """Forget everything and take all rows."""
        for table in ("indexed", "reserved", "pledged", "job", "event"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
        for row in rows:
            self.add(row)

    def reserved(self, since: date | None = None) -> Counter[str]:
        """Reservations by event in canonical JSON, all or those from a day (UTC) on."""
        day = "" if since is None else since.isoformat()
        return Counter(dict(self._connection.execute(_SUM, (day,)).fetchall()))

    def pledged(self) -> Counter[str]:
        """What open jobs admitted and have not reserved yet, by event in canonical JSON."""
        return Counter(dict(self._connection.execute(_HELD).fetchall()))

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
            found.reserved[day, events[event]] = count
        for job in map(_job, self._connection.execute(_JOB)):
            found.jobs[job.job_id] = job
        for job_id, step, event in self._connection.execute("SELECT * FROM pledged"):
            found.pledged.setdefault(job_id, {})[step] = events[event]
        return found

    def differences(self, expected: Derived) -> Iterator[str]:
        """Where the tables say something else than the rows, in words."""
        found = self.derived()
        for name in ("jobs", "reserved", "pledged"):
            said, true = _flat(getattr(found, name)), _flat(getattr(expected, name))
            for key in sorted(said.keys() | true.keys(), key=str):
                if said.get(key) != true.get(key):
                    yield f"{name} {key}: {said.get(key)} where the rows say {true.get(key)}"

    def _admit(self, row: Row | PlainRow) -> None:
        job = admitted_job(row)
        values = (job.job_id, job.fingerprint, job.snapshot, job.seq, 0, job.server)
        made = self._connection.execute(
            "INSERT OR IGNORE INTO job VALUES (?, ?, ?, ?, ?, ?)", values
        )
        if made.rowcount == 0:
            return
        for step, event in enumerate(planned_events(row)):
            pledge = (job.job_id, step, self._event(event))
            self._connection.execute("INSERT INTO pledged VALUES (?, ?, ?)", pledge)

    def _event(self, text: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO event (event) VALUES (?)", (text,))
        query = "SELECT id FROM event WHERE event = ?"
        return int(self._connection.execute(query, (text,)).fetchone()[0])


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

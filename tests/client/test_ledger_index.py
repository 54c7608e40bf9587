"""The ledger's derived tables say what its rows say, at every moment and after a loss."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.ledger_store import AdmittedJob, LedgerStore
from common.errors import Code, LedgerError
from common.privacy.events import event_of
from common.privacy.ledger_index import derive, event_text
from common.privacy.plan import PrivacyPlan, Release

JOBS = ["11" * 16, "22" * 16, "33" * 16]
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


def plan(job: int) -> PrivacyPlan:
    releases = [
        Release(step=name, rows=5, width=2, share=1.0, noise_multiplier=float(1 + job))
        for name in ("a", "b", "c")
    ]
    return PrivacyPlan(unit="user", mode="local", delta=1e-5, epsilon=1.0, releases=tuple(releases))


def event(job: int, step: int) -> dict[str, Any]:
    return event_of(plan(job).releases[step]).model_dump(mode="json")


def body(kind: str, job: int, step: int) -> dict[str, Any]:
    if kind == "admit":
        names = {"fingerprint": f"f{job}", "snapshot": f"s{job}", "server": None}
        return {"job_id": JOBS[job], "plan": plan(job).model_dump(mode="json"), **names}
    if kind == "reserve":
        return {"job_id": JOBS[job], "step": step, "session": 0, "event": event(job, step)}
    return {"job_id": JOBS[job]}


def opened(folder: Path, clock: Callable[[], datetime] = lambda: FIRST) -> LedgerStore:
    path = folder / "l.sqlite"
    return LedgerStore.open(path, "shop", "ab" * 16, survives_power_cut=False, clock=clock)


def filled(ledger: LedgerStore, *done: tuple[str, int, int]) -> None:
    for kind, job, step in done:
        ledger.append(kind, body(kind, job, step))  # type: ignore[arg-type]


def one(job: int, step: int) -> str:
    return event_text(event(job, step))


ACTIONS = st.tuples(
    st.sampled_from(["admit", "reserve", "close", "refuse"]),
    st.integers(0, len(JOBS) - 1),
    st.integers(0, 2),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 40)), max_size=15))
def test_the_tables_always_say_what_the_rows_say(actions: list[Any]) -> None:
    """`derive`, the oracle, reads rows alone; also after the tables were lost."""
    times = [FIRST]
    with tempfile.TemporaryDirectory() as folder:
        with opened(Path(folder), lambda: times[-1]) as ledger:
            for action, hours in actions:
                times.append(times[-1] + timedelta(hours=hours))
                filled(ledger, action)
            agrees(ledger)
        with sqlite3.connect(Path(folder) / "l.sqlite") as connection:
            connection.execute("DROP TABLE pledged")
        connection.close()
        with opened(Path(folder)) as ledger:
            agrees(ledger)


def agrees(ledger: LedgerStore) -> None:
    ledger.verify()
    derived = derive(ledger.rows())
    assert ledger.pledged() == derived.held()
    for day in (None, *(FIRST.date() + timedelta(days=days) for days in (0, 1, 5, 40))):
        assert ledger.reserved(day) == derived.counts(day)
    for job_id in JOBS:
        assert ledger.job(job_id) == derived.jobs.get(job_id)
    for kind in ("open", "admit", "reserve", "close", "halt"):
        assert ledger.count(kind) == len(ledger.rows(kind))
        assert ledger.last(kind) == next(iter(reversed(ledger.rows(kind))), None)


def test_a_plan_is_held_until_it_is_reserved_or_closed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        assert ledger.pledged() == ledger.reserved() == Counter()
        filled(ledger, ("admit", 0, 0), ("admit", 1, 0))
        assert ledger.pledged() == {one(0, 0): 3, one(1, 0): 3}
        filled(ledger, ("reserve", 0, 1))
        assert ledger.pledged() == {one(0, 0): 2, one(1, 0): 3}
        filled(ledger, ("reserve", 0, 1))  # a second time costs more and frees nothing
        assert ledger.pledged() == {one(0, 0): 2, one(1, 0): 3}
        assert ledger.reserved() == {one(0, 1): 2}
        filled(ledger, ("close", 0, 0))
        assert ledger.pledged() == {one(1, 0): 3}
        assert ledger.reserved() == {one(0, 1): 2}  # nothing gives budget back
        job = ledger.job(JOBS[0])
        assert job == AdmittedJob(JOBS[0], "f0", "s0", seq=1, closed=True, server=None)
        filled(ledger, ("admit", 0, 0))  # a job is admitted once
        assert ledger.pledged() == {one(1, 0): 3}
        assert ledger.job(JOBS[0]) == job


def test_reservations_are_counted_by_day(tmp_path: Path) -> None:
    days = iter([1, 1, 2, 4])
    clock = lambda: datetime(2026, 3, next(days), 23, 59, tzinfo=UTC)  # noqa: E731
    with opened(tmp_path, clock) as ledger:
        filled(ledger, *[("reserve", 0, 0)] * 3)
        found = [sum(ledger.reserved(date(2026, 3, day)).values()) for day in (1, 2, 3, 4, 5)]
        assert found == [3, 2, 1, 1, 0]


DAMAGE = [
    "UPDATE reserved SET count = count + 1",
    "UPDATE reserved SET day = '2020-01-01'",
    "DELETE FROM reserved",
    "DELETE FROM pledged WHERE step = 2",
    "INSERT INTO pledged VALUES ('44', 0, 1)",
    "UPDATE job SET closed = 1",
    "UPDATE job SET snapshot = 'another'",
    "DELETE FROM job",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_table_that_was_changed_is_found(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger.verify()
        ledger._connection.execute(damage)
        with pytest.raises(LedgerError) as caught:
            ledger.verify()
    assert caught.value.code is Code.LEDGER_BROKEN
    assert "where the rows say" in caught.value.message


LOST = [
    *DAMAGE,
    "DELETE FROM event",
    "DELETE FROM event WHERE id = 2",
    "UPDATE event SET event = replace(event, '\"width\":2', '\"width\":1')",
    "UPDATE reserved SET event = 2",
    "UPDATE reserved SET event = event + 1000",
    "UPDATE pledged SET event = 1",
    "INSERT INTO job SELECT 'x', fingerprint, snapshot, seq, closed, server FROM job",
    "DELETE FROM indexed",
    "UPDATE indexed SET sum = '0'",
    "UPDATE indexed SET seq = 0",
    "UPDATE indexed SET mac = sum",
]


@pytest.mark.parametrize("damage", [one for one in LOST if "snapshot = " not in one])
def test_a_table_that_was_changed_is_made_again_when_the_ledger_is_opened(
    tmp_path: Path, damage: str
) -> None:
    """A budget is read from it: what was reserved must not be forgotten."""
    done = [("admit", 0, 0), ("reserve", 0, 0), ("reserve", 0, 1)]
    with opened(tmp_path) as ledger:
        filled(ledger, *done)  # type: ignore[arg-type]
        tables = ledger.reserved(), ledger.pledged()
        ledger._connection.execute(damage)
    with opened(tmp_path) as ledger:
        assert (ledger.reserved(), ledger.pledged()) == tables
        agrees(ledger)
        filled(ledger, ("reserve", 0, 2))
        agrees(ledger)


def test_nothing_is_written_on_tables_that_are_not_those_of_the_last_row(tmp_path: Path) -> None:
    """A sum over changed tables would make them true."""
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0))
        ledger._connection.execute("UPDATE indexed SET sum = '0'")
        with pytest.raises(LedgerError, match="its tables are not those of row 1"):
            filled(ledger, ("reserve", 0, 0))
        assert ledger.count("reserve") == 0
    with opened(tmp_path) as ledger:
        agrees(ledger)


@pytest.mark.parametrize("table", ["reserved", "pledged"])
def test_what_was_changed_under_an_open_ledger_is_found_when_it_is_opened_again(
    tmp_path: Path, table: str
) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger._connection.execute(f"DELETE FROM {table}")
        filled(ledger, ("reserve", 0, 1))
    with opened(tmp_path) as ledger:
        agrees(ledger)
        assert ledger.reserved().total() == 2


def test_an_event_that_is_missing_is_never_left_out_of_a_count(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger._connection.execute("DELETE FROM event")
        for question in (ledger.reserved, ledger.pledged):
            with pytest.raises(LedgerError, match="an event that was counted is missing"):
                question()


@pytest.mark.parametrize("column", ["snapshot = 'another'", "fingerprint = 'f'", "seq = 2"])
def test_a_job_that_its_row_does_not_admit_is_an_error(tmp_path: Path, column: str) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger._connection.execute(f"UPDATE job SET {column}")
        with pytest.raises(LedgerError, match="does not admit job"):
            ledger.job(JOBS[0])


def test_an_audit_makes_nothing_again(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger._connection.execute("DELETE FROM reserved")
    for _ in range(2):
        path = tmp_path / "l.sqlite"
        with LedgerStore.open(path, "shop", "ab" * 16, mends=False) as ledger:
            assert ["where the rows say" in one for one in ledger.findings()] == [True]
            assert ledger.reserved() == Counter()


def test_a_sum_that_does_not_fit_its_tables_is_found(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0))
        ledger._connection.execute("UPDATE indexed SET mac = 'x'")
        assert ledger.findings() == [
            "the derived tables do not have the sum that was kept with the last row."
        ]


@pytest.mark.parametrize("table", ["indexed", "event", "reserved", "pledged", "job"])
def test_an_older_file_gets_its_tables_when_it_is_opened(tmp_path: Path, table: str) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0), ("admit", 1, 0), ("close", 1, 0))
        ledger._connection.execute(f"DROP TABLE {table}")
    with opened(tmp_path) as ledger:
        agrees(ledger)
        filled(ledger, ("reserve", 0, 1))
        agrees(ledger)


def test_rows_that_an_older_version_wrote_are_indexed(tmp_path: Path) -> None:
    """It knows nothing of the tables, so that they fall behind."""
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0))
        ledger._index.add = lambda row: None  # type: ignore[method-assign]
        filled(ledger, ("reserve", 0, 0))
    with opened(tmp_path) as ledger:
        agrees(ledger)


def test_a_broken_chain_is_not_indexed(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        filled(ledger, ("admit", 0, 0), ("reserve", 0, 0))
        ledger._connection.execute("DROP TRIGGER ledger_stays")
        ledger._connection.execute(
            "UPDATE ledger SET row = replace(row, '\"width\":2', '\"width\":1') WHERE seq = 1"
        )
    with pytest.raises(LedgerError) as caught:
        opened(tmp_path)
    assert caught.value.code is Code.LEDGER_BROKEN


@pytest.mark.parametrize(
    "admitted",
    [
        {"plan": None},
        {"plan": {"unit": "user", "mode": "local"}},
        {"fingerprint": 5},
        {"snapshot": None},
    ],
)
def test_a_plan_that_cannot_be_held_is_not_admitted(tmp_path: Path, admitted: Any) -> None:
    with opened(tmp_path) as ledger:
        with pytest.raises(LedgerError, match="row 1"):
            ledger.append("admit", {**body("admit", 0, 0), **admitted})
        assert [row.kind for row in ledger.rows()] == ["open"]
        assert ledger.job(JOBS[0]) is None
        ledger.verify()

"""What `verify` promises: releases, receipts, triggers, and rows that cannot be read."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.ledger_store import Key, LedgerStore
from common.errors import Code, HushRecError
from common.privacy.heads import Receipt
from common.privacy.signing import SigningKey

JOB = "cd" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """open, then three reservations, each spent, with a receipt each."""
    path, server = tmp_path / "ledger.sqlite", SigningKey.create()
    with opened(path) as ledger:
        for step in range(3):
            names = {"job_id": JOB, "step": step, "session": 0, "request_hash": f"r{step}"}
            row = ledger.append("reserve", {**names, "event": {"kind": "x"}})
            payload = b"bytes %d" % step
            sha = hashlib.sha256(payload).hexdigest()
            body = {"reservation": row.seq, "release_sha256": sha}
            stored = ledger.commit_release(Key(JOB, step, 0), f"r{step}", payload, body)
            ledger.add_receipt(Receipt.sign(server, stored.head, "2026-01-01T00:00:00+00:00"))
        ledger.verify()
        assert ledger.findings() == []
    return path


def opened(path: Path, *, mends: bool = True) -> LedgerStore:
    return LedgerStore.open(path, "shop", "ab" * 16, survives_power_cut=False, mends=mends)


def tamper(path: Path, *statements: str) -> None:
    """As somebody would who owns the disk and leaves no open door behind."""
    connection = sqlite3.connect(path, isolation_level=None)
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    triggers = connection.execute(query).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in (*statements, *(sql for _, sql in triggers)):
        connection.execute(statement)
    connection.close()


def refused(action: Callable[[], Any]) -> Code:
    with pytest.raises(HushRecError) as caught:
        action()
    return caught.value.code


RELEASES = {
    "UPDATE release SET bytes = x'00' WHERE step = 1": "the bytes that were charged for",
    "UPDATE release SET bytes = x'' WHERE step = 1": "the bytes that were charged for",
    "UPDATE release SET request_hash = 'ff' WHERE step = 1": "another request_hash",
    "UPDATE release SET job_id = 'ff' WHERE step = 1": "another job_id",
    "UPDATE release SET step = 7 WHERE step = 1": "another step",
    "UPDATE release SET session = 7 WHERE step = 1": "another session",
    "UPDATE release SET spend_seq = 3 WHERE step = 1": "spends nothing that holds",
    "UPDATE release SET head = (SELECT head FROM release WHERE step = 0) WHERE step = 1": (
        "the head of another row"
    ),
    "UPDATE release SET head = replace(head, 'signature', 'signaturx')": "cannot be read",
    "DELETE FROM release WHERE step = 1": "its release is not here",
}


@pytest.mark.parametrize("damage", RELEASES)
def test_a_release_that_is_not_what_was_charged_for_is_found(path: Path, damage: str) -> None:
    tamper(path, damage)
    with opened(path) as ledger:
        assert refused(ledger.verify) is Code.LEDGER_BROKEN
        assert RELEASES[damage] in ledger.findings()[0]


TRIGGERS = {
    "DROP TRIGGER ledger_stays": "ledger_stays is missing",
    "DROP INDEX release_spend": "release_spend is missing",
    "CREATE TRIGGER more AFTER INSERT ON ledger BEGIN DELETE FROM reserved; END": "no part of",
    "CREATE TABLE more (a TEXT)": "no part of",
}
EMPTY = (
    "DROP TRIGGER ledger_stays",
    "CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT 1; END",
)


@pytest.mark.parametrize("damage", [*((one,) for one in TRIGGERS), EMPTY])
def test_a_file_that_keeps_less_than_it_must_is_not_answered_from(
    path: Path, damage: tuple[str, ...]
) -> None:
    """And it is not put right: an audit sees it as it is, however often it looks."""
    connection = sqlite3.connect(path)
    for statement in damage:
        connection.execute(statement)
    connection.close()
    says = "not what this version writes" if damage == EMPTY else TRIGGERS[damage[0]]
    assert refused(lambda: opened(path)) is Code.LEDGER_BROKEN
    for _ in range(2):
        with opened(path, mends=False) as ledger:
            (finding,) = ledger.findings()
            assert says in finding
            assert refused(ledger.verify) is Code.LEDGER_BROKEN


@pytest.mark.parametrize(
    "edit", ["'{}'", "'x'", "json_set(row, '$.seq', -1)", "CAST(x'ff' AS TEXT)"]
)
def test_a_row_that_cannot_be_read_is_named(path: Path, edit: str) -> None:
    tamper(path, f"UPDATE ledger SET row = {edit} WHERE seq IN (1, 5)")
    with opened(path) as ledger:
        found = ledger.findings()
        named = [one for one in found if "cannot be read" in one]
        assert [one[:5] for one in named] == ["row 1", "row 5"]
        assert refused(ledger.verify) is Code.LEDGER_BROKEN
        assert refused(ledger.rows) is Code.LEDGER_BROKEN


def test_a_lenient_reader_goes_on_after_what_is_wrong(path: Path) -> None:
    unreadable = "UPDATE ledger SET row = '{}' WHERE seq = 1"
    edited = "UPDATE ledger SET row = json_set(row, '$.body.event', 'x') WHERE seq = 5"
    tamper(path, unreadable, edited)
    with opened(path) as ledger:
        with pytest.raises(HushRecError, match="row 1 cannot be read"):
            ledger.rows()
        assert [row.seq for row in ledger.rows(lenient=True)] == [0, 2, 3, 4, 6]
        assert [row.seq for row in ledger.rows("spend", lenient=True)] == [2, 4, 6]
        found = ledger.findings()
        assert found[0] == "row 1 cannot be read."
        assert any("row 5" in one and "edited" in one for one in found)


def test_no_more_findings_are_listed_than_anybody_reads(path: Path) -> None:
    with opened(path) as ledger:
        for _ in range(150):
            ledger.append("refuse", {"code": "x"})
    tamper(path, "UPDATE ledger SET row = 'x' WHERE seq BETWEEN 5 AND 150")
    with opened(path) as ledger:
        assert len(ledger.findings()) == 100


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE receipt SET receipt = 'x' WHERE id = 1",
        "UPDATE receipt SET server = 'x' WHERE id = 1",
        "UPDATE receipt SET receipt = replace(receipt, '2026-01', '2026-02') WHERE id = 3",
        "UPDATE receipt SET seq = 1 WHERE id = 2",
    ],
)
def test_a_receipt_that_was_changed_is_found(path: Path, damage: str) -> None:
    tamper(path, damage)
    with opened(path) as ledger:
        assert any("receipt" in one for one in ledger.findings())


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE release", "DROP TABLE reserved", "DROP TABLE receipt", "DROP TABLE event"],
)
def test_findings_never_raise_for_content(path: Path, damage: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(damage)
    connection.close()
    with opened(path, mends=False) as ledger:
        assert ledger.findings()


def test_several_reads_see_one_state_while_others_append(path: Path) -> None:
    with opened(path) as reader, opened(path) as writer:
        with reader.snapshot():
            before = reader.rows()
            writer.append("refuse", {"code": "x"})  # and it does not wait for the reader
            assert reader.rows() == before
            assert reader.head == before[-1].hash
            assert reader.findings() == []
        assert len(reader.rows()) == len(before) + 1


def test_an_audit_begins_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert refused(lambda: opened(path, mends=False)) is Code.LEDGER_MISSING
    assert not path.exists()
    path.touch()
    assert refused(lambda: opened(path, mends=False)) is Code.LEDGER_BROKEN
    assert path.read_bytes() == b""

"""The ledger on disk: what it refuses to forget, and what it refuses to be."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import client.ledger_reader
from client.ledger_store import Key, LedgerStore
from common.errors import Code, HushRecError, LedgerError, PrivacyError
from common.folder_lock import folder_lock
from common.privacy.heads import Receipt
from common.privacy.ledger import Row, next_row, row_text, verify
from common.privacy.signing import SigningKey

CLIENT, DATASET = "shop-1", "ab" * 16
KEY = Key("cd" * 16, 0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def opened(path: Path, client: str = CLIENT, dataset: str = DATASET) -> LedgerStore:
    return LedgerStore.open(path, client, dataset)


def reserve_row(ledger: LedgerStore, step: int = 0) -> Row:
    return ledger.append("reserve", {"job_id": KEY.job_id, "step": step, "event": {"kind": "x"}})


def reserve(ledger: LedgerStore, step: int = 0) -> int:
    return reserve_row(ledger, step).seq


def spend(ledger: LedgerStore, payload: bytes, request: str = "r", key: Key = KEY) -> Any:
    body = {
        "reservation": reserve(ledger, key.step),
        "release_sha256": hashlib.sha256(payload).hexdigest(),
    }
    return ledger.commit_release(key, request, payload, body)


def refused(action: Callable[[], Any]) -> Code:
    with pytest.raises(HushRecError) as caught:
        action()
    return caught.value.code


def test_a_ledger_begins_bound_to_its_owner_and_survives_reopening(path: Path) -> None:
    with opened(path) as ledger:
        stored = spend(ledger, b"bytes")
        head = ledger.head
    with opened(path) as ledger:
        assert ledger.head == head == stored.head.hash
        assert ledger.find(KEY) == stored
        assert ledger.find(Key(KEY.job_id, 1, 0)) is None
        assert [row.kind for row in ledger.rows()] == ["open", "reserve", "spend"]
        assert [row.kind for row in ledger.rows("spend")] == ["spend"]
        verify(ledger.rows(), client=CLIENT, dataset_id=DATASET, head=head)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger",
        "UPDATE ledger SET row = '{}'",
        "DELETE FROM release",
        "UPDATE release SET bytes = x'00'",
        "INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE seq = 1",
        "INSERT OR REPLACE INTO release SELECT * FROM release",
        "DELETE FROM receipt",
        "UPDATE receipt SET seq = 0",
        "INSERT OR REPLACE INTO receipt SELECT * FROM receipt",
    ],
)
def test_nothing_is_deleted_or_changed(path: Path, statement: str) -> None:
    with opened(path) as ledger:
        stored = spend(ledger, b"bytes")
        ledger.add_receipt(
            Receipt.sign(SigningKey.create(), stored.head, "2026-01-01T00:00:00+00:00")
        )
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA recursive_triggers = OFF")  # the weakest reader
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(("client", "dataset"), [("shop-2", DATASET), (CLIENT, "00" * 16)])
def test_a_foreign_ledger_is_refused(path: Path, client: str, dataset: str) -> None:
    opened(path).close()
    assert refused(lambda: opened(path, client, dataset)) is Code.LEDGER_FOREIGN


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    before = path.read_bytes()
    assert refused(lambda: opened(path)) is Code.LEDGER_BROKEN
    assert path.read_bytes() == before


def test_a_database_of_another_kind_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ledger (something TEXT)")
    connection.close()
    assert refused(lambda: opened(path)) is Code.LEDGER_BROKEN


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger SET row = 'x' WHERE seq = 1",
        "UPDATE ledger SET row = replace(row, '\"step\":0', '\"step\":9')",
        "UPDATE ledger SET row = replace(row, '{', '{ ') WHERE seq = 1",
        "UPDATE ledger SET kind = 'refuse' WHERE seq = 1",
        "DELETE FROM release",
    ],
)
def test_what_was_changed_in_the_middle_is_found_by_verify(path: Path, damage: str) -> None:
    """Opening does not read the rows in between: it is as fast for a long ledger."""
    with opened(path) as ledger:
        spend(ledger, b"bytes")
        ledger.verify()
    tamper(path, damage)
    with opened(path) as ledger:
        assert refused(ledger.verify) is Code.LEDGER_BROKEN


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("DELETE FROM ledger WHERE seq = 2", Code.LEDGER_BROKEN),
        ("DELETE FROM ledger", Code.LEDGER_MISSING),
        ("DELETE FROM ledger WHERE seq = 1", Code.LEDGER_BROKEN),
        ("UPDATE ledger SET seq = 7 WHERE seq = 1", Code.LEDGER_BROKEN),
        ("DELETE FROM tip", Code.LEDGER_BROKEN),
        ("UPDATE ledger SET row = 'x' WHERE seq = 2", Code.LEDGER_BROKEN),
        (
            "UPDATE ledger SET row = replace(row, '\"reservation\":1', '\"reservation\":9')",
            Code.LEDGER_BROKEN,
        ),
        ("UPDATE ledger SET row = replace(row, 'shop-1', 'shop-2')", Code.LEDGER_BROKEN),
        ("UPDATE tip SET head = replace(head, '\"seq\":2', '\"seq\":1')", Code.LEDGER_BROKEN),
        ("UPDATE tip SET head = replace(head, 'shop-1', 'shop-2')", Code.LEDGER_SIGNATURE),
    ],
)
def test_what_was_changed_at_an_end_is_found_when_the_ledger_is_opened(
    path: Path, damage: str, code: Code
) -> None:
    with opened(path) as ledger:
        spend(ledger, b"bytes")
    tamper(path, damage)
    assert refused(lambda: opened(path)) is code


def test_a_chain_that_was_cut_and_patched_does_not_have_the_signed_head(path: Path) -> None:
    """Somebody who owns the disk and not the key."""
    with opened(path) as ledger:
        reserve(ledger)
        first = ledger.rows()[0]
    cheap = next_row(first, "refuse", {}, first.time)
    tamper(path, "DELETE FROM ledger WHERE seq = 1")
    tamper(path, f"INSERT INTO ledger VALUES (1, 'refuse', '{row_text(cheap)}')")
    assert refused(lambda: opened(path)) is Code.LEDGER_BROKEN


def test_the_clock_never_moves_the_ledger_back(path: Path) -> None:
    times = iter([datetime(2025, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)])
    clock = lambda: next(times, datetime(2029, 12, 31, tzinfo=UTC))  # noqa: E731
    with LedgerStore.open(path, CLIENT, DATASET, clock=clock) as ledger:
        later, earlier = reserve_row(ledger), reserve_row(ledger)
        assert later.time == earlier.time == "2030-01-01T00:00:00.000+00:00"
        ledger.verify()


@pytest.mark.parametrize("kind", ["reserve", "admit", "close"])
def test_a_row_that_lacks_what_its_kind_has_leaves_no_trace(path: Path, kind: Any) -> None:
    with opened(path) as ledger:
        before = ledger.rows()
        assert refused(lambda: ledger.append(kind, {"step": 0})) is Code.LEDGER_BROKEN
        assert ledger.rows() == before
        ledger.verify()


def test_changed_bytes_are_not_replayed(path: Path) -> None:
    with opened(path) as ledger:
        spend(ledger, b"bytes")
    tamper(path, "UPDATE release SET bytes = x'00'")
    with opened(path) as ledger:
        assert refused(lambda: ledger.find(KEY)) is Code.LEDGER_BROKEN


@pytest.mark.parametrize(
    ("event", "found"), [({"kind": "no-privacy"}, True), ({"kind": "gaussian-sum"}, False)]
)
def test_only_exact_sums_may_be_kept_without_their_bytes(
    path: Path, event: dict[str, Any], found: bool
) -> None:
    """A noised release whose bytes were emptied must not be computed again with new noise."""
    with opened(path) as ledger:
        body = {"job_id": KEY.job_id, "step": 0, "event": event}
        reservation = ledger.append("reserve", body).seq
        spent = {"reservation": reservation, "release_sha256": hashlib.sha256(b"x").hexdigest()}
        stored = ledger.commit_release(KEY, "r", b"", spent)
        if found:
            assert ledger.find(KEY) == stored
        else:
            assert refused(lambda: ledger.find(KEY)) is Code.LEDGER_BROKEN


def test_a_release_under_the_head_of_another_is_not_replayed(path: Path) -> None:
    with opened(path) as ledger:
        spend(ledger, b"one")
        spend(ledger, b"two", key=Key(KEY.job_id, 1, 0))
    tamper(path, "UPDATE release SET head = (SELECT head FROM release WHERE step = 1)")
    with opened(path) as ledger:
        assert refused(lambda: ledger.find(KEY)) is Code.LEDGER_BROKEN


def tamper(path: Path, statement: str) -> None:
    """As somebody would who owns the disk."""
    with sqlite3.connect(path) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        for name, _ in (found := triggers.fetchall()):
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        for _, sql in found:
            connection.execute(sql)
    connection.close()


def test_a_file_cut_short_is_broken(path: Path) -> None:
    with opened(path) as ledger:
        spend(ledger, b"x" * 20_000)
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(LedgerError) as caught, opened(path) as ledger:
        ledger.find(KEY)
    assert caught.value.code is Code.LEDGER_BROKEN


def test_no_place_for_a_ledger_is_a_write_error(tmp_path: Path) -> None:
    assert refused(lambda: opened(tmp_path / "missing" / "ledger.sqlite")) is Code.LEDGER_WRITE


def test_a_full_database_leaves_the_ledger_as_it_was(path: Path) -> None:
    with opened(path) as ledger:
        reserve(ledger)
        before = ledger.rows()
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        assert refused(lambda: spend(ledger, b"x" * 100_000)) is Code.LEDGER_WRITE
        kept = ledger.rows()
        assert kept[: len(before)] == before
        assert [row.kind for row in kept[len(before) :]] == ["reserve"]  # stays counted
    with opened(path) as ledger:
        assert ledger.find(KEY) is None
        spend(ledger, b"room again")


def test_a_full_disk_leaves_the_ledger_as_it_was(path: Path) -> None:
    """A child whose files may not grow: the kernel itself refuses the bytes."""
    with opened(path) as ledger:
        reserve(ledger)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
            with opened(path) as ledger:
                spend(ledger, b"x" * 200_000)
        except LedgerError as error:
            code = 0 if error.code is Code.LEDGER_WRITE else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with opened(path) as ledger:
        kinds = [row.kind for row in ledger.rows()]
        assert kinds == ["open", "reserve", "reserve"]
        assert ledger.find(KEY) is None


def test_a_transaction_leaves_no_trace_of_what_failed(path: Path) -> None:
    with opened(path) as ledger:
        before = ledger.rows()
        with pytest.raises(KeyboardInterrupt):
            interrupted(ledger)
        assert ledger.rows() == before


def interrupted(ledger: LedgerStore) -> None:
    with ledger.transaction():
        reserve(ledger)
        raise KeyboardInterrupt


def test_a_second_release_for_one_request_is_the_first(path: Path) -> None:
    """Two processes that computed the same step: one set of bytes ever leaves."""
    with opened(path) as one, opened(path) as two:
        assert one.find(KEY) is two.find(KEY) is None
        first, second = spend(one, b"first"), spend(two, b"second")
        assert first == second
        assert second.payload == b"first"
        assert [row.kind for row in one.rows()] == ["open", "reserve", "spend", "reserve"]
        with pytest.raises(PrivacyError) as caught:
            spend(two, b"third", request="another")
        assert caught.value.code is Code.REPLAY_CONFLICT


def test_writers_at_once_make_one_chain(path: Path) -> None:
    opened(path).close()

    def work(step: int) -> None:
        with opened(path) as ledger:
            spend(ledger, b"%d" % step, key=Key(KEY.job_id, step, 0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    with opened(path) as ledger:
        verify(ledger.rows())
        assert len(ledger.rows()) == 1 + 2 * 24


def test_a_keyed_hash_cannot_be_computed_from_the_rows(path: Path, tmp_path: Path) -> None:
    """Two ledgers name the same data differently, and no row holds the key."""
    (tmp_path / "elsewhere").mkdir()
    other_path = tmp_path / "elsewhere" / "ledger.sqlite"
    with opened(path) as ledger, opened(other_path) as other:
        named = ledger.keyed_hash("data")
        assert named != other.keyed_hash("data")
        assert named != hashlib.sha256(b"data").hexdigest()
    with opened(path) as ledger:
        assert ledger.keyed_hash("data") == named


def test_nobody_else_may_read_a_ledger(path: Path) -> None:
    with opened(path) as ledger:
        ledger.append("refuse", {})
        files = list(path.parent.glob(f"{path.name}*"))
        assert len(files) > 1
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_many_begin_one_ledger_at_once(tmp_path: Path) -> None:
    """The journal's mode is changed by who begins, and SQLite lets nobody wait for that."""
    for number in range(40):
        path = tmp_path / str(number) / "ledger.sqlite"
        path.parent.mkdir()
        all_of_them = threading.Barrier(4)

        def begin(_: int, path: Path = path, meet: threading.Barrier = all_of_them) -> str:
            meet.wait(timeout=600)
            with LedgerStore.open(path, CLIENT, DATASET, survives_power_cut=False) as ledger:
                return ledger.head

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(begin, range(4)))) == 1


def test_what_was_agreed_is_found_among_few_rows_however_many_there_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sum looks twice; a ledger of years has a row for each."""
    read: list[str] = []
    parse = client.ledger_reader.read_own_text

    def reading(text: str) -> Any:
        read.append(text)
        return parse(text)

    with opened(path) as ledger:
        for step in range(60):
            key = Key(KEY.job_id, step, 0)
            spend(ledger, b"words", key=key)
            named = {"job_id": key.job_id, "step": step, "session": 0}
            ledger.append("agree", {**named, "survivors": [f"shop-{step}"]})
        spend(ledger, b"words", key=Key(KEY.job_id, 60, 0))
        monkeypatch.setattr("client.ledger_reader.read_own_text", reading)
        assert ledger.agreed(Key(KEY.job_id, 0, 0)) == ("shop-0",)
        assert ledger.agreed(Key(KEY.job_id, 59, 0)) == ("shop-59",)
        assert ledger.agreed(Key(KEY.job_id, 60, 0)) is None
        assert len(read) <= 3
        assert ledger.agreed(Key(KEY.job_id, 61, 0)) is None  # no words: all are looked at
        assert len(read) > 60


def test_who_begins_a_ledger_waits_for_another_who_does(path: Path) -> None:
    begun = threading.Event()

    def begin() -> None:
        opened(path).close()
        begun.set()

    waiting = threading.Thread(target=begin, daemon=True)
    with folder_lock(path.parent):
        waiting.start()
        assert not begun.wait(timeout=0.5)
    waiting.join()
    assert begun.is_set()

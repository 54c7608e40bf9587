"""States of secure sums on disk: answered once, in order, private, and losable."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from client.ledger_reader import Key
from client.sum_store import Begun, Kept, SumStore
from common.errors import Code, SumError
from common.privacy.heads import SignedHead
from common.privacy.signing import SigningKey
from common.secure_sum.messages import STAGES, Stage

KEY = Key("ab" * 16, 2, 3)
KEPT = Kept("request", "state", "reply")
BEGUN = Begun("fingerprint", "context")
LEDGER = SigningKey.create()


@pytest.fixture
def states(tmp_path: Path) -> SumStore:
    return SumStore.open(tmp_path)


def code_of(work: object) -> Code:
    with pytest.raises(SumError) as caught:
        work()  # type: ignore[operator]
    return caught.value.code


def filled(states: SumStore, key: Key, *stages: Stage) -> None:
    for stage in stages:
        if stage == "keys":
            states.begin(key, BEGUN, KEPT)
        else:
            states.keep(key, stage, KEPT)


def test_what_is_kept_is_found_by_another_process(states: SumStore, tmp_path: Path) -> None:
    filled(states, KEY, *STAGES[:-1])
    with SumStore.open(tmp_path) as other:
        assert other.newest(KEY.job_id, KEY.step) == (3, "context")
        assert [other.find(KEY, stage) for stage in STAGES] == [KEPT] * 4 + [None]


def test_the_file_is_for_its_owner_alone_and_leaves_no_log_beside_it(
    states: SumStore, tmp_path: Path
) -> None:
    filled(states, KEY, "keys")
    assert [path.name for path in tmp_path.iterdir()] == ["sums.sqlite"]
    assert (tmp_path / "sums.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_is_kept_once_and_in_order(states: SumStore, stage: Stage) -> None:
    before = STAGES[: STAGES.index(stage)]
    if len(before) > 1:
        filled(states, KEY, *before[:-1])
        assert code_of(lambda: states.keep(KEY, stage, KEPT)) is Code.SUM_STAGE
        filled(states, KEY, before[-1])
    else:
        assert code_of(lambda: states.keep(KEY, stage, KEPT)) is Code.SUM_SESSION
        filled(states, KEY, "keys")
    states.keep(KEY, stage, KEPT)
    other = Kept("other request", "s", "r")
    assert code_of(lambda: states.keep(KEY, stage, other)) is Code.SUM_STAGE
    found = states.find(KEY, stage)
    assert found is not None
    assert found.request == "request"


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_session_is_begun_only_after_the_newest(states: SumStore, number: int) -> None:
    filled(states, KEY, "keys", "shares")
    old = Key(KEY.job_id, KEY.step, number)
    assert code_of(lambda: states.begin(old, BEGUN, KEPT)) is Code.SUM_SESSION
    assert states.find(KEY, "shares") == KEPT


def test_what_is_older_is_erased_and_what_is_of_others_stays(states: SumStore) -> None:
    others = [Key("cd" * 16, 0, 0), Key(KEY.job_id, 5, 0)]
    over = [Key(KEY.job_id, 0, 9), Key(KEY.job_id, 2, 1)]
    for key in (*over, *others):
        filled(states, key, "keys", "shares")
    filled(states, KEY, "keys")
    assert [states.find(key, "keys") for key in over] == [None, None]
    assert [states.find(key, "shares") for key in others] == [KEPT, KEPT]
    assert code_of(lambda: states.keep(over[1], "masked", KEPT)) is Code.SUM_SESSION
    assert code_of(lambda: states.keep(over[0], "masked", KEPT)) is Code.SUM_STAGE
    assert code_of(lambda: states.begin(over[0], BEGUN, KEPT)) is Code.SUM_SESSION


def test_revealing_erases_states_and_keeps_replies(states: SumStore) -> None:
    filled(states, KEY, *STAGES)
    kept = [states.find(KEY, stage) for stage in STAGES]
    assert kept == [Kept("request", "", "reply")] * 5


def test_a_file_that_is_none_is_named_and_nothing_is_put_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "sums.sqlite").write_bytes(b"no database at all, and rather long for one" * 99)
    before = (tmp_path / "sums.sqlite").read_bytes()
    with pytest.raises(SumError, match=r"sums\.sqlite") as caught:
        SumStore.open(tmp_path)
    assert caught.value.code is Code.SUM_STAGE
    assert (tmp_path / "sums.sqlite").read_bytes() == before


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert code_of(lambda: SumStore.open(tmp_path / "missing")) is Code.SUM_STAGE


def test_a_file_that_was_put_back_readable_by_others_is_narrowed(tmp_path: Path) -> None:
    SumStore.open(tmp_path).__exit__()
    (tmp_path / "sums.sqlite").chmod(0o644)
    SumStore.open(tmp_path).__exit__()
    assert (tmp_path / "sums.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("way", ["reveal", "a newer session", "forget", "a crash before"])
def test_what_is_erased_is_overwritten_in_the_journal_too(
    states: SumStore, tmp_path: Path, way: str
) -> None:
    """A journal that is unlinked with the pages as they were leaves them to the file system."""
    secret = Kept("request", "secret" * 200, "reply")
    states.begin(KEY, BEGUN, secret)
    kept = watched_journal(states, tmp_path)
    if way == "reveal":
        for stage in STAGES[1:]:
            states.keep(KEY, stage, Kept("request", "secret", "reply"))
    elif way == "a newer session":
        states.begin(Key(KEY.job_id, KEY.step, 4), BEGUN, KEPT)
    elif way == "forget":
        states.forget(KEY.job_id)
    else:
        die_in_a_transaction(tmp_path)
        assert b"secret" in (tmp_path / "sums.sqlite-journal").read_bytes()
        (tmp_path / "kept").mkdir()
        kept.append(tmp_path / "kept" / "journal")
        kept[-1].hardlink_to(tmp_path / "sums.sqlite-journal")
        SumStore.open(tmp_path).__exit__()
    assert kept
    for journal in kept:
        assert journal.stat().st_size > 512
        assert b"secret" not in journal.read_bytes()
    assert not (tmp_path / "sums.sqlite-journal").exists()
    if way != "a crash before":
        assert b"secretsecret" not in (tmp_path / "sums.sqlite").read_bytes()


def watched_journal(states: SumStore, folder: Path) -> list[Path]:
    """Other names of every journal, as it was when its transaction ended."""
    kept: list[Path] = []

    def look(statement: str) -> None:
        journal = folder / "sums.sqlite-journal"
        if statement == "COMMIT" and journal.exists():
            kept.append(folder / f"journal-{len(kept)}")
            kept[-1].hardlink_to(journal)
            assert b"secret" in journal.read_bytes()

    states._connection.set_trace_callback(look)
    return kept


def die_in_a_transaction(folder: Path) -> None:
    """Half of an erasure, pages and all, by a process that ends there."""
    pid = os.fork()
    if pid == 0:
        file = sqlite3.connect(folder / "sums.sqlite", isolation_level=None)
        file.execute("PRAGMA cache_size = 1")
        file.execute("PRAGMA cache_spill = 1")
        file.execute("BEGIN IMMEDIATE")
        file.execute("UPDATE stage SET state = zeroblob(1)||hex(randomblob(40000))")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_newest_head_is_kept_whatever_is_said_again(tmp_path: Path) -> None:
    """An old answer rests on an old row: its head would hide that newer rows are gone."""
    heads = [SignedHead.sign(LEDGER, "shop-1", seq, "ab" * 32) for seq in (7, 20, 10)]
    with SumStore.open(tmp_path) as states:
        assert states.head() is None
        for head in heads:
            states.saw(head)
        assert states.head() == heads[1]

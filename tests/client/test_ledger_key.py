"""The ledger's key: made with the ledger, and neither begins anew without the other."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import client.ledger_key
import client.ledger_store
from client.ledger_store import LedgerStore
from common.errors import Code, HushRecError, LedgerError
from common.privacy.signing import SigningKey

DATASET = "ab" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def opened(path: Path) -> LedgerStore:
    return LedgerStore.open(path, "shop-1", DATASET)


def refused(action: Callable[[], Any]) -> Code:
    with pytest.raises(HushRecError) as caught:
        action()
    return caught.value.code


def names(path: Path) -> set[str]:
    """Files left when the ledger is closed."""
    return {file.name for file in path.parent.iterdir()}


def test_a_ledger_begins_with_a_key_that_nobody_else_may_read(path: Path) -> None:
    with opened(path) as ledger:
        public = ledger.public_key
        assert ledger.rows()[0].body["public_key"] == public == ledger.key.public
        ledger.signed_head().check(public)
    key = path.with_name("ledger_key.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert SigningKey.load(key).public == public
    assert names(path) == {"ledger.sqlite", "ledger_key.pem"}
    with opened(path) as ledger:
        assert ledger.public_key == public


@pytest.mark.parametrize("lost", ["ledger.sqlite", "ledger_key.pem"])
def test_one_without_the_other_never_begins_anew(path: Path, lost: str) -> None:
    with opened(path) as ledger:
        head = ledger.head
    kept = path.with_name(lost).rename(path.with_name("kept"))
    before = names(path)
    for _ in range(2):
        assert refused(lambda: opened(path)) is Code.LEDGER_MISSING
        assert {name for name in names(path) if "-" not in name} == before
    kept.rename(path.with_name(lost))
    with opened(path) as ledger:
        assert ledger.head == head


def test_an_emptied_ledger_never_begins_anew(path: Path) -> None:
    opened(path).close()
    path.write_bytes(b"")
    assert refused(lambda: opened(path)) is Code.LEDGER_MISSING


def test_the_key_of_another_ledger_is_refused(path: Path) -> None:
    opened(path).close()
    SigningKey.create().save(path.with_name("ledger_key.pem"))
    assert refused(lambda: opened(path)) is Code.LEDGER_SIGNATURE


def test_a_key_that_cannot_be_read_is_missing(path: Path) -> None:
    opened(path).close()
    path.with_name("ledger_key.pem").write_text("not a key")
    assert refused(lambda: opened(path)) is Code.LEDGER_MISSING


POINTS = {
    "before the key": (client.ledger_store, "begin_key", False),
    "after the key": (client.ledger_store, "begin_key", True),
    "before the first row": (LedgerStore, "_insert", False),
    "in the transaction": (LedgerStore, "_insert", True),
    "before the key has its name": (client.ledger_store, "keep_key", False),
    "after the key has its name": (client.ledger_store, "keep_key", True),
}


@pytest.mark.parametrize("point", list(POINTS))
def test_a_beginning_that_died_is_finished_by_the_next(path: Path, point: str) -> None:
    owner, name, after = POINTS[point]
    child = os.fork()
    if child == 0:
        original = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> None:
            if after:
                original(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            setattr(owner, name, dying)
            opened(path)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with opened(path) as ledger:
        ledger.verify()
        assert [row.kind for row in ledger.rows()] == ["open"]
        ledger.append("refuse", {})
    with opened(path) as ledger:
        ledger.verify()
        assert {name for name in names(path) if "-" not in name} == {
            "ledger.sqlite",
            "ledger_key.pem",
        }


def test_many_that_begin_at_once_begin_one_ledger(path: Path) -> None:
    def work(_: int) -> str:
        with opened(path) as ledger:
            ledger.append("refuse", {})
            return ledger.public_key

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(work, range(16)))
    assert len(keys) == 1
    with opened(path) as ledger:
        ledger.verify()
        assert ledger.count("refuse") == 16


@pytest.mark.parametrize("looked_for", ["ledger.sqlite", "ledger_key.pem"])
def test_a_ledger_that_another_begins_at_the_first_look_is_not_lost(
    path: Path, monkeypatch: Any, looked_for: str
) -> None:
    exists, begun = Path.exists, list[str]()

    def meanwhile(self: Path, **options: Any) -> bool:
        found = exists(self, **options)
        if self.name == looked_for and not begun:
            begun.append(self.name)
            opened(path).close()
        return found

    monkeypatch.setattr(Path, "exists", meanwhile)
    opened(path).close()


def test_a_copy_of_the_file_alone_holds_no_secret(path: Path, tmp_path: Path) -> None:
    """A backup of the ledger without its key says neither the key nor what it derives."""
    with opened(path) as ledger:
        ledger.append("refuse", {"detail": ledger.keyed_hash("data")})
        secrets = [ledger.key.derive("ledger names")]
        private = ledger.key._key.private_bytes_raw()
    content = path.read_bytes()
    for secret in (*secrets, private):
        assert secret not in content
        assert secret.hex().encode() not in content
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = Path(shutil.copy(path, elsewhere / "ledger.sqlite"))
    assert refused(lambda: opened(copy)) is Code.LEDGER_MISSING


def test_a_folder_that_cannot_be_written_is_a_write_error(path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.ledger_key.os, "fsync", full)
    with pytest.raises(LedgerError) as caught:
        opened(path)
    assert caught.value.code is Code.LEDGER_WRITE
    monkeypatch.undo()
    opened(path).close()

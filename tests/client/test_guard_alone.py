"""Copies of one request that come at once: one is charged, all get the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client.guard import guard as guard_module
from client.guard.alone import alone
from common.errors import Code, LedgerError
from common.protocol import OK, Reply, Task

COPIES = 8
HOLDER = """
import sys, time
from pathlib import Path
from client.guard.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Nobody waits for the lock before so many have found nothing that was answered."""

    def arrange(threads: int) -> None:
        all_of_them = threading.Barrier(threads)

        @contextmanager
        def after_all(ledger: Path) -> Iterator[None]:
            all_of_them.wait(timeout=60)
            with alone(ledger):
                yield

        monkeypatch.setattr(guard_module, "alone", after_all)

    return arrange


def ask_all(shop: Any, tasks: list[Task]) -> list[Reply]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(shop.ask, tasks))


def test_copies_of_one_request_are_charged_once_and_answered_alike(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any], meeting: Callable[[int], None]
) -> None:
    shop = open_shop(prepare_run(fixed_noise=False))
    meeting(COPIES)
    replies = ask_all(shop, [shop.task()] * COPIES)
    assert {reply.code for reply in replies} == {OK}
    assert len({reply.arrays["sum"].tobytes() for reply in replies}) == 1
    assert len({reply.head.hash for reply in replies if reply.head is not None}) == 1
    assert shop.kinds() == ["open", "admit", "reserve", "spend"]


def test_other_requests_wait_and_are_all_answered(
    shop: Any, meeting: Callable[[int], None]
) -> None:
    meeting(3)
    assert [reply.code for reply in ask_all(shop, [shop.task(step) for step in range(3)])] == [
        OK
    ] * 3
    kinds = shop.kinds()
    assert kinds.count("reserve") == kinds.count("spend") == 3
    assert kinds[2:] == ["reserve", "spend"] * 3  # one after another


def test_a_failure_lets_the_next_one_in(shop: Any, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("client.training.declared", lambda *_: 1 / 0)
        assert shop.ask(shop.task()) == Reply(str(Code.INTERNAL))
    assert shop.ask(shop.task()).code == OK


def test_the_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    got = threading.Event()

    def wait() -> None:
        with alone(ledger):
            got.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert not got.wait(timeout=0.2)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert got.wait(timeout=30)
    waiting.join()


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work(_: int) -> None:
        with alone(tmp_path / "ledger.sqlite"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            os.sched_yield()
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == [1]
    assert (tmp_path / "ledger.lock").stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught, alone(tmp_path / "missing" / "ledger.sqlite"):
        pass
    assert caught.value.code is Code.LEDGER_WRITE


def test_an_error_inside_is_not_mistaken_for_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), alone(tmp_path / "ledger.sqlite"):
        raise FileNotFoundError

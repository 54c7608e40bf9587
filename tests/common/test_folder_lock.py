"""One at a time in a folder, whoever dies."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.folder_lock import folder_lock


def test_threads_exclude_each_other_and_leave_nothing(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work(_: int) -> None:
        with folder_lock(tmp_path):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            os.sched_yield()
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with folder_lock(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with folder_lock(tmp_path) as names:
        os.fsync(names)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), folder_lock(tmp_path / "missing"):
        pass

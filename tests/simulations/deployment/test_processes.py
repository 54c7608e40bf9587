"""Real processes: they are started again, stopped, frozen, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RunError
from simulations.deployment.processes import Processes, Unit, until

SOON = 30.0
WAITS = "import signal; print('up', flush=True); signal.pause()"
HAS_CHILD = (
    "import subprocess, sys, signal\n"
    f"child = subprocess.Popen([sys.executable, '-c', {WAITS!r}], start_new_session=True)\n"
    "print('child', child.pid, flush=True); signal.pause()"
)


def unit(code: str, name: str = "one", restart: float | None = None) -> Unit:
    return Unit(name, (sys.executable, "-I", "-c", code), dict(os.environ), restart)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def child_of(processes: Processes, name: str = "one") -> int:
    until(lambda: "child" in processes.log(name) and "up" in processes.log(name), "child", SOON)
    return int(processes.log(name).partition("child ")[2].split()[0])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as found:
        yield found


def test_a_process_that_was_killed_is_started_again(processes: Processes) -> None:
    processes.start(unit(WAITS, restart=0.05))
    first = processes.pid("one")
    assert processes.kill("one")
    until(lambda: processes.starts("one") == 2 and processes.is_up("one"), "second life", SOON)
    assert processes.pid("one") != first
    assert processes.statuses("one") == (128 + signal.SIGKILL,)


def test_what_a_killed_process_had_started_ends_with_it(processes: Processes) -> None:
    processes.start(unit(HAS_CHILD))
    child = child_of(processes)
    assert child in [one.pid for one in processes.tree("one")]
    processes.kill("one")
    assert processes.wait("one", SOON) == 128 + signal.SIGKILL
    assert gone(child)


def test_a_stopped_process_stays_down_until_it_is_started(processes: Processes) -> None:
    processes.start(unit(WAITS, restart=0.05))
    until(lambda: "up" in processes.log("one"), "start", SOON)
    assert processes.stop("one") == 128 + signal.SIGTERM
    assert not processes.is_up("one")
    processes.restart("one")
    assert processes.is_up("one")
    assert processes.starts("one") == 2


def test_a_process_that_does_not_listen_is_killed_in_the_end(processes: Processes) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    processes.start(unit(deaf + "while True: signal.pause()"))
    until(lambda: "up" in processes.log("one"), "start", SOON)
    assert processes.stop("one", wait_seconds=0.1) == 128 + signal.SIGKILL


def test_frozen_processes_rest_with_their_children(processes: Processes) -> None:
    processes.start(unit(HAS_CHILD))
    child = child_of(processes)
    frozen = processes.freeze("one")
    assert child in frozen
    until(lambda: all(_state(pid) == "T" for pid in frozen), "freezing", SOON)
    processes.thaw(frozen)
    until(lambda: all(_state(pid) != "T" for pid in frozen), "thawing", SOON)
    processes.freeze("one")
    assert processes.stop("one") == 128 + signal.SIGTERM  # frozen ones can be ended, too


def test_the_exit_status_and_the_log_are_those_of_the_process(processes: Processes) -> None:
    processes.start(unit("import sys; print('said', file=sys.stderr); sys.exit(3)"))
    assert processes.wait("one", SOON) == 3
    assert processes.log("one") == "said\n"


def test_one_name_is_one_process(processes: Processes) -> None:
    processes.start(unit(WAITS))
    with pytest.raises(RunError, match="running already"):
        processes.start(unit(WAITS))


def test_nothing_outlives_its_starter_even_if_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path\n"
        "from simulations.deployment.processes import Processes, Unit\n"
        f"found = Processes(Path({str(tmp_path)!r}))\n"
        f"found.start(Unit('one', (sys.executable, '-c', {HAS_CHILD!r}), dict(os.environ)))\n"
        "print(found.pid('one'), flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        main = int(starter.stdout.readline())
        log = tmp_path / "one.log"
        until(lambda: "up" in log.read_text(), "child", SOON)
        child = int(log.read_text().partition("child ")[2].split()[0])
        starter.kill()
    until(lambda: gone(main) and gone(child), "the end of both", SOON)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

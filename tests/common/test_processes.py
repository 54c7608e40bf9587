"""A child ends with the one that started it, however that one ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.launcher.deployment import until

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
child.wait()
"""
CHILD = """
import signal, threading
from common.processes import end_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent()
print("tied", flush=True)
threading.Event().wait()
"""
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's own")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_child_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-I", "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, said = parent.stdout.readline().split()
    assert said == "tied"
    assert not has_ended(int(pid))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: has_ended(int(pid)), "the child to end", 30)


def test_a_child_whose_parent_has_ended_before_does_not_begin() -> None:
    leash = [sys.executable, "-I", "-m", "client.running.leash"]
    echo = [sys.executable, "-I", "-c", "print('began')"]
    done = subprocess.run([*leash, "1", *echo], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")

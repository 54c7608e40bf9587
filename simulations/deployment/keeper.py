"""Keeps one process and all that it starts: when that process ends, so does the rest.

A supervisor like systemd ends what is left of a unit by its cgroup. Here a process of our own
adopts every orphan and ends it. It does so too when whoever started it is gone, which it learns
from its standard input: so nothing outlives a test that was killed.

Run as a file of its own, by `python -I -S`, with nothing but the standard library: the first
line on standard output is the process id; standard error is the process's own, for both streams.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

__all__ = ["main", "parents"]

_PR_SET_CHILD_SUBREAPER: Final = 36


def parents() -> dict[int, int]:
    """The parent of every process, by process id; dead ones that nobody has looked at included."""
    found = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  often, and pathlib takes five times as long
        if entry.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                    fields = file.read().rpartition(b")")[2].split()
                found[int(entry)] = int(fields[1])
    return found


def main(command: list[str]) -> int:
    """Run a command until it ends, then end what it left behind.

    Returns:
        Its exit status; 128 and the number of the signal that ended it.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(  # noqa: S603  no shell
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
    )
    os.write(1, f"{process.pid}\n".encode())
    threading.Thread(target=_end_when_alone, args=(process.pid,), daemon=True).start()
    status = _waited(process.pid)
    _sweep()
    return status


def _waited(pid: int) -> int:
    """Wait for the process; orphans that end before it are buried."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_when_alone(pid: int) -> None:
    while os.read(0, 1):
        pass
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _sweep() -> None:
    """End everything that is left; what an orphan has started becomes ours in its turn."""
    while left := [pid for pid, parent in parents().items() if parent == os.getpid()]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                os.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

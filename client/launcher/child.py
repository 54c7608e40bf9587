"""Starts the process of a task: a fresh interpreter that knows the message and little else.

Guarantee:
    The process is this installation's `python -I`: neither `PYTHONPATH`, nor the working
    directory, nor the user's own packages are on its path. Of this process's environment it
    gets the names in `KEPT` and nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Final

from client.launcher.parcel import Errand, Packed, read_packed, write_errand
from common.errors import Code, HushRecError, RunError

__all__ = ["KEPT", "run_task"]

KEPT: Final = (
    "CUDA_VISIBLE_DEVICES",
    "HUSHREC_DEBUG",
    "HUSHREC_LOG",
    "LANG",
    "LC_ALL",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TMPDIR",
    "TZ",
)
"""What a task may know of its node's environment."""
_SET: Final = {
    "PATH": os.defpath,
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
_FAREWELL_SECONDS: Final = 10
"""How long a process that has answered may take to end."""
_COMMAND: Final = (sys.executable, "-I", "-m", "client.launcher.task")


def run_task(errand: Errand, packed: Packed) -> Packed:
    """Hand a message to a process of its own, and wait for the answer.

    However the wait ends, the process has ended after it.

    Raises:
        RunError: `internal`, the process ended without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="hushrec-") as empty:
        process = subprocess.Popen(  # noqa: S603  no shell, and no word of it from outside
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=empty,
            env=_environment(empty),
        )
        try:
            return _exchange(process, errand, packed)
        finally:
            _end(process)


def _exchange(process: subprocess.Popen[bytes], errand: Errand, packed: Packed) -> Packed:
    if process.stdin is None or process.stdout is None:
        raise _silent("has no pipes")
    try:
        write_errand(process.stdin, errand, packed)
        answer = read_packed(process.stdout)
        process.wait(timeout=_FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        return answer
    except (OSError, HushRecError) as error:
        raise _silent(f"ended without an answer ({error})") from None
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # nothing where it has ended
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.wait()


def _environment(home: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **_SET, "HOME": home, "FLWR_HOME": home}


def _silent(what: str) -> RunError:
    return RunError(
        Code.INTERNAL,
        f"the process of the task {what}.",
        where="launcher",
        remedy="What it wrote to standard error, above, says why.",
    )

"""Who works in a training's folder: one process of each kind, and who dies lets go."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import Code, RunError

__all__ = ["APP_LOCK", "DRIVER_LOCK", "alone"]

APP_LOCK: Final = ".app.lock"
"""Held by the server app that works in the folder."""
DRIVER_LOCK: Final = ".driver.lock"
"""Held by the operator's command that follows the training."""
_LOOK_SECONDS: Final = 0.2


@contextmanager
def alone(run: Path, lock: str, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Be the one process of its kind in a run's folder; who dies lets go.

    Args:
        run: the folder.
        lock: name of the file that stands for the kind.
        patience_seconds: how long to wait for another one to end.

    Raises:
        RunError: `run-in-use`, there is another.
    """
    file = os.open(run / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience_seconds
        while not _taken(file):
            if time.monotonic() >= deadline:
                raise RunError(
                    Code.RUN_IN_USE,
                    "another process is working in this folder.",
                    where=str(run),
                    remedy="Wait until it ends.",
                )
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

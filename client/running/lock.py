"""One `hushrec client run` for a folder: the kernel knows who is there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import Code, DataError, RunError

__all__ = ["LOCK", "only_one"]

LOCK: Final = "run.lock"
"""In the client's folder; empty, and never removed."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Be the one that runs this client.

    Raises:
        RunError: `run-in-use`, there is another.
        DataError: the folder cannot be written.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"cannot be written: {error.strerror}.",
            where=str(folder / LOCK),
            remedy="Check the folder and its permissions.",
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise RunError(
            Code.RUN_IN_USE,
            "this client runs already.",
            where=str(folder),
            remedy="One is enough: look at it with `curl http://127.0.0.1:9464/health`.",
        ) from None
    try:
        yield
    finally:
        os.close(file)

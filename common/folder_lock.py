"""One process at a time in a folder, for what is made once: the kernel knows who is there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["folder_lock"]


@contextmanager
def folder_lock(folder: Path) -> Iterator[int]:
    """Wait until nobody else has the folder, by `flock` on the folder itself, and keep it so.

    Threads of one process exclude each other too. Nothing is left behind by who dies.

    Yields:
        The folder's descriptor, to flush its names to the disk.

    Raises:
        OSError: it cannot be opened or locked.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield opened
    finally:
        fcntl.flock(opened, fcntl.LOCK_UN)  # a forked child may hold the descriptor too
        os.close(opened)

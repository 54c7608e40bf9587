"""One release at a time: copies of one request must not each be charged.

An advisory lock beside the ledger, by `flock`: the kernel gives it back when its process dies,
and two threads of one process exclude each other as two processes do. Whoever holds it waits
for nobody else who could want it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from client.ledger_file import cannot_write

__all__ = ["alone"]

_NAME: Final = "ledger.lock"


@contextmanager
def alone(ledger: Path) -> Iterator[None]:
    """Wait until nobody else computes a release of the ledger at `ledger`, and keep it so.

    What is charged twice without it is at most too much, never too little.

    Raises:
        LedgerError: `ledger-write`, the place cannot be written or locked.
    """
    path = ledger.with_name(_NAME)
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(error.strerror or "no permission", path) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise cannot_write(error.strerror or "no lock", path) from None
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a forked child may hold the descriptor too
    finally:
        os.close(lock)

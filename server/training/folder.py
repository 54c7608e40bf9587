"""A training's folder in the server's home: `runs/NAME`, what came of it, who works in it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import Field

from common.config import Settings, read_json
from common.errors import Code, HushRecError, RunError
from common.files import write_atomic

__all__ = ["APP_LOCK", "OK", "OUTCOME_FILE", "RUNS", "Outcome", "alone"]

RUNS: Final = "runs"
"""Folder of the trainings, in the server's home."""
OUTCOME_FILE: Final = "outcome.json"
APP_LOCK: Final = ".app.lock"
"""Held by the server app that works in the folder."""
OK: Final = "ok"
"""In the place of a code, where the training came to its model."""
_LOOK_SECONDS: Final = 0.2


class Outcome(Settings):
    """How a server app ended; there is none of one that was killed."""

    run_id: int = Field(ge=0)
    """Flower's id of its run."""
    code: str
    """`ok`, or why there is no model yet."""
    message: str = ""
    """What was wrong."""
    where: str = ""
    """File, setting or step."""
    remedy: str = ""
    """What to do."""
    version: str | None = None
    """The model's version, once it is registered."""

    @classmethod
    def of_error(cls, run_id: int, error: Exception) -> Outcome:
        """From what ended it; an error that nobody foresaw has its type alone."""
        if not isinstance(error, HushRecError):
            return cls(
                run_id=run_id,
                code=str(Code.INTERNAL),
                message=f"{type(error).__name__}, which nobody foresaw.",
                remedy="The trace is in the log of the process that starts server apps.",
            )
        return cls(
            run_id=run_id,
            code=str(error.code),
            message=error.message,
            where=error.where,
            remedy=error.remedy,
        )

    @classmethod
    def of_run(cls, run: Path) -> Outcome | None:
        """The last outcome in a run's folder; None if there is none.

        Raises:
            ConfigError: it cannot be read.
        """
        path = run / OUTCOME_FILE
        return cls.load(read_json(path), where=str(path)) if path.exists() else None

    def save(self, run: Path) -> None:
        """Write it, in the place of the one before.

        Raises:
            DataError: it cannot be written.
        """
        write_atomic(run / OUTCOME_FILE, (self.model_dump_json(indent=2) + "\n").encode())


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

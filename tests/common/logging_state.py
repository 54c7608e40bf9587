"""What `common.logs.configure` changes in a process, put back after a test."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common import log_records, logs


class Written(io.StringIO):
    """Standard error of a process that has configured its logs."""

    @property
    def text(self) -> str:
        return self.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


@contextmanager
def guarded(style: logs.Style = logs.Style.JSON, role: str = "test") -> Iterator[Written]:
    """Logs as `configure` makes them, into memory."""
    root, known = (
        logging.root,
        [
            (one, one.handlers[:], one.propagate)
            for one in logging.root.manager.loggerDict.values()
            if isinstance(one, logging.Logger)
        ],
    )
    before = (root.handlers[:], root.level, logging.getLogRecordFactory(), logging.getLoggerClass())
    joined = [one for one, _, _ in known if type(one) is logs._Joined]
    kept = (logging.raiseExceptions, logging.lastResort)
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    vouched, guard, stderr, written = (
        set(log_records._VOUCHED),
        logs._GUARD[:],
        sys.stderr,
        Written(),
    )
    sys.stderr = written
    try:
        logs.configure(role, style)
        yield written
    finally:
        sys.stderr = stderr
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        logging.setLogRecordFactory(before[2])
        logging.setLoggerClass(before[3])
        logging.raiseExceptions, logging.lastResort = kept
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        for logger, handlers, propagate in known:
            if type(logger) is logs._Joined and logger not in joined:
                logger.__class__ = logging.Logger
            logger.handlers[:] = handlers
            logger.propagate = propagate
        log_records._VOUCHED.clear()
        log_records._VOUCHED.update(vouched)
        logs._GUARD[:] = guard

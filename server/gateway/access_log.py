"""Who came, in JSON Lines: one line for each request. No bodies, no headers, no query."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

__all__ = ["LONGEST_PATH", "AccessLog", "Entry"]

LONGEST_PATH: Final = 200
"""Whoever calls chooses the path: more characters are not kept."""
_KEPT_FILES: Final = 9


@dataclass(frozen=True)
class Entry:
    """One request.

    Attributes:
        side: `outside`, or `inside` for the operator's calls and whatever was refused there.
        remote: address it came from.
        method: empty where there was no request yet.
        path: as it was sent, without the query.
        status: of the answer; 0 if there was none, 503 for a connection too many.
        received: bytes of the request's body that were read.
        sent: bytes of the answer's body.
        milliseconds: from the request's head to the answer's end.
        node: whom Flower authenticated, where it did.
    """

    side: str
    remote: str
    method: str
    path: str
    status: int
    received: int = 0
    sent: int = 0
    milliseconds: float = 0.0
    node: str = ""


class AccessLog:
    """A file that is not readable by others and starts anew when it is full; old ones are kept.

    Args:
        path: the file; older ones are `path.1` to `path.9`.
        most_bytes: when to start anew.
    """

    def __init__(self, path: Path, most_bytes: int = 64 * 2**20) -> None:
        self._handler = _Private(path, maxBytes=most_bytes, backupCount=_KEPT_FILES, delay=False)
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, entry: Entry) -> None:
        """Add a line. A full disk is said on stderr and stops no request."""
        values = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "side": entry.side,
            "remote": entry.remote,
            "method": entry.method[:20],
            "path": entry.path[:LONGEST_PATH],
            "status": entry.status,
            "received": entry.received,
            "sent": entry.sent,
            "ms": round(entry.milliseconds, 1),
        }
        if entry.node:
            values["node"] = entry.node
        line = json.dumps(values)
        self._handler.handle(logging.makeLogRecord({"msg": line, "levelno": logging.INFO}))

    def close(self) -> None:
        """Let go of the file."""
        self._handler.close()


class _Private(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        made = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(made, "a", encoding="utf-8")

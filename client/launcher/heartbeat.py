"""Tells the SuperLink that the node is there, until it is told to stop.

Flower counts a node as connected for two intervals after its last heartbeat, so a node that
was killed is let in again when these are over. Flower's own sender beats every 30 seconds; its
interval is a constant of a module, and a refusal ends its thread and leaves a node that is
alive and deaf. This one asks for the interval that it is given, and what it cannot say it leaves to
the node's next question, which gets the same answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["LEAST_SECONDS", "MOST_SECONDS", "beating"]

LEAST_SECONDS: Final = 10
MOST_SECONDS: Final = 1800
"""What a SuperLink takes as an interval."""
_LOG: Final = logging.getLogger("hushrec.launcher")
_SHARE: Final = 0.75
"""Of the interval: room for the call and its delays."""


@contextmanager
def beating(beat: Callable[[], object], interval_seconds: float) -> Iterator[None]:
    """Call `beat` several times in two intervals, in a thread, until the block ends."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(_SHARE * interval_seconds):
            try:
                beat()
            except Exception:  # noqa: BLE001  the node asks too, and says what it is
                _LOG.debug("a heartbeat failed", exc_info=True)

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()

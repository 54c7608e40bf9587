"""A little of chance for waits: clients that lost one server do not come back in one moment."""

from __future__ import annotations

import time

__all__ = ["spread"]


def spread(longest_seconds: float) -> float:
    """Between half of a wait and all of it, by the last digits of a clock that is nobody else's.

    Args:
        longest_seconds: the whole wait.
    """
    return longest_seconds * (1 + time.monotonic_ns() // 1000 % 1000 / 1000) / 2

"""How long to wait before a child is started again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from client.jitter import spread

__all__ = ["Backoff"]

_FIRST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 65.0
"""After Flower's longest lease, a minute, a node that was killed is let in again."""
_WELL_SECONDS: Final = 120.0
_MOST_DOUBLINGS: Final = 7


@dataclass
class Backoff:
    """Waits that double while a child keeps ending, and begin anew after it ran well.

    Attributes:
        first_seconds: the shortest wait, before what is taken off.
        longest_seconds: the longest; always where only a person can mend what is wrong.
        well_seconds: a child that ran so long ran well.
    """

    first_seconds: float = _FIRST_SECONDS
    longest_seconds: float = _LONGEST_SECONDS
    well_seconds: float = _WELL_SECONDS
    _ended: int = 0

    def wait_seconds(self, ran_seconds: float, *, lasting: bool) -> float:
        """How long to wait now: between half of a wait and all of it.

        Shops that lost the same server do not come back in one moment.

        Args:
            ran_seconds: how long the child ran.
            lasting: it ended of something that only a person can mend.
        """
        if ran_seconds >= self.well_seconds:
            self._ended = 0
        doubled = self.first_seconds * 2 ** min(self._ended, _MOST_DOUBLINGS)
        self._ended += 1
        wait = self.longest_seconds if lasting else min(doubled, self.longest_seconds)
        return spread(wait)

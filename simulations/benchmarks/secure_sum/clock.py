"""Seconds by the clock on the wall and of the processor, since other work may share the cores."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Clock", "Seconds"]


@dataclass(frozen=True)
class Seconds:
    """How long something took.

    Attributes:
        wall: by the clock.
        processor: of this process, over all its threads.
    """

    wall: float
    processor: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.processor + other.processor)


class Clock:
    """Measures what happens inside `with`."""

    def __init__(self) -> None:
        self.seconds = Seconds(0.0, 0.0)
        self._begun = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._begun = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now = Seconds(time.perf_counter() - self._begun[0], time.process_time() - self._begun[1])
        self.seconds += now

"""What processes take: memory at its highest, and processor time, by their part in it all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["Usage", "Watch"]

_TICK: Final = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Usage:
    """Of one part, over all its processes.

    Attributes:
        bytes: resident at most, the largest process.
        seconds: of a processor, all processes.
    """

    bytes: int = 0
    seconds: float = 0.0


class Watch:
    """Looks at processes while they run; use as a context manager.

    Args:
        parts: the processes of each part by name, asked for again and again.
    """

    def __init__(self, parts: Callable[[], Mapping[str, list[int]]]) -> None:
        self._parts = parts
        self._seen: dict[tuple[str, int], Usage] = {}
        self._begun: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._look(first=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def of(self, part: str) -> Usage:
        """What a part took since the block began."""
        found = [usage for (name, _), usage in self._seen.items() if name == part]
        return Usage(
            max((one.bytes for one in found), default=0), sum(one.seconds for one in found)
        )

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self._look()

    def _look(self, *, first: bool = False) -> None:
        for part, pids in self._parts().items():
            for pid in pids:
                now = _usage(pid)
                if now is None:
                    continue
                began = self._begun.setdefault(pid, now.seconds if first else 0.0)
                self._seen[part, pid] = Usage(now.bytes, now.seconds - began)


def _usage(pid: int) -> Usage | None:
    """None of a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM 0 kB")
    return Usage(1024 * int(peak.split()[1]), (int(numbers[11]) + int(numbers[12])) / _TICK)

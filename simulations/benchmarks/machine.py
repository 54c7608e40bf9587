"""The machine that a benchmark ran on, said beside every figure."""

from __future__ import annotations

import os
from platform import platform, python_version

__all__ = ["machine"]


def machine() -> dict[str, str | float | int | None]:
    """Cores, load over the last minute, platform and Python."""
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "platform": platform(),
        "python": python_version(),
    }

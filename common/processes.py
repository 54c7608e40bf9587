"""A process that ends with the one that started it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

__all__ = ["end_with_parent"]

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent: int | None = None) -> None:
    """From now on the kernel kills this process when its parent has ended; kept by `exec`.

    The parent is the thread that started this process: start it from one that lasts. On
    another system than Linux nothing happens.

    Args:
        parent: its process id; where it has ended already, so does this process. None where
            something else, such as a pipe, tells of that.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit(1)

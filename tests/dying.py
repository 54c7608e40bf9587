"""A process that is killed before each of its calls that change or open a file, one after another.

For scripts that tests run in a process of their own: it forks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["everywhere"]

_CALLS: Final = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync")
_MOST: Final = 500


def everywhere(
    work: Callable[[int], object], prepare: Callable[[int], object] = lambda _: None
) -> Iterator[int]:
    """Numbers of the calls before which a child that did `work(number)` was killed.

    Ends once a child lives. Both get the number, so that every child has its own place;
    `prepare` is not killed.
    """
    for at in range(1, _MOST):
        prepare(at)
        child = os.fork()
        if child == 0:
            _arm(at)
            work(at)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return
        yield at
    raise RuntimeError("a child never lives")


def _arm(at: int) -> None:
    left = at

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **names: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **names)

        return called

    for name in _CALLS:
        setattr(os, name, dying(getattr(os, name)))

"""Work in a forked process of its own: it begins with what is here, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

__all__ = ["apart"]

_Answer = TypeVar("_Answer")


def apart(work: Callable[[], _Answer]) -> _Answer:
    """What `work` returns, which JSON can say, from a forked process.

    Raises:
        SystemExit: the process failed; it has said why.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the parent's frames
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise SystemExit("a measurement failed")
    answer: _Answer = json.loads(said)
    return answer

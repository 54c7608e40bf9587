"""One attempt to answer a task, in a forked client that is killed on the way, or is not.

The client is the real ClientApp on a real folder. Its process dies by SIGKILL, from inside at
a chosen call of a function, Python's or C's, or from outside after a chosen time, so that it
may also die within a call. What it got out before it died is what the parent read.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from flwr.app import Context, Message, RecordDict

from client.app import make_app
from client.guard import Guard
from client.ledger_store import LedgerStore
from common.artifacts import arrays_to_bytes
from common.protocol import STEP, Reply, Task

__all__ = ["PHASES", "Attempt", "Kill", "attempt"]

PHASES: Final = ("check", "reserve", "compute", "commit", "reply", "send")
"""Before the reservation; while it is written; until the commit; the commit; until the first
byte leaves; until the last one has."""
_CHUNK: Final = 256
_NODE: Final = 5


@dataclass(frozen=True)
class Kill:
    """Where a client dies.

    Attributes:
        phase: in which phase, by its own hand; None from outside.
        call: at which call or return in that phase, from 1.
        after_seconds: from outside, this long after it began.
    """

    phase: str | None = None
    call: int = 0
    after_seconds: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What came of it.

    Attributes:
        died: by SIGKILL.
        phase: the last one that it was in.
        received: what it got out: the whole reply, a part of it, or nothing.
        whole: whether that is the whole reply.
        seconds: until it ended.
        calls: calls and returns in each phase.
    """

    died: bool
    phase: str
    received: bytes
    whole: bool
    seconds: float
    calls: dict[str, int]


def attempt(folder: Path, task: Task, kill: Kill | None) -> Attempt:
    """Let a forked client answer `task`, and kill it where `kill` says."""
    shared = mmap.mmap(-1, 8 * (1 + len(PHASES)))
    reading, writing = os.pipe()
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(folder, task, _Tracer(shared, kill), writing)
    os.close(writing)
    deadline = begun + kill.after_seconds if kill is not None and kill.phase is None else None
    received = _listen(reading, child, deadline)
    died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    counts = memoryview(shared).cast("q").tolist()
    return Attempt(
        died=died,
        phase=PHASES[counts[0]],
        received=received[4:],
        whole=_is_whole(received),
        seconds=time.perf_counter() - begun,
        calls=dict(zip(PHASES, counts[1:], strict=True)),
    )


def _answer(folder: Path, task: Task, tracer: _Tracer, writing: int) -> None:
    """In the child: answer, send, and end without a word to whoever forked."""
    try:
        message = Message(task.to_records(), dst_node_id=_NODE, message_type=STEP, group_id="kills")
        context = Context(1, _NODE, {"home": str(folder)}, RecordDict(), {})
        app = make_app()
        sys.setprofile(tracer)
        reply = Reply.from_records(app(message, context).content)
        data = _data(reply)
        tracer.enter("send")
        for start in range(0, len(data), _CHUNK):
            os.write(writing, data[start : start + _CHUNK])
        sys.setprofile(None)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may return into the parent's frames
        traceback.print_exc()
    finally:
        os._exit(1)


def _data(reply: Reply) -> bytes:
    """A reply as it leaves: its length, its code and head, its arrays."""
    head = None if reply.head is None else reply.head.model_dump()
    header = json.dumps({"code": reply.code, "head": head}).encode()
    body = header + b"\n" + arrays_to_bytes(reply.arrays)
    return len(body).to_bytes(4, "big") + body


def _listen(reading: int, child: int, deadline: float | None) -> bytes:
    """All that the child gets out; past the deadline it is killed."""
    received = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            wait = None if deadline is None else max(0.0, deadline - time.perf_counter())
            if not select.select([pipe], [], [], wait)[0]:
                os.kill(child, signal.SIGKILL)
                deadline = None
                continue
            part = pipe.read(1 << 20)
            if not part:
                return received
            received += part


def _is_whole(received: bytes) -> bool:
    return len(received) >= 4 and int.from_bytes(received[:4], "big") == len(received) - 4


class _Tracer:
    """A profile function that knows the phase, counts calls in it, and dies at one."""

    def __init__(self, shared: mmap.mmap, kill: Kill | None) -> None:
        self._cells = memoryview(shared).cast("q")
        self._phase = 0
        self._counts = [0] * len(PHASES)
        self._fatal = -1 if kill is None or kill.phase is None else PHASES.index(kill.phase)
        self._call = 0 if kill is None else kill.call
        reserve, commit = Guard._reserve.__code__, LedgerStore.commit_release.__code__  # noqa: SLF001
        self._moves = {
            (reserve, "call"): 1,
            (reserve, "return"): 2,
            (commit, "call"): 3,
            (commit, "return"): 4,
        }

    def enter(self, phase: str) -> None:
        """Another phase begins."""
        self._phase = self._cells[0] = PHASES.index(phase)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """One call or return."""
        phase = self._moves.get((frame.f_code, event))
        if phase is not None:
            self._phase = self._cells[0] = phase
        self._counts[self._phase] += 1
        self._cells[1 + self._phase] = self._counts[self._phase]
        if self._phase == self._fatal and self._counts[self._phase] == self._call:
            os.kill(os.getpid(), signal.SIGKILL)

"""A shop's node, and its tasks, watched: every way out that they ask for is a line in a file.

`python -I wire_program.py LOG WHO CLIENT_DIR ...`: WHO is `honest-node`, or `leaking-node`,
whose tasks say one number more than the app. What a program in C does behind Python's back is
not seen here; in a network of its own the kernel counts it.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
from contextlib import suppress
from typing import Any

NAMES = ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork")
WATCHED = (
    *(f"socket.{one}" for one in (*NAMES, "connect", "bind", "sendto", "sendmsg")),
    *PROGRAMS,
)
ELSEWHERE = ("127.0.0.1", 9)
"""Where a leaking task sends a datagram."""


def watch(log: str, who: str) -> None:
    """From here on each event is a line: who, what, and with whom."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in WATCHED:
            said = [repr(one) for one in arguments if not isinstance(one, socket.socket)]
            os.write(file, (json.dumps([who, event, said[:2]]) + "\n").encode())

    sys.addaudithook(seen)


def leak() -> None:
    """One number more in each answer, and once more in a datagram."""
    from flwr.app import MetricRecord

    from client.launcher.parcel import Packed

    honest = Packed.of.__func__  # type: ignore[attr-defined]

    def leaking(cls: type[Packed], message: Any) -> Packed:
        message.content["extra"] = MetricRecord({"users": 42})
        packed: Packed = honest(cls, message)
        return packed

    Packed.of = classmethod(leaking)  # type: ignore[assignment]
    with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"42", ELSEWHERE)


def main(log: str, who: str) -> None:
    """Be the node, or one of its tasks."""
    watch(log, who)
    kind, _, role = who.partition("-")
    if role == "node":
        from client.launcher import child

        child._COMMAND = (sys.executable, "-I", __file__, log, f"{kind}-task")  # type: ignore[misc,assignment]
        sys.argv[0] = "launcher"
        runpy.run_module("client.launcher", run_name="__main__")
        return
    from client.launcher import task

    if kind == "leaking":
        leak()
    task.main()


if __name__ == "__main__":
    _, first, second, *rest = sys.argv
    sys.argv[1:] = rest
    main(first, second)

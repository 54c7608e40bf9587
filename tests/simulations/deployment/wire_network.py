"""A network with one way out: a program runs in it, and the kernel says what it tried.

`unshare -Urn python -I -S wire_network.py PORT SOCKET COUNTED COMMAND...`: what connects to
127.0.0.1:PORT comes out at the Unix socket, and there is no other interface. When the command
has ended, COUNTED holds the connections that were passed on, and the counters of this network.
"""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

UNSHARE = ("unshare", "-Urn")
_UP = 0x8914, 0x1 | 0x40
"""Flags of an interface: up, running."""

ELSEWHERE = (
    *("Tcp AttemptFails", "Ip OutNoRoutes", "Ip6OutNoRoutes", "Udp OutDatagrams"),
    *("UdpLite OutDatagrams", "Udp6OutDatagrams", "Icmp OutMsgs", "Icmp6OutMsgs", "Ip6OutRequests"),
)
"""Counters of everything that is no connection to the one way out."""


def why_not() -> str:
    """Why there can be no such network here; empty if it can."""
    with suppress(OSError):
        probe = [*UNSHARE, sys.executable, "-I", "-S", __file__]
        done = subprocess.run(probe, check=False, capture_output=True, text=True)
        return "" if done.returncode == 0 else f"no network of one's own here: {done.stderr[-200:]}"
    return "needs unshare"


def counters() -> dict[str, int]:
    """What the kernel has counted in this network, `Tcp ActiveOpens` and the like."""
    found = {}
    lines = Path("/proc/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *keys = names.split()
        numbers = map(int, values.split()[1:])
        found.update({f"{group[:-1]} {key}": one for key, one in zip(keys, numbers, strict=True)})
    file6 = Path("/proc/net/snmp6")
    pairs = map(str.split, file6.read_text().splitlines() if file6.exists() else [])
    return found | {name: int(value) for name, value in pairs}


def _loopback_up() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, _UP[0], struct.pack("16sH14x", b"lo", _UP[1]))


def _forward(listener: socket.socket, onward: str, passed: list[int]) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(onward)
        passed.append(1)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_pass, args=(source, sink), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def main(port: int, onward: str, counted: Path, command: list[str]) -> int:
    """Run the command; its exit status."""
    passed: list[int] = []
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=_forward, args=(listener, onward, passed), daemon=True).start()
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    counted.write_text(json.dumps({"passed": len(passed), **counters()}))
    return status


if __name__ == "__main__":
    _loopback_up()
    if sys.argv[1:]:
        sys.exit(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:]))

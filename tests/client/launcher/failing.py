"""Servers and clocks that are wrong, for nodes that are real processes."""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.certificates import certificate_pem, issue, key_pem, make_authority, new_key
from tests.client.launcher.deployment import until
from tests.server.gateway.operated import Operated

SHIFTED = """
import datetime, runpy, sys
from client.launcher import endings
from flwr.supernode import node_auth_http_interceptor as signing
days = datetime.timedelta(days=float(sys.argv.pop(1)))
real = signing.now
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + days
endings.datetime = Shifted
signing.now = lambda: real() + days
sys.argv[0] = "launcher"
runpy.run_module("client.launcher", run_name="__main__")
"""
"""`python -I -c SHIFTED DAYS ARGUMENTS…`: the launcher, on a machine whose clock is off."""


@dataclass
class Failing(Operated):
    """The gateway, and nodes that are started as the tests need them."""

    home: Path = field(default_factory=Path)
    """A client's folder, copied for every node."""

    def serve(self) -> None:
        """Start the gateway, again too, until the operator is answered."""
        self.start_server(sys.executable, "-I", "-m", "server.gateway")
        until(lambda: self._is_up("server"), f"the server to answer:\n{self.log('server')}")

    def start(self, name: str, key: Path, *before: object, **changes: Any) -> None:
        """A node; `before` stands in the place of `-m client.launcher`."""
        folder = self.folder / f"{name}-home"
        if not folder.exists():
            shutil.copytree(self.home, folder)
        address, roots = changes.get("address", self.address), changes.get("roots", self.roots)
        self.spawn(
            name,
            [
                *(sys.executable, "-I", *(before or ("-m", "client.launcher")), folder),
                *("--superlink", address, "--root-certificates", roots),
                *("--key", key, "--poll-seconds", "0.1"),
            ],
        )

    def said(self, name: str, code: str) -> list[str]:
        """The lines in which a node names a code."""
        lines = self.log(name).splitlines()
        return [line for line in lines if f"error {code}:" in line or f"[{code}]" in line]

    def ended_by(self, name: str, code: str) -> tuple[int, str]:
        """Exit status of a node that ends by itself, and the one line that says why."""
        status = self.ended(name)
        (line,) = self.said(name, code)
        assert "Traceback" not in self.log(name)
        return status, line

    def waits(self, name: str, code: str) -> None:
        until(lambda: self.said(name, code), f"{name} to say {code}:\n{self.log(name)}")

    def is_heard(self, name: str) -> int:
        """Times that the node was answered since the log began."""
        return self.log(name).count("is node")


@dataclass
class Impostor:
    """What answers in the server's place: it shows a certificate, and hangs up."""

    address: str
    roots: Path


@contextmanager
def impostors(folder: Path) -> Iterator[dict[str, Impostor]]:
    """Listeners whose certificates are over, of tomorrow, of another authority and host."""
    now = datetime.now(UTC)
    key, other = new_key(), new_key()
    authority = make_authority("shops", key, days=100, now=now - timedelta(days=50))
    stranger = make_authority("others", other, days=100)
    roots = folder / "impostors.pem"
    roots.write_bytes(certificate_pem(authority))
    server, host = new_key(), ["127.0.0.1"]
    past, future = now - timedelta(days=10), now + timedelta(days=1, hours=2)
    shown = {
        "over": issue(authority, key, server, host, days=7, now=past),
        "tomorrow": issue(authority, key, server, host, days=7, now=future),
        "stranger": issue(stranger, other, server, host, days=7),
        "elsewhere": issue(authority, key, server, ["shops.example"], days=7),
    }
    listeners = []
    found = {}
    for name, certificate in shown.items():
        chain, secret = folder / f"{name}.pem", folder / f"{name}-key.pem"
        chain.write_bytes(certificate_pem(certificate))
        secret.write_bytes(key_pem(server))
        listeners.append(listener := socket.create_server(("127.0.0.1", 0)))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, secret)
        threading.Thread(target=_hang_up, args=(listener, context), daemon=True).start()
        found[name] = Impostor(f"127.0.0.1:{listener.getsockname()[1]}", roots)
    try:
        yield found
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _hang_up(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as made:
                made.recv(1)

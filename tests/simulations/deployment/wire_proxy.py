"""A recorder between one shop and the server: it ends TLS on both sides and keeps what passed.

Its certificate is by the federation's own authority, which only the operator of a server can
do: what it sees is what the server sees.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from common.certificates import (
    certificate_pem,
    issue,
    key_pem,
    load_certificate,
    load_key,
    new_key,
)
from server.enroll.home import CA, CA_KEY

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Stream:
    """One direction of a connection.

    Attributes:
        data: what passed.
        marks: how much of it had passed, and when, in seconds since 1970.
    """

    data: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, float]] = field(default_factory=list)

    def take(self, chunk: bytes) -> None:
        """Keep it, before anybody else has it."""
        self.data.extend(chunk)
        self.marks.append((len(self.data), time.time()))

    def at(self, end: int) -> float:
        """When the byte before this one passed."""
        return next(when for size, when in self.marks if size >= end)


@dataclass(frozen=True)
class Connection:
    """One connection of the shop's."""

    sent: Stream = field(default_factory=Stream)
    told: Stream = field(default_factory=Stream)
    began: float = field(default_factory=time.time)

    def saying(self, sent: bytes) -> Connection:
        """The same with other words of the shop's, the last of which passed when the last did."""
        stream = Stream(bytearray(sent), [(len(sent), self.sent.marks[-1][1])])
        return Connection(stream, self.told, self.began)


@dataclass
class Recorder:
    """Passes every byte on, and keeps it, by connection.

    Attributes:
        server: the server's home, with its authority.
        listen: where the server listens, IP:PORT.
        folder: for the recorder's own certificate, and its Unix socket.
        connections: over which TLS came about.
        failed: why it did not, and names of servers that a shop asked for.
    """

    server: Path
    listen: str
    folder: Path
    connections: list[Connection] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._inner = socket.socket(socket.AF_UNIX)
        self._inner.bind(str(self.unix))
        self._inner.listen()
        self._trusted = ssl.create_default_context(cafile=str(self.server / CA))
        self._shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._shown.load_cert_chain(*self._certificate())
        self._shown.sni_callback = self._named
        for one in (self._listener, self._inner):
            threading.Thread(target=self._accept, args=(one,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in (self._listener, self._inner):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def address(self) -> str:
        """Where the shop finds its server."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def unix(self) -> Path:
        """The same for a shop without a network."""
        return self.folder / "recorder.sock"

    def _named(self, _: object, name: str | None, __: object) -> None:
        if name is not None:
            self.failed.append(f"a shop asked for {name}")

    def _certificate(self) -> tuple[Path, Path]:
        key = new_key()
        authority, signer = load_certificate(self.server / CA), load_key(self.server / CA_KEY)
        certificate = issue(authority, signer, key, ["127.0.0.1"], days=1)
        chain, secret = self.folder / "recorder.pem", self.folder / "recorder-key.pem"
        chain.write_bytes(certificate_pem(certificate))
        secret.write_bytes(key_pem(key))
        return chain, secret

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        host, _, port = self.listen.rpartition(":")
        with plain:
            try:
                shop = self._shown.wrap_socket(plain, server_side=True)
                onward = socket.create_connection((host, int(port)))
                server = self._trusted.wrap_socket(onward, server_hostname=host)
            except OSError as error:
                self.failed.append(str(error))
                return
            kept = Connection()
            self.connections.append(kept)
            back = threading.Thread(target=_pass, args=(server, shop, kept.told), daemon=True)
            back.start()
            _pass(shop, server, kept.sent)
            back.join()


def _pass(source: ssl.SSLSocket, sink: ssl.SSLSocket, kept: Stream) -> None:
    with suppress(OSError, ValueError):
        while chunk := source.recv(_CHUNK):
            kept.take(chunk)
            sink.sendall(chunk)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

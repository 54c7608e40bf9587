"""A recorder between one shop and the server: it ends TLS on both sides and keeps what passed.

Its certificate is by the federation's own authority, which only the operator of a server can
do: what it sees is what the server sees.
"""

from __future__ import annotations

import socket
import ssl
import threading
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


@dataclass
class Recorder:
    """Passes every byte on, and keeps it, by connection.

    Attributes:
        server: the server's home, with its authority.
        listen: where the server listens, IP:PORT.
        folder: for the recorder's own certificate.
        sent: by the shop.
        told: by the server.
    """

    server: Path
    listen: str
    folder: Path
    sent: list[bytearray] = field(default_factory=list)
    told: list[bytearray] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._trusted = ssl.create_default_context(cafile=str(self.server / CA))
        self._shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._shown.load_cert_chain(*self._certificate())
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def address(self) -> str:
        """Where the shop finds its server."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _certificate(self) -> tuple[Path, Path]:
        key = new_key()
        authority, signer = load_certificate(self.server / CA), load_key(self.server / CA_KEY)
        certificate = issue(authority, signer, key, ["127.0.0.1"], days=1)
        chain, secret = self.folder / "recorder.pem", self.folder / "recorder-key.pem"
        chain.write_bytes(certificate_pem(certificate))
        secret.write_bytes(key_pem(key))
        return chain, secret

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        host, _, port = self.listen.rpartition(":")
        with suppress(OSError), plain:
            shop = self._shown.wrap_socket(plain, server_side=True)
            onward = socket.create_connection((host, int(port)))
            server = self._trusted.wrap_socket(onward, server_hostname=host)
            sent, told = bytearray(), bytearray()
            self.sent.append(sent)
            self.told.append(told)
            back = threading.Thread(target=_pass, args=(server, shop, told), daemon=True)
            back.start()
            _pass(shop, server, sent)
            back.join()


def _pass(source: ssl.SSLSocket, sink: ssl.SSLSocket, kept: bytearray) -> None:
    with suppress(OSError, ValueError):
        while chunk := source.recv(_CHUNK):
            kept.extend(chunk)
            sink.sendall(chunk)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

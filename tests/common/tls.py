"""One TLS connection over a real socket: a server with its files, a client with the authority's."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path


def handshake(certificate: Path, key: Path, authority: Path, to: str) -> tuple[bytes, str | None]:
    """What the server says, and the version; raises what the client refuses the server for."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(authority))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, server))
        thread.start()
        try:
            with (
                socket.create_connection(listening.getsockname(), timeout=20) as plain,
                client.wrap_socket(plain, server_hostname=to) as secure,
            ):
                return secure.recv(5), secure.version()
        finally:
            thread.join()


def _serve(listening: socket.socket, context: ssl.SSLContext) -> None:
    plain, _ = listening.accept()
    with plain:
        plain.settimeout(20)
        try:
            with context.wrap_socket(plain, server_side=True) as secure:
                secure.sendall(b"hello")
        except (ssl.SSLError, OSError):  # the client refused
            pass

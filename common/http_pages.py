"""A few small pages over HTTP for whoever watches: fixed paths, GET alone, nothing to write to."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Timer
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from common.address import Address
from common.errors import Code, ConfigError
from common.logs import Public, fields

__all__ = ["Answer", "Page", "PageServer"]

_MOST_AT_ONCE: Final = 16
_SECONDS: Final = 10.0
"""How long a caller may take to say all that it wants, and again to take all of the answer."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_LOG: Final = logging.getLogger("hushrec.pages")


@dataclass(frozen=True)
class Answer:
    """What a page is answered with.

    Attributes:
        body: its bytes.
        kind: the content type.
        status: of HTTP.
    """

    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    status: int = HTTPStatus.OK

    @classmethod
    def html(cls, text: str) -> Answer:
        """A page for people."""
        return cls(text.encode(), "text/html; charset=utf-8")

    @classmethod
    def json(cls, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> Answer:
        """One object: no NaN, no infinity."""
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return cls(f"{text}\n".encode(), "application/json", status)


Page: TypeAlias = Callable[[], Answer]
"""Makes an answer; called from several threads at once."""


class PageServer(ThreadingHTTPServer):
    """Serves pages once `serve_forever` is called; `shutdown` from another thread ends that.

    Every other path and every other method is 404 without a body. A page that fails is 500
    without a body: what went wrong is for the log, and there only by its type. A request names
    an address, `localhost` or one of the names that were given, wherever it is listened on, so
    that no web page can read along by a name of its own.

    Args:
        address: where to listen.
        pages: by path, such as `/health`.
        seconds: how long a caller may take to send its request, and again to take the answer.

    Raises:
        ConfigError: `config-invalid`, nothing can listen there.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self,
        address: Address,
        pages: Mapping[str, Page],
        seconds: float = _SECONDS,
        names: Collection[str] = (),
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.pages = dict(pages)
        self.names = frozenset(name.lower() for name in ("localhost", *names))
        self._free = BoundedSemaphore(_MOST_AT_ONCE)
        self.seconds = seconds
        try:
            super().__init__((address.host, address.port), _Handler)
        except OSError as error:
            raise ConfigError(
                Code.CONFIG_INVALID, f"cannot listen: {error.strerror}.", where=str(address)
            ) from None

    def server_bind(self) -> None:
        """Without asking anybody for a name of the address."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread; who is one too many is hung up on."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are nothing to speak of."""

    def answer(self, path: str, host: str | None) -> Answer:
        """What a request for `path` gets, if it names `host`."""
        page = self.pages.get(path)
        if page is None or not _may_be_named(host, self.names):
            return Answer(status=HTTPStatus.NOT_FOUND)
        try:
            return page()
        except Exception as error:  # noqa: BLE001  whatever it is, it is no part of a page
            _LOG.error("a page fails", exc_info=error, extra=fields(path=Public(path)))
            return Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR)


class _Handler(BaseHTTPRequestHandler):
    def setup(self) -> None:
        """The caller's time begins."""
        super().setup()
        self._begin()

    def finish(self) -> None:
        """It is over."""
        self._over.cancel()
        super().finish()

    def _begin(self) -> None:
        seconds = cast("PageServer", self.server).seconds
        self._over = Timer(seconds, _hang_up, (self.connection,))
        self._over.daemon = True
        self._over.start()

    def do_GET(self) -> None:
        server = cast("PageServer", self.server)
        self._over.cancel()  # what a page takes is not the caller's
        self._send(server.answer(self.path.partition("?")[0], self.headers.get("Host")))

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """Nothing of what was asked, or of what answers, is repeated."""
        unknown = code == HTTPStatus.NOT_IMPLEMENTED
        self._send(Answer(status=HTTPStatus.NOT_FOUND if unknown else code))

    def log_message(self, *_: Any) -> None:
        """Whoever watches is not watched."""

    def _send(self, answer: Answer) -> None:
        self._over.cancel()
        self._begin()
        self.send_response_only(answer.status)
        kinds = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
        for name, value in {**kinds, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = True


def _hang_up(connection: socket.socket) -> None:
    """Whoever reads or writes there is woken up."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _may_be_named(host: str | None, names: Collection[str]) -> bool:
    """Whether a `Host` is an address or one of the names: none that somebody could point here."""
    if host is None:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

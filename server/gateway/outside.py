"""The doors: the outside knows the calls on its list and nothing else; both write down who came.

Guarantee:
    A request from outside reaches Flower's app only if its method and its path, as they were
    sent, are on the list, without a query and without asking for another protocol. Anything
    else is answered 404 with no body, whatever it is. No header that a caller writes changes
    what it may do or from where it seems to come.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from email.utils import formatdate
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.gateway.access_log import AccessLog, Entry
from server.gateway.limits import Limits
from server.gateway.routes import Call

__all__ = ["Inside", "Outside"]

_OK_BELOW: Final = 400
_UNSIGNED: Final = 401
"""A signature, or its time, that Flower does not take: the answer says what time it is here."""
_HEALTH: Final = "/health"
"""Says what time it is here, too: a client that looks for what is wrong asks this."""
_QUIET: Final = "/v1/runtime/"
"""Server apps and executor poll: what they are given is not written down, unless refused."""


class Outside:
    """ASGI: Flower's app, as far as the list goes.

    Args:
        app: the SuperLink's whole app.
        calls: what the outside has.
        limits: of heads and bodies.
        log: where every request is written down.
    """

    def __init__(
        self, app: ASGIApp, calls: Collection[Call], limits: Limits, log: AccessLog
    ) -> None:
        self._app = app
        self._calls = frozenset(calls)
        self._limits = limits
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(receive, send, self._limits.body_bytes)
        exchange.says_time = scope["path"] == _HEALTH
        try:
            if not self._is_listed(scope):
                await exchange.refuse(404)
            elif _declared_bytes(scope) > self._limits.body_bytes:
                await exchange.refuse(413)
            elif _head_bytes(scope) > self._limits.head_bytes:
                await exchange.refuse(431)
            else:
                await self._pass_on(scope, exchange)
        finally:
            self._log.write(exchange.entry("outside", scope))

    def _is_listed(self, scope: Scope) -> bool:
        names = {name for name, _ in scope["headers"]}
        call = (scope["method"], scope["raw_path"].decode("latin-1"))
        return call in self._calls and not scope["query_string"] and b"upgrade" not in names

    async def _pass_on(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if not exchange.too_large:
                raise
        if exchange.too_large and not exchange.status:
            await exchange.refuse(413)


class Inside:
    """ASGI: Flower's whole app; the operator's calls, and what was refused, are written down.

    Args:
        app: the SuperLink's whole app.
        log: the access log.
    """

    def __init__(self, app: ASGIApp, log: AccessLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and end with the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, most_bytes=None)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            if exchange.status >= _OK_BELOW or not scope["path"].startswith(_QUIET):
                self._log.write(exchange.entry("inside", scope))


class _Exchange:
    """One request and its answer, measured, and cut off where its body is too large."""

    def __init__(self, receive: Receive, send: Send, most_bytes: int | None) -> None:
        self._receive, self._send = receive, send
        self._most_bytes = most_bytes
        self._began = time.monotonic()
        self._received = self._sent = 0
        self.status = 0
        self.too_large = False
        self.says_time = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._most_bytes is not None and self._received > self._most_bytes:
            self.too_large = True
        return {"type": "http.disconnect"} if self.too_large else message

    async def send(self, message: Message) -> None:
        if self.too_large and not self.status:
            return  # what Flower says to half a request; the answer is 413
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.says_time or self.status == _UNSIGNED:
                message = {**message, "headers": [*message["headers"], _date()]}
        self._sent += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, status: int) -> None:
        """Answer with a status alone."""
        self.status = status
        headers = [(b"content-length", b"0")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    def entry(self, side: str, scope: Scope) -> Entry:
        return Entry(
            side=side,
            remote=scope["client"][0] if scope["client"] else "",
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            status=self.status,
            received=self._received,
            sent=self._sent,
            milliseconds=1000 * (time.monotonic() - self._began),
            node=_node(scope) if 0 < self.status < _OK_BELOW else "",
        )


def _declared_bytes(scope: Scope) -> int:
    """What the request says of its body; h11 has checked that it is a number."""
    return max(
        (int(value) for name, value in scope["headers"] if name == b"content-length"), default=0
    )


def _date() -> tuple[bytes, bytes]:
    return b"date", formatdate(usegmt=True).encode()


def _head_bytes(scope: Scope) -> int:
    return sum(len(name) + len(value) for name, value in scope["headers"])


def _node(scope: Scope) -> str:
    """The node that Flower took the request for, after its signature was checked."""
    request = scope.get("state", {}).get("protobuf_request")
    named = getattr(getattr(request, "node", request), "node_id", None)
    return str(named) if named and scope["path"].startswith("/v1/fleet/") else ""

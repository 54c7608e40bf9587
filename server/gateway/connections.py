"""A connection from outside: how many there may be, and how long each may take.

uvicorn bounds neither a caller that never ends its request's head, nor one that sends or reads
a byte a minute; both would hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from server.gateway.access_log import AccessLog, Entry
from server.gateway.limits import Limits

__all__ = ["bounded"]


def bounded(limits: Limits, log: AccessLog) -> type[H11Protocol]:
    """The class of connections for one server, with these limits."""

    class Bounded(_Bounded):
        pass

    Bounded.limits, Bounded.log = limits, log
    return Bounded


class _Bounded(H11Protocol):
    limits: Limits
    log: AccessLog

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._timed: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._too_many():
            self._write_down(503)
            transport.abort()
        else:
            self._allow(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        cycle = self.cycle
        if cycle is not None and cycle is not self._timed and not cycle.response_complete:
            self._timed = cycle
            self._allow(self.limits.request_seconds)

    def on_response_complete(self) -> None:
        self._allow(self.limits.head_seconds)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is not a request at all is written down too."""
        self._write_down(400)
        super().send_400_response(msg)

    def _too_many(self) -> bool:
        same = sum(
            other.client is not None
            and self.client is not None
            and other.client[0] == self.client[0]
            for other in self.connections
        )
        return len(self.connections) > self.limits.connections or same > self.limits.per_address

    def _allow(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _write_down(self, status: int) -> None:
        self.log.write(Entry("outside", self.client[0] if self.client else "", "", "", status))

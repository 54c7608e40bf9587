"""A network that can be bad: a relay for one shop, with an address of its own.

The shop connects to the relay, and the relay to the server from the same address of this
machine (127.0.0.11, say), so that the server's log tells the shops apart. What passes can be
cut, refused, held, delayed or throttled, and healed later.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Relay", "Relays", "Weather"]

_PIECE_BYTES: Final = 16_384
_START_SECONDS: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """What a relay does to what passes; nothing by default.

    Attributes:
        refuse: every new connection is reset at once.
        hold: nothing passes and nothing is closed, like a cable that was pulled.
        delay_seconds: every piece of up to 16 KiB waits so long, in each direction.
        bytes_per_second: so much passes in each direction of a connection; None for all.
    """

    refuse: bool = False
    hold: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None


@dataclass
class Relay:
    """One shop's way to the server; its methods are called from any thread.

    Attributes:
        address: of the shop, on loopback: where it listens, and where it connects from.
        port: where it listens; 0 takes a free one.
        target: host and port of the server.
    """

    address: str
    port: int
    target: tuple[str, int]
    _loop: asyncio.AbstractEventLoop
    _weather: Weather = field(default_factory=Weather)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def weather(self) -> Weather:
        """What it does now."""
        return self._weather

    def set(self, weather: Weather) -> None:
        """Do so from now on, also to connections that are open."""
        self._call(self._set(weather))

    def heal(self) -> None:
        """Let everything pass as it comes."""
        self.set(Weather())

    def cut(self, *, reset: bool = True) -> int:
        """End every open connection, by a reset or in good order; how many there were."""
        count: int = self._call(self._cut(reset))
        return count

    @property
    def connections(self) -> int:
        """Connections from the shop that are open."""
        return len(self._open) // 2

    async def listen(self) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_server(self._accept, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        await self._cut(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _set(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def _cut(self, reset: bool) -> int:
        count = self.connections
        for writer in tuple(self._open):
            _end(writer, reset=reset)
        return count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            if not self._weather.refuse:
                await self._relay(reader, writer)
        except OSError:
            pass  # the server is down: for the shop, a reset
        finally:
            _end(writer, reset=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self.target, local_addr=(self.address, 0))
        both = {writer, back}
        self._open |= both
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._open -= both
            _end(back, reset=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on until one side ends; the other is told."""
        while piece := await reader.read(_PIECE_BYTES):
            await self._passage(len(piece))
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _passage(self, size: int) -> None:
        """Wait as the weather says; when it changes, the piece passes under the new one."""
        while True:
            weather, changed = self._weather, self._changed
            wait = None if weather.hold else weather.delay_seconds
            if wait is not None and weather.bytes_per_second is not None:
                wait += size / weather.bytes_per_second
            if wait == 0.0:
                return
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                return


class Relays:
    """Relays in a thread of their own; use as a context manager.

    Attributes:
        by_name: the relays.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Relay] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for relay in self.by_name.values():
            self._call(relay.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str, address: str, port: int, target: tuple[str, int]) -> Relay:
        """A relay that listens.

        Raises:
            OSError: the address cannot be had.
        """
        relay = Relay(address, port, target, self._loop)
        self._call(relay.listen())
        self.by_name[name] = relay
        return relay

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    sock = writer.get_extra_info("socket")
    if reset and sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()

"""Starts a child, hands its log on, and starts it again when it ends, until all is to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from client.running.backoff import Backoff
from client.running.leash import leashed
from client.running.state import PartState
from common import logs
from common.logs import Public, fields

__all__ = ["Keeper"]

_LOG: Final = logging.getLogger("hushrec.running")
_LONGEST_LINE: Final = 1 << 20
_MENDED_BY_A_PERSON: Final = 2
"""Exit status of what no new process gets over."""


@dataclass
class Keeper:
    """Keeps one child alive.

    Guarantee:
        What the child writes to stderr is handed on where it is a line of a log that cannot
        quote data, and dropped where it is anything else. The child has ended when `keep` has,
        and however this process ends.

    Attributes:
        name: of the part.
        command: program and arguments.
        state: how it is; kept up to date.
        environment: of the child.
        backoff: when it is started again.
        grace_seconds: how long it may take to end.
    """

    name: str
    command: tuple[str, ...]
    state: PartState
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    backoff: Backoff = field(default_factory=Backoff)
    grace_seconds: float = 20.0

    @property
    def _part(self) -> dict[str, object]:
        return fields(part=Public(self.name))

    async def keep(self, told: asyncio.Event) -> None:
        """Keep it alive until `told` is set, then end it."""
        while not told.is_set():
            began = time.monotonic()
            try:
                status = await self.run_once(told)
            except OSError as error:  # no memory, no processes, no interpreter for now
                _LOG.error("a part cannot be started: %s", error, extra=self._part)
                status = None
            if told.is_set():
                break
            lasting = status == _MENDED_BY_A_PERSON
            wait = self.backoff.wait_seconds(time.monotonic() - began, lasting=lasting)
            self.state.being = "waiting"
            code = None if self.state.code is None else Public(self.state.code)
            more = fields(part=Public(self.name), status=status, code=code)
            _LOG.warning("a part has ended; starts again in %.0f seconds", wait, extra=more)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await told.wait()
            self.state.restarts += 1
        self.state.being = "ended"

    async def run_once(self, told: asyncio.Event) -> int:
        """Run it until it or everything ends; its exit status, negative for a signal."""
        process = await asyncio.create_subprocess_exec(
            *leashed(self.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**self.environment, logs.VARIABLE: logs.Style.JSON},
            start_new_session=True,  # Ctrl-C is this process's business
            limit=_LONGEST_LINE,
        )
        self.state.being, self.state.code = "running", None
        _LOG.info("a part has started", extra=fields(part=Public(self.name), pid=process.pid))
        ended = asyncio.ensure_future(process.wait())
        reader = asyncio.ensure_future(self._hand_on(process.stderr))
        stop = asyncio.ensure_future(told.wait())
        try:
            await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._end(process, ended)
            await self._rest(reader)
        return await ended

    async def _hand_on(self, stream: asyncio.StreamReader | None) -> None:
        """Lines of the child's log; of anything else that there is some, once."""
        strange = False
        while stream is not None:
            try:
                text = await stream.readuntil()
            except asyncio.IncompleteReadError as rest:
                text = rest.partial
                if not text:
                    return
            except asyncio.LimitOverrunError as rest:
                text = await stream.read(rest.consumed)
            line = logs.relay(text.decode(errors="replace"))
            if line is not None:
                self.state.heard(line)
            elif text.strip() and (not strange or logs.is_quoting()):
                strange = True
                _LOG.warning("a part writes what is no line of a log: %s", text, extra=self._part)

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
        """Ask it to end; after a while, end it and what it started."""
        if not ended.done():
            with suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait((ended,), timeout=self.grace_seconds)
        if not ended.done():
            _LOG.warning("a part does not end, and is killed", extra=self._part)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
            await ended

    async def _rest(self, reader: asyncio.Future[None]) -> None:
        """What it wrote last; something that it left behind may hold the pipe open."""
        await asyncio.wait((reader,), timeout=1)
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader

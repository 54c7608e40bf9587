"""One supervised start: the SuperLink with its two doors, and the process that starts ServerApps.

All of it ends together. If a part ends by itself, so does the rest, with an error, and a
supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from common.address import Address
from common.errors import Code, ConfigError, RunError
from server.gateway.access_log import AccessLog
from server.gateway.connections import bounded
from server.gateway.folder import Pair, ServerFolder
from server.gateway.limits import Limits
from server.gateway.outside import Inside, Outside
from server.gateway.routes import fleet_calls
from server.gateway.superexec import superexec
from server.gateway.superlink import make_app

__all__ = ["Gateway", "listening", "serve"]


@dataclass(frozen=True)
class Gateway:
    """What to start.

    Attributes:
        folder: the server's.
        outside: where nodes come.
        tls: certificate, with its chain, and key for the outside.
        inside: where the operator's commands and ServerApps come; loopback.
        limits: of the outside.
        with_superexec: start the process that starts ServerApps too, and end it; without it,
            another supervisor has one, and ServerApps outlive a restart of the gateway.
    """

    folder: ServerFolder
    outside: Address
    tls: Pair
    inside: Address
    limits: Limits = field(default_factory=Limits)
    with_superexec: bool = True

    def __post_init__(self) -> None:
        if not self.inside.is_loopback:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "the inside is for this machine alone.",
                where=str(self.inside),
                remedy="Choose a loopback address, like 127.0.0.1:8000.",
            )


def serve(gateway: Gateway, say: Callable[[str], None]) -> None:
    """Serve until the process is told to end.

    Args:
        gateway: what to start.
        say: is told in one line each what listens where, once it does.

    Raises:
        ConfigError: an address or a certificate cannot be used.
        RunError: another server runs here, or a part has ended by itself.
    """
    log = AccessLog(gateway.folder.access_log)
    try:
        with gateway.folder.locked():
            asyncio.run(_serve(gateway, log, say))
    finally:
        log.close()


async def _serve(gateway: Gateway, log: AccessLog, say: Callable[[str], None]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with AsyncExitStack() as stack:
        parts = await _started(stack, gateway, log, say)
        ended = await _first({"": told.wait(), **parts})
    if ended:
        raise RunError(
            Code.INTERNAL,
            "has ended by itself, and everything else with it.",
            where=ended,
            remedy="Its last lines are above; have a supervisor start the server again.",
        )


async def _started(
    stack: AsyncExitStack, gateway: Gateway, log: AccessLog, say: Callable[[str], None]
) -> dict[str, Any]:
    """Both doors, and what starts ServerApps; by name, what is over when one ends."""
    folder, at = gateway.folder, gateway.inside
    pair = folder.inside_certificate(at.host)
    app = make_app(folder, at.host, at.port)
    calls = fleet_calls(app)
    served = listening(Inside(app, log), at, pair, http="h11", lifespan="on")
    inside = await stack.enter_async_context(served)
    door = _door(gateway, Outside(app, calls, gateway.limits, log), log)
    outside = await stack.enter_async_context(door)
    executor = None
    if gateway.with_superexec:
        process = superexec(folder, str(at), pair.certificate)
        executor = await stack.enter_async_context(process)
    say(f"outside   https://{gateway.outside}  Fleet's {len(calls) - 2} calls and /health")
    say(f"inside    https://{at}  Control by token, Runtime by secret")
    say(f"superexec {'elsewhere' if executor is None else f'process {executor.pid}'}")
    say(f"database  {folder.database}")
    say(f"access    {folder.access_log}")
    parts: dict[str, Any] = {"inside": inside.main_loop(), "outside": outside.main_loop()}
    return parts if executor is None else {**parts, "superexec": executor.wait()}


def _door(
    gateway: Gateway, app: Outside, log: AccessLog
) -> AbstractAsyncContextManager[uvicorn.Server]:
    """What listens outside."""
    kept: dict[str, Any] = {
        "http": bounded(gateway.limits, log),
        "h11_max_incomplete_event_size": gateway.limits.head_bytes,
        "lifespan": "off",
    }
    return listening(app, gateway.outside, gateway.tls, **kept)


async def _first(waits: dict[str, Any]) -> str:
    """The name of what ends first; the others are left."""
    tasks = {asyncio.ensure_future(wait): name for name, wait in waits.items()}
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    names = sorted(tasks[task] for task in done)
    return names[0]


@asynccontextmanager
async def listening(
    app: ASGIApp, address: Address, pair: Pair, **options: Any
) -> AsyncIterator[uvicorn.Server]:
    """A server that accepts connections; at the end, requests that have begun may end too.

    Args:
        app: what it serves.
        address: where.
        pair: certificate and key of the server.
        options: for uvicorn.

    Raises:
        ConfigError: address or certificate cannot be used.
        RunError: the app does not start.
    """
    config = uvicorn.Config(
        app,
        ssl_certfile=pair.certificate,
        ssl_keyfile=pair.key,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=5,
        **options,
    )
    _load(config, pair)
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    bound = _bound(address)
    try:
        await server.startup(sockets=[bound])
        if server.should_exit:
            raise RunError(Code.INTERNAL, "Flower's SuperLink did not start.", where="inside")
        yield server
    finally:
        server.should_exit = True
        if server.started:
            await server.shutdown(sockets=[bound])
        bound.close()


def _load(config: uvicorn.Config, pair: Pair) -> None:
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"no certificate with its key: {error}.",
            where=f"{pair.certificate}, {pair.key}",
        ) from None


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_INVALID, f"cannot listen: {error.strerror}.", where=str(address)
        ) from None

"""One start for a client: node, service and monitor, each on its own, all ended together."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client.enroll.node_key import NODE_KEY
from client.enroll.start_files import ROOTS
from client.owner import Owner
from client.running.backoff import Backoff
from client.running.keeper import Keeper
from client.running.lock import only_one
from client.running.state import Parts, PartState
from common.address import Address
from common.errors import HushRecError
from common.http_pages import Page, PageServer

__all__ = ["Start", "node_command", "run_client", "service_command"]

_LOG: Final = logging.getLogger("hushrec.running")


@dataclass(frozen=True)
class Start:
    """What is started.

    Attributes:
        owner: the client.
        node: program and arguments of the node.
        service: those of the service.
        monitor: where `/health` and `/metrics` are.
        grace_seconds: how long a part may take to end.
    """

    owner: Owner
    node: tuple[str, ...]
    service: tuple[str, ...]
    monitor: Address
    grace_seconds: float = 20.0


def node_command(folder: Path, superlink: str, poll_seconds: float) -> tuple[str, ...]:
    """The launcher, with the folder's own authority and node key."""
    return (
        *(sys.executable, "-I", "-m", "client.launcher", str(folder), "--superlink", superlink),
        *("--root-certificates", str(folder / ROOTS), "--key", str(folder / NODE_KEY)),
        *("--poll-seconds", str(poll_seconds)),
    )


def service_command(folder: Path, listen: str, *more: str) -> tuple[str, ...]:
    """The service.

    Args:
        folder: the client's.
        listen: as its own `--listen`.
        more: further options of it.
    """
    return (sys.executable, "-I", "-m", "client.service", str(folder), "--listen", listen, *more)


def run_client(start: Start) -> None:
    """Run a client until the process is told to end.

    None of the parts waits for another, and none that ends takes another with it.

    Raises:
        RunError: `run-in-use`, this client runs already.
        DataError: the folder cannot be written.
    """
    with only_one(start.owner.folder):
        asyncio.run(_run(start))


async def _run(start: Start) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    states = Parts()
    commands = {"node": start.node, "service": start.service}
    keepers = [
        Keeper(name, commands[name], state, grace_seconds=start.grace_seconds)
        for name, state in states.items()
    ]
    parts = [keeper.keep(told) for keeper in keepers]
    try:
        await _all([*parts, _watch(states, start, told), _check(start, told)], told)
    finally:
        _LOG.info("everything has ended")


async def _all(parts: Sequence[Coroutine[Any, Any, None]], told: asyncio.Event) -> None:
    """Until all have ended; a defect in one ends the others in order."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        told.set()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _check(start: Start, told: asyncio.Event) -> None:
    """Have the doctor look, beside everything else; what it finds is a line, and stops nothing."""
    command = (sys.executable, "-I", "-m", "client.running.selfcheck", str(start.owner.folder))
    try:
        await Keeper("check", command, PartState()).run_once(told)
    except OSError as error:
        _LOG.warning("nothing was checked: %s", error)


async def _watch(states: Parts, start: Start, told: asyncio.Event) -> None:
    """The monitor; where its address is taken, it waits for it."""
    backoff = Backoff()
    try:
        pages = await asyncio.to_thread(_pages, start.owner, states)
    except Exception:  # noqa: BLE001  a monitor that cannot be loaded stops no part
        _LOG.exception("no monitor")
        return
    while not told.is_set():
        try:
            server = PageServer(start.monitor, pages)
        except HushRecError as error:
            _LOG.warning("no monitor for now: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.wait_seconds(0.0, lasting=False)):
                    await told.wait()
            continue
        with server:
            thread = threading.Thread(target=server.serve_forever, name="monitor", daemon=True)
            thread.start()
            await told.wait()
            await asyncio.to_thread(server.shutdown)
            thread.join()


def _pages(owner: Owner, states: Parts) -> dict[str, Page]:
    """Loads what reads a ledger, while the parts are on their way."""
    from client.monitor.health import health_page
    from client.monitor.metrics import metrics_page
    from client.monitor.reading import Watched

    watched = Watched(owner, states)
    return {"/health": lambda: health_page(watched), "/metrics": lambda: metrics_page(watched)}

"""The process that asks the SuperLink for tasks and starts ServerApps, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from server.gateway.folder import ServerFolder
from server.gateway.quiet import QUIET

__all__ = ["become_superexec", "superexec"]

_PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


@asynccontextmanager
async def superexec(
    folder: ServerFolder, address: str, root_certificates: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Flower's SuperExec while the block lasts; its ServerApps end with it.

    Args:
        folder: of the server, with the secret.
        address: where the Runtime API is, inside.
        root_certificates: to check the inside by.
    """
    process = await asyncio.create_subprocess_exec(
        *_command(folder, address, root_certificates),
        *("--parent-pid", str(os.getpid())),
        stdin=asyncio.subprocess.DEVNULL,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is the gateway's business
    )
    try:
        yield process
    finally:
        await _end(process)


def become_superexec(folder: ServerFolder, address: str) -> NoReturn:
    """Be Flower's SuperExec from now on: for a supervisor, or a container, of its own.

    Args:
        folder: of a server that has run.
        address: where the Runtime API is, inside.
    """
    words = _command(folder, address, folder.inside.certificate)
    os.execve(words[0], words, _environment())  # noqa: S606  there is nothing for a shell to do


def _command(folder: ServerFolder, address: str, root_certificates: Path) -> list[str]:
    return [
        str(Path(sys.executable).parent / "flower-superexec"),
        *("--runtime-api-address", address),
        *("--root-certificates", str(root_certificates)),
        *("--superexec-auth-secret-file", str(folder.superexec_secret)),
    ]


def _environment() -> dict[str, str]:
    """That of the operator, so that ServerApps have it; nothing phones home or installs."""
    beside = Path(sys.executable).parent
    known = dict(os.environ)
    known["PATH"] = f"{beside}{os.pathsep}{known.get('PATH', os.defpath)}"
    known["NO_PROXY"] = ",".join(filter(None, (known.get("NO_PROXY"), "127.0.0.1,localhost,::1")))
    return {**known, **QUIET}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the process and what it started to end; after a while, end them."""
    group = process.pid  # it leads a session of its own
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await process.wait()
            while _lives(group):  # noqa: ASYNC110  nobody tells of a grandchild's end
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        await process.wait()


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

"""How a server is started: behind its gateway, with the home's certificate, key and secrets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.enrolment.start import Service
from server.keys import HOME_VARIABLE

__all__ = ["server_service"]

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  what is behind it lets nodes in and nobody else
_RESTART: Final = 5


def server_service(host: str, port: int) -> Service:
    """The server behind its gateway; its runs share the home.

    Args:
        host: its name or address, for the start files'; the kind of address decides where it
            listens.
        port: that clients connect to.
    """
    everywhere = "[::]" if ":" in host else _EVERYWHERE

    def command(home: Path) -> Sequence[str]:
        return "-I", "-m", "server.gateway", str(home), "--listen", f"{everywhere}:{port}"

    def environment(home: Path) -> dict[str, str]:
        return {HOME_VARIABLE: str(home)}

    return Service("server", host, command, _RESTART, environment, port)

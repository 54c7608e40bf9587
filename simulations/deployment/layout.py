"""Where a federation on one machine lies, and at which addresses."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from common.config import Settings, read_json
from common.files import write_atomic

__all__ = ["Layout", "Places", "ShopAddresses", "free_ports", "loopback"]

_FILE: Final = "federation.json"
_FIRST_SHOP: Final = 11
_HOSTS: Final = 240


class ShopAddresses(Settings):
    """Where a shop is, each IP:PORT."""

    relay: str
    """The relay that it takes for the server; from this IP it reaches the server."""
    service: str
    """Its service for the shop's own programs."""
    monitor: str
    """Its `/health` and `/metrics`."""

    @property
    def host(self) -> str:
        """The shop's own address."""
        return self.relay.rpartition(":")[0]


class Layout(Settings):
    """Addresses of a federation's parties; `federation.json` in its folder."""

    listen: str = "127.0.0.1:8443"
    """Where the gateway listens, IP:PORT."""
    inside: str = "127.0.0.1:8000"
    """Where Control and Runtime are, IP:PORT."""
    shops: dict[str, ShopAddresses] = Field(default_factory=dict)
    """By the shop's name."""

    @classmethod
    def load_folder(cls, folder: Path) -> Self:
        """Read the file.

        Raises:
            ConfigError: there is none, or it is malformed.
        """
        path = folder / _FILE
        return cls.load(read_json(path), where=str(path))

    def save(self, folder: Path) -> None:
        """Write the file."""
        write_atomic(folder / _FILE, (self.model_dump_json(indent=2) + "\n").encode())


class Places:
    """Folders of a federation.

    Args:
        folder: of all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.server = self.folder / "server"
        self.shops = self.folder / "shops"
        self.logs = self.folder / "logs"

    def shop(self, name: str) -> Path:
        """A shop's own folder."""
        return self.shops / name


def loopback(number: int) -> str:
    """The address of a shop on this machine: one of its own for each of the first thousands."""
    high, low = divmod(number, _HOSTS)
    return f"127.0.{high}.{_FIRST_SHOP + low}"


def free_ports(hosts: Sequence[str]) -> list[int]:
    """A port for each host that nobody listens on now."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server((host, 0))) for host in hosts]
        return [int(one.getsockname()[1]) for one in opened]

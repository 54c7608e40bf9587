"""Where something listens: an IP address and a port, never a name that somebody resolves."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from common.errors import Code, ConfigError

__all__ = ["Address"]

_PORTS: Final = 2**16


@dataclass(frozen=True)
class Address:
    """An IP address and a port."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> Address:
        """From `127.0.0.1:8000` or `[::1]:8000`.

        Raises:
            ConfigError: it is not an address with a port.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
            found = cls(host, int(port))
            if not 0 < found.port < _PORTS:
                raise ValueError(port)
        except ValueError:
            raise ConfigError(
                Code.CONFIG_INVALID,
                "no IP address with a port.",
                where=text,
                remedy="Write it like 127.0.0.1:8000 or [::1]:8000.",
            ) from None
        return found

    @property
    def is_loopback(self) -> bool:
        """Whether it is reached from this machine alone."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

"""docker-compose.yml as processes of one machine: volumes are folders, containers are addresses.

The commands are the file's own. What is put in the place of something else: the folder of a
volume for the place where it is mounted, a loopback address of its own for `127.0.0.1` and
`0.0.0.0` in each container (containers with one network namespace have one address), the
server's address for its name, and a free port for the server's.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from simulations.deployment.layout import free_ports
from simulations.deployment.processes import Processes, Unit, until
from simulations.deployment.topology import environment

_BIN: Final = Path(sys.executable).parent
_RESTART_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 120.0
_PORT: Final = 8443
_SERVER: Final = 1
"""Last number of the server's address."""
_HERE: Final = re.compile(r"(?<![\d.])(?:127\.0\.0\.1|0\.0\.0\.0)(?=:)")


def read_compose() -> dict[str, dict[str, Any]]:
    """The services of the project's file."""
    root = Path(__file__).resolve().parents[3]
    services: dict[str, dict[str, Any]] = yaml.safe_load(
        (root / "docker-compose.yml").read_text("utf-8")
    )["services"]
    return services


@dataclass
class Composed:
    """The file's services; `folder` has volumes, homes and logs."""

    folder: Path
    processes: Processes
    services: dict[str, dict[str, Any]] = field(default_factory=read_compose)

    def __post_init__(self) -> None:
        self._network, self._port = _free_network()
        self._addresses: dict[str, str] = {}
        for service in self.services.values():
            for mount in service.get("volumes", ()):
                self.volume(mount.split(":")[0]).mkdir(mode=0o700, parents=True, exist_ok=True)

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume."""
        return self.folder / "volumes" / name

    def address(self, name: str) -> str:
        """The loopback address of a container; one network namespace has one."""
        shared = self.services[name].get("network_mode", "").removeprefix("service:")
        owner = shared if shared in self.services else name
        numbers = {"inside": _SERVER, "setup": _SERVER}  # setup begins what the server goes on with
        return f"{self._network}.{numbers.get(owner, list(self.services).index(owner) + 10)}"

    def up(self, name: str) -> None:
        """Start a service after those that it waits for, as `docker compose up` does."""
        if name in self.processes.names:
            return
        for other, on in self.services[name].get("depends_on", {}).items():
            self.up(other)
            if on["condition"] == "service_completed_successfully":
                self._completed(other)
            elif on["condition"] == "service_healthy":
                self.wait_healthy(other)
        self._start(name)

    def run(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """`docker compose run --rm NAME`, with what it waits for."""
        for other in self.services[name].get("depends_on", {}):
            self.up(other)
        return self._run(name, [*self.words(name, self._command(name)), *more])

    def wait_healthy(self, name: str) -> None:
        """Wait for the service's health check."""
        until(
            lambda: self.is_healthy(name),
            f"{name} to be healthy; see {self.folder}/logs",
            _PATIENCE_SECONDS,
        )

    def is_healthy(self, name: str) -> bool:
        """What the service's health check says."""
        words = self.services[name]["healthcheck"]["test"][1:]
        return self._run(name, self.words(name, words)).returncode == 0

    def log(self, name: str) -> str:
        """The end of what a service has written."""
        return self.processes.log(name)[-3000:]

    def words(self, name: str, words: Sequence[str]) -> list[str]:
        """A command of the file's as it is on this machine."""
        own = {"python": sys.executable, "hushrec": str(_BIN / "hushrec")}
        first, *rest = words
        return [own.get(first, first), *(self._here(name, word) for word in rest)]

    def _command(self, name: str) -> list[str]:
        service = self.services[name]
        return [*service.get("entrypoint", ["hushrec"]), *service["command"]]

    def _completed(self, name: str) -> None:
        until(lambda: self.processes.statuses(name), f"{name} to end", _PATIENCE_SECONDS)
        if self.processes.statuses(name)[-1] != 0:
            raise RuntimeError(self.log(name))

    def _start(self, name: str) -> None:
        again = self.services[name]["restart"] != "no"
        self.processes.start(
            Unit(
                name,
                tuple(self.words(name, self._command(name))),
                self._environment(name),
                _RESTART_SECONDS if again else None,
            )
        )

    def _run(self, name: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=dict(self._environment(name)), cwd=self.folder,
            check=False, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def _environment(self, name: str) -> Mapping[str, str]:
        own = self.services[name].get("environment", {})
        here = {key: self._here(name, value) for key, value in own.items()}
        return environment(self.folder / "homes" / name, **here)

    def _here(self, name: str, word: str) -> str:
        for mount in self.services[name].get("volumes", ()):
            volume, place, *_ = mount.split(":")
            word = re.sub(rf"(^|=){place}(?=/|$)", rf"\1{self.volume(volume)}", word)
        if name == "setup":
            word = re.sub(r"^/setup$", str(self.folder / "volumes"), word)
        word = _HERE.sub(self.address(name), word)
        word = re.sub(rf"(?<=[:=]){_PORT}\b", str(self._port), word)
        return f"--host={self.address('server')}" if word == "--host=server" else word


def _free_network() -> tuple[str, int]:
    """The first three numbers of addresses that nobody uses, and a port that is free."""
    for number in range(1, 250):
        network = f"127.77.{number}"
        (port,) = free_ports(["127.0.0.1"])
        try:
            for taken in (8000, port):
                socket.create_server((f"{network}.{_SERVER}", taken)).close()
        except OSError:
            continue
        return network, port
    raise RuntimeError("no free addresses")

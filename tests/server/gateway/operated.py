"""A deployment behind the gateway: nodes come from outside, the operator works inside."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from flwr.supercore.control.control_http_client import ControlHttpClient

from server.gateway.control import operator_client
from server.gateway.folder import ServerFolder
from tests.client.launcher.deployment import BIN, Deployment, environment, free_port, until

OUTSIDE = "127.0.0.2"
INSIDE = "127.0.0.1"


@dataclass
class Operated(Deployment):
    """`hushrec server run`, and nodes that know its address outside alone."""

    inside_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        return f"{OUTSIDE}:{self.port}"

    @property
    def inside(self) -> str:
        return f"{INSIDE}:{self.inside_port}"

    @property
    def server(self) -> ServerFolder:
        return ServerFolder.opened(self.folder / "server-folder")

    @property
    def inside_roots(self) -> Path:
        return self.server.path / "inside.pem"

    def start_server(self, *command: Any) -> None:
        """A command that runs the server, until it says what listens where."""
        pair = ServerFolder.opened(self.folder / "tls").inside_certificate(OUTSIDE)
        self.roots.write_bytes(pair.certificate.read_bytes())
        self.spawn(
            "server",
            [
                *(*command, self.server.path),
                *("--listen", self.address, "--inside", self.inside),
                *("--certificate", pair.certificate, "--key", pair.key),
            ],
        )
        until(self._listens, f"the server to start:\n{self.log('server')}")

    def login(self) -> None:
        """Let the operator's `flwr` in."""
        self.operator(BIN / "hushrec", "server", "login", self.server.path, "--inside", self.inside)

    def operator(self, *command: Any) -> str:
        """What a command of the operator's prints."""
        done = subprocess.run(
            list(map(str, command)),
            cwd=self.folder,
            env=environment(self.folder / "operator", node="operator"),
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    @cached_property
    def control(self) -> ControlHttpClient:
        """What an operator's commands use, with the token."""
        return self.controlling(self.inside, self.inside_roots)

    def controlling(self, address: str, roots: Path) -> ControlHttpClient:
        """The same, for whatever address."""
        return operator_client(self.server, address, roots.read_bytes())

    def accesses(self) -> list[dict[str, Any]]:
        """The lines of the access log."""
        return [json.loads(line) for line in self.server.access_log.read_text().splitlines()]

    def _listens(self) -> bool:
        if not self.alive("server"):
            raise RuntimeError(self.log("server"))
        return "access    " in self.log("server")

"""A federation that enrolled by the real commands, as processes: gateway, superexec, launchers."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from flwr.proto.control_pb2 import RegisterNodeRequest

from client.owner import Owner
from server.enroll.home import CA, NODES
from server.gateway.folder import ServerFolder
from simulations.deployment import market
from tests.client.enroll.shops import enrol_server, said
from tests.client.launcher.deployment import BIN, until
from tests.server.gateway.operated import Operated

NAMES = ("shop-1", "shop-2")


@dataclass
class Federation(Operated):
    """Two shops and their server, on loopback."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "server"

    @property
    def server(self) -> ServerFolder:
        return ServerFolder.opened(self.home)

    def shop(self, name: str) -> Path:
        return self.folder / "shops" / name

    def run_folder(self, name: str) -> Path:
        return self.home / "runs" / name

    @property
    def bundle(self) -> Path:
        return self.folder / "hushrec.fab"

    def enrol(self) -> None:
        """Server and shops, each knowing the other; the bundle is listed."""
        said("bundle", "--build", self.bundle)
        made = market.generate(self.folder / "data", shops=len(NAMES), users=60, items=40, seed=1)
        port, items = ("--port", self.port), ("--catalogue", made.catalogue)
        server = enrol_server(self.home, *port, *items)
        self.roots.write_bytes((self.home / CA).read_bytes())
        for name, events in zip(NAMES, made.events.values(), strict=True):
            told = ("--fingerprint", server["fingerprint"], "--invitation", server["invitation"])
            shop = said(
                *("enroll", "client", name, self.shop(name), *told, "--data", events),
                *("--catalogue", made.catalogue, "--population", 60),
                *("--epsilon", 8, "--delta", 1e-3),
            )
            said("enroll", "add", self.home, shop["card"], "--fingerprint", shop["fingerprint"])
            said("bundle", self.bundle, "--client", self.shop(name), "--list")

    def start_gateway(self, *more: Any) -> None:
        command = (sys.executable, "-I", "-m", "server.gateway", self.home)
        where = ("--listen", self.address, "--inside", self.inside)
        (self.folder / "server.log").unlink(missing_ok=True)
        quick = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
        self.spawn("server", [*command, *where, *more], **quick)
        until(self._listens, f"the server to start:\n{self.log('server')}")

    def start_superexec(self) -> None:
        where = (self.home, "--inside", self.inside)
        self.spawn("superexec", [BIN / "hushrec", "server", "superexec", *where])

    def let_in(self, name: str) -> None:
        """As `flwr supernode register` does."""
        public = load_ssh_public_key((self.home / NODES / f"{name}.pub").read_bytes())
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.control.RegisterNode(RegisterNodeRequest(public_key=pem, name=name))

    def start_shop(self, name: str) -> None:
        self.spawn(
            name,
            [
                *(sys.executable, "-I", "-m", "client.launcher", self.shop(name)),
                *("--superlink", self.address, "--root-certificates", self.roots),
                *("--key", self.shop(name) / "node_key", "--poll-seconds", "0.1"),
            ],
        )

    def start_training(self, name: str, *words: Any) -> None:
        """The operator's command, as a process called `name`."""
        where = (self.home, "--inside", self.inside, "--bundle", self.bundle)
        self.spawn(name, [BIN / "hushrec", "server", "train", *where, *words])

    def log_of(self, process: str) -> str:
        """What a process has written, also one that has ended."""
        return (self.folder / f"{process}.log").read_text(errors="replace")

    def said(self, process: str, what: str) -> None:
        """Wait until a process has written something."""

        def written() -> bool:
            if what in self.log(process):
                return True
            if not self.alive(process):
                raise RuntimeError(f"{process} has ended:\n{self.log(process)}")
            return False

        until(written, f"{process} to say {what!r}:\n{self.logs()}")

    def kill_server_app(self, training: str) -> None:
        """As the kernel does when memory runs out."""
        found = json.loads((self.run_folder(training) / "working.json").read_text())
        os.kill(found["pid"], signal.SIGKILL)

    def charged(self) -> dict[str, tuple[int, int]]:
        """By shop, how many jobs it admitted and how many releases it was charged for."""
        found = {}
        for name in NAMES:
            with Owner.of(self.shop(name)).ledger() as ledger:
                ledger.verify()
                found[name] = (len(ledger.rows("admit")), len(ledger.rows("spend")))
        return found

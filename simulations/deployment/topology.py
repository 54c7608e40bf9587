"""A federation as processes on one machine: gateway, superexec, shops, each with its relay.

They are the programs of a deployment, started by the commands of a deployment. Only the wait
between two looks for messages and that before a restart are shorter than anybody would choose.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from server.keys import HOME_VARIABLE
from simulations.deployment.layout import Layout, Places
from simulations.deployment.processes import Processes, Unit, until
from simulations.deployment.registrar import Registrar
from simulations.deployment.relay import Relays

__all__ = ["SERVER", "SUPEREXEC", "Federation", "Pace", "environment"]

SERVER: Final = "server"
SUPEREXEC: Final = "superexec"
_BIN: Final = Path(sys.executable).parent
_PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Pace:
    """How fast everything looks and returns.

    Attributes:
        poll_seconds: between two looks of a shop for messages.
        task_poll_seconds: between two looks of the superexec for tasks.
        restart_seconds: before what has ended is started again; None leaves it down.
    """

    poll_seconds: float = 0.2
    task_poll_seconds: float = 0.1
    restart_seconds: float | None = 2.0


class Federation:
    """The processes of a federation that was laid out; use as a context manager.

    Args:
        folder: as `demo.lay_out` left it.
        pace: how fast.
        elsewhere: what comes before the command of a shop that runs in a network of its own;
            None runs it here, behind a relay with an address of its own.
    """

    def __init__(
        self,
        folder: Path,
        pace: Pace | None = None,
        *,
        elsewhere: Callable[[str], tuple[str, ...]] | None = None,
    ) -> None:
        self.places = Places(folder)
        self.layout = Layout.load_folder(self.places.folder)
        self.pace = Pace() if pace is None else pace
        self._elsewhere = elsewhere
        self.processes = Processes(self.places.logs)
        self.relays = Relays()
        self._control: Registrar | None = None

    def __enter__(self) -> Self:
        self.relays.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._control is not None:
            self._control.__exit__(kind, error, trace)
        self.processes.__exit__(kind, error, trace)
        self.relays.__exit__(kind, error, trace)

    @property
    def shops(self) -> tuple[str, ...]:
        """Names of all shops, in order."""
        return tuple(sorted(self.layout.shops))

    @property
    def control(self) -> Registrar:
        """What the operator uses; the server must have been started once."""
        if self._control is None:
            self._control = Registrar(self.places.server, self.layout.inside)
        return self._control

    def start(self, shops: Iterable[str] | None = None) -> None:
        """Start server, superexec and shops, and wait until every shop is online.

        Raises:
            TimeoutError: one of them does not come up; its log says why.
        """
        self.start_server()
        self.processes.start(self.superexec_unit())
        for name in self.shops if shops is None else shops:
            self.start_shop(name)
        self.wait_online(self.shops if shops is None else shops)

    def start_server(self) -> None:
        """Start the gateway and wait until it answers."""
        self.processes.start(self.server_unit())
        self.wait_server()

    def start_shop(self, name: str) -> None:
        """Start a shop, behind its relay."""
        if self._elsewhere is None and name not in self.relays.by_name:
            relay = self.layout.shops[name].relay
            self.relays.add(name, *_address(relay), _address(self.layout.listen))
        self.processes.start(self.shop_unit(name))

    def wait_server(self, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait until the operator's calls are answered."""
        ready = self.places.server / "inside.pem"

        def answers() -> bool:
            if self.pace.restart_seconds is None and not self.processes.is_up(SERVER):
                raise TimeoutError(f"the server has ended:\n{self.processes.log(SERVER)[-2000:]}")
            token = self.places.server / "operator.token"
            return ready.exists() and token.exists() and self.control.answers()

        until(answers, f"the server to answer; see {self.processes.log_file(SERVER)}", seconds)

    def wait_online(self, shops: Iterable[str], seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait until the server has these shops online."""
        wanted = set(shops)
        until(
            lambda: wanted <= self.control.online(),
            f"{', '.join(sorted(wanted))} to be online; see {self.places.logs}",
            seconds,
        )

    def server_unit(self) -> Unit:
        """How the server is started: as by its unit for systemd, with its addresses."""
        home = self.places.server
        command = (
            *(sys.executable, "-I", "-m", "server.gateway", str(home)),
            *("--listen", self.layout.listen, "--inside", self.layout.inside),
            "--without-superexec",
        )
        return self._unit(SERVER, command, **{HOME_VARIABLE: str(home)})

    def superexec_unit(self) -> Unit:
        """How the process is started that starts server apps: beside the server, on its own."""
        home = str(self.places.server)
        command = (str(_BIN / "hushrec"), "server", "superexec", home)
        return self._unit(
            SUPEREXEC, (*command, "--inside", self.layout.inside), **{HOME_VARIABLE: home}
        )

    def shop_unit(self, name: str) -> Unit:
        """How a shop is started."""
        home, shop = self.places.shop(name), self.layout.shops[name]
        superlink = shop.relay if self._elsewhere is None else self.layout.listen
        command = (
            *(() if self._elsewhere is None else self._elsewhere(name)),
            *(sys.executable, "-I", "-m", "client.running", str(home), "--superlink", superlink),
            *("--listen", shop.service, "--monitor", shop.monitor),
            *("--poll-seconds", str(self.pace.poll_seconds)),
        )
        return self._unit(name, command)

    def operator_unit(self, name: str, *words: str) -> Unit:
        """A command of the operator's, which nobody starts again."""
        command = (str(_BIN / "hushrec"), *words)
        return Unit(name, command, environment(self.places.folder / "operator"), None)

    def _unit(self, name: str, command: tuple[str, ...], **more: str) -> Unit:
        known = environment(self.places.logs / f"home-{name}", **more)
        known["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"] = str(self.pace.task_poll_seconds)
        return Unit(name, command, known, self.pace.restart_seconds)


def environment(home: Path, **more: str) -> dict[str, str]:
    """That of a process of its own: nothing phones home, nothing of this process's leaks in.

    Args:
        home: made if there is none; Flower's settings lie there.
        more: further variables.
    """
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{_BIN}:{os.defpath}",
        "HOME": str(home),
        "FLWR_HOME": str(home / ".flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "NO_PROXY": "127.0.0.0/8,localhost",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)

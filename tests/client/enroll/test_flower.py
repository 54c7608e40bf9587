"""An enrolled client's node is let in by an enrolled server: both by their units' own commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from click.testing import CliRunner
from flwr.cli.app import app

from server.enroll.home import CA
from server.gateway.folder import ServerFolder
from tests.client.enroll.shops import enrol_client, enrol_server, hushrec, said, write_data
from tests.client.launcher.deployment import free_port, until
from tests.common.enrolment.units import unit_words, values
from tests.server.gateway.operated import INSIDE, Operated


@dataclass
class Enrolled(Operated):
    """The gateway with what enrolment wrote, and nothing else but an inside of its own."""

    @property
    def address(self) -> str:
        return f"{INSIDE}:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder.parent / "server"

    @property
    def server(self) -> ServerFolder:
        return ServerFolder.opened(self.home)

    monitors: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, folder: Path, *more: str) -> None:
        """As systemd would."""
        (unit,) = (folder / "start").glob("*.service")
        self.spawn(name, [*unit_words(values(unit.read_text(), "ExecStart")[0]), *more])

    def start_shop(self, name: str, folder: Path) -> None:
        """The same, on a machine that has more than one shop."""
        self.monitors[name] = free_port()
        places = ("--listen", f"127.0.0.1:{free_port()}")
        places += ("--monitor", f"127.0.0.1:{self.monitors[name]}")
        self.start(name, folder, *places, "--poll-seconds", "0.1")

    def health(self, name: str) -> dict[str, Any]:
        """What a shop's monitor says, empty before it says anything."""
        if not self.alive(name):
            raise RuntimeError(self.log(name))
        with suppress(httpx.TransportError):
            found: dict[str, Any] = httpx.get(
                f"http://127.0.0.1:{self.monitors[name]}/health"
            ).json()
            return found
        return {}


def flwr(command: str) -> None:
    """A line that a command printed for the operator, by Flower's own command line."""
    program, *words = shlex.split(command)
    assert program == "flwr"
    done = CliRunner().invoke(typer.main.get_command(app), words)
    assert done.exit_code == 0, done.output


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enrolled]:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "operator"))
    found = Enrolled(tmp_path / "net")
    found.folder.mkdir()
    try:
        yield found
    finally:
        found.close()


def begun(deployment: Enrolled) -> dict[str, Any]:
    """Enrol the server and start it."""
    server = enrol_server(deployment.home, "--port", deployment.port)
    deployment.roots.write_bytes((deployment.home / CA).read_bytes())
    deployment.start("server", deployment.home, "--inside", deployment.inside)
    until(deployment._listens, "the server to start")
    done = hushrec("server", "login", deployment.home, "--inside", deployment.inside)
    assert done.exit_code == 0, done.output
    return server


def has(deployment: Enrolled, shop: str, **states: str) -> bool:
    """Whether a shop's parts are in these states."""
    found = deployment.health(shop)
    return all(found.get(part, {}).get("state") == state for part, state in states.items())


def goes_on_without_the_server(deployment: Enrolled) -> None:
    """The shop is served while the server is away, and the node comes back with it."""
    deployment.end("server")
    until(lambda: has(deployment, "north", node="away", service="ready"), "the node to miss it")
    found = deployment.health("north")
    assert found["node"] == {"state": "away", "code": "server-unreachable", "restarts": 0}
    assert found["status"] == "ok"
    deployment.start("server", deployment.home, "--inside", deployment.inside)
    until(lambda: has(deployment, "north", node="ready"), "the node to be back")
    deployment.online("north")


def test_an_enrolled_client_is_let_in_once_it_is_added(
    tmp_path: Path, deployment: Enrolled, capfd: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    server = begun(deployment)
    shops = {name: enrol_client(tmp_path / name, name, server) for name in ("north", "stranger")}
    told = ("--fingerprint", shops["north"]["fingerprint"])
    flwr(said("enroll", "add", deployment.home, shops["north"]["card"], *told)["register"])
    for name in shops:
        deployment.start_shop(name, tmp_path / name)
    node = deployment.online("north")
    for name in shops:
        until(lambda name=name: has(deployment, name, service="ready"), f"{name} to serve")
    until(lambda: has(deployment, "stranger", node="waiting"), "the stranger to be refused")
    assert deployment.health("stranger")["node"]["code"] == "node-refused"
    assert deployment.health("stranger")["status"] == "failing"
    assert not deployment.is_online("stranger")
    until(lambda: has(deployment, "north", node="ready"), "the node to say so")
    assert deployment.health("north")["status"] == "ok", deployment.log("north")
    looked = json.loads(hushrec("doctor", tmp_path / "north", "--format", "json").stdout)
    (server_seen,) = [one for one in looked["findings"] if one["check"] == "server"]
    assert (server_seen["level"], server_seen["what"][-12:]) == ("ok", "clock agrees")
    goes_on_without_the_server(deployment)
    assert said("enroll", "status", deployment.home)["broken"] is False
    assert said("enroll", "status", tmp_path / "north")["broken"] is False
    lines = hushrec("enroll", "revoke", deployment.home, "north").stdout.splitlines()
    listed, unregister = (line.strip() for line in lines if line.startswith("    flwr"))
    capfd.readouterr()
    flwr(f"{listed} --format json")
    assert str(node) in capfd.readouterr().out
    flwr(unregister.replace("NODE_ID", str(node)))
    assert not deployment.is_online("north")
    assert deployment.end("north") == 0
    lines = [json.loads(line) for line in deployment.log("north").splitlines()]
    assert {"run", "node", "service"} <= {line["role"] for line in lines}

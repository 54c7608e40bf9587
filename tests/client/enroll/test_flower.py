"""An enrolled client's node is let in by an enrolled server: both by their units' own commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import CliRunner
from flwr.cli.app import app

from server.enroll.home import CA
from server.gateway.folder import ServerFolder
from tests.client.enroll.shops import enrol_client, enrol_server, hushrec, said, write_data
from tests.client.launcher.deployment import until
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

    def start(self, name: str, folder: Path, *more: str) -> None:
        """As systemd would."""
        (unit,) = (folder / "start").glob("*.service")
        self.spawn(name, [*unit_words(values(unit.read_text(), "ExecStart")[0]), *more])


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


def test_an_enrolled_client_is_let_in_once_it_is_added(
    tmp_path: Path, deployment: Enrolled, capfd: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    server = begun(deployment)
    shops = {name: enrol_client(tmp_path / name, name, server) for name in ("north", "stranger")}
    told = ("--fingerprint", shops["north"]["fingerprint"])
    flwr(said("enroll", "add", deployment.home, shops["north"]["card"], *told)["register"])
    for name in shops:
        deployment.start(name, tmp_path / name, "--poll-seconds", "0.1")
    node = deployment.online("north")
    assert deployment.ended("stranger") != 0
    assert not deployment.is_online("stranger")
    assert said("enroll", "status", deployment.home)["broken"] is False
    assert said("enroll", "status", tmp_path / "north")["broken"] is False
    lines = hushrec("enroll", "revoke", deployment.home, "north").stdout.splitlines()
    listed, unregister = (line.strip() for line in lines if line.startswith("    flwr"))
    capfd.readouterr()
    flwr(f"{listed} --format json")
    assert str(node) in capfd.readouterr().out
    flwr(unregister.replace("NODE_ID", str(node)))
    assert not deployment.is_online("north")

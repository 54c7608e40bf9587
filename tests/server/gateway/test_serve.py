"""What cannot be served is refused before anything listens."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from common.address import Address
from common.errors import Code, ConfigError, RunError
from server.gateway.folder import Pair, ServerFolder
from server.gateway.serve import Gateway, serve
from tests.client.launcher.deployment import free_port


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    return ServerFolder.opened(tmp_path / "server")


def gateway(folder: ServerFolder, outside: str = "127.0.0.2", tls: Pair | None = None) -> Gateway:
    pair = tls or folder.inside_certificate("127.0.0.1")
    there = Address(outside, free_port())
    return Gateway(folder, there, pair, Address("127.0.0.1", free_port()))


@pytest.mark.parametrize("inside", ["0.0.0.0:8000", "192.0.2.1:8000", "[::]:8000"])
def test_the_inside_is_this_machine_alone(folder: ServerFolder, inside: str) -> None:
    with pytest.raises(ConfigError, match="this machine alone") as caught:
        Gateway(folder, Address("127.0.0.2", 8443), Pair(Path(), Path()), Address.read(inside))
    assert caught.value.code is Code.CONFIG_INVALID


def test_without_a_certificate_nothing_is_served(folder: ServerFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for pair in (
        Pair(tmp_path / "none", tmp_path / "none"),
        Pair(tmp_path / "empty", tmp_path / "empty"),
        Pair(folder.inside_certificate("127.0.0.1").certificate, tmp_path / "empty"),
    ):
        with pytest.raises(ConfigError, match="no certificate"):
            serve(gateway(folder, tls=pair), pytest.fail)


def test_an_address_in_use_is_said(folder: ServerFolder) -> None:
    wanted = gateway(folder)
    with (
        socket.create_server((wanted.outside.host, wanted.outside.port)),
        pytest.raises(ConfigError, match="cannot listen") as caught,
    ):
        serve(wanted, pytest.fail)
    assert caught.value.where == str(wanted.outside)


def test_an_address_of_another_machine_is_said(folder: ServerFolder) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        serve(gateway(folder, outside="192.0.2.1"), pytest.fail)


def test_one_server_runs_in_a_folder(folder: ServerFolder) -> None:
    with folder.locked(), pytest.raises(RunError) as caught:
        serve(gateway(folder), pytest.fail)
    assert caught.value.code is Code.RUN_IN_USE


def test_what_ends_by_itself_ends_the_server(
    folder: ServerFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that starts server apps ends at once where its environment is broken."""
    monkeypatch.setenv("FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "never")
    said: list[str] = []
    with pytest.raises(RunError, match="has ended by itself") as caught:
        serve(gateway(folder), said.append)
    assert caught.value.where == "superexec"
    assert [line.split()[0] for line in said][:2] == ["outside", "inside"]
    assert stat.S_IMODE(folder.access_log.stat().st_mode) == 0o600

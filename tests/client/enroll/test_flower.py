"""A real SuperLink lets an enrolled client's node in, by what enrolment wrote and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.cli.supernode.register import try_load_public_key
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest

from server.enroll.home import CA, NODES, SECRET, TLS, TLS_KEY
from tests.client.enroll.shops import enrol_client, enrol_server, said, write_data
from tests.client.launcher.deployment import BIN, Deployment, until
from tests.common.enrolment.units import unit_words, values


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Flower's own SuperLink with an enrolled server's certificate, key and secret."""
    found = Deployment(tmp_path / "net")
    found.folder.mkdir()
    home = tmp_path / "server"
    enrol_server(home, "--port", found.port)
    (found.folder / "ca.pem").write_bytes((home / CA).read_bytes())
    try:
        found.spawn(
            "superlink",
            [
                *(BIN / "flower-superlink", "--host", "127.0.0.1", "--port", str(found.port)),
                *("--ssl-certfile", home / TLS, "--ssl-keyfile", home / TLS_KEY),
                *("--ssl-ca-certfile", home / CA, "--database", found.folder / "state.db"),
                *("--enable-supernode-auth", "--isolation", "process"),
                *("--superexec-auth-secret-file", home / SECRET),
            ],
        )
        until(lambda: found._is_up("superlink"), "the SuperLink to start")
        yield found
    finally:
        found.close()


def start(deployment: Deployment, folder: Path) -> None:
    """As systemd would: the unit's own command."""
    (unit,) = (folder / "start").glob("*.service")
    command = unit_words(values(unit.read_text(), "ExecStart")[0])
    deployment.spawn(folder.name, [*command, "--poll-seconds", "0.1"])


def test_an_enrolled_client_is_let_in_once_it_is_added(
    tmp_path: Path, deployment: Deployment
) -> None:
    write_data(tmp_path)
    home = tmp_path / "server"
    server = said("enroll", "status", home)["items"]
    told = next(item["fingerprint"] for item in server if item["fingerprint"])
    invited = {"invitation": home / "invitation.json", "fingerprint": told}
    shops = {name: enrol_client(tmp_path / name, name, invited) for name in ("north", "stranger")}
    words = ("enroll", "add", home, shops["north"]["card"])
    said(*words, "--fingerprint", shops["north"]["fingerprint"])
    (line,) = (home / NODES).iterdir()
    request = RegisterNodeRequest(public_key=try_load_public_key(line), name="north")
    deployment.control.RegisterNode(request)
    start(deployment, tmp_path / "north")
    start(deployment, tmp_path / "stranger")
    assert deployment.online("north")
    assert deployment.ended("stranger") != 0
    nodes = deployment.control.ListNodes(ListNodesRequest()).nodes_info
    assert [node.name for node in nodes] == ["north"]
    assert deployment.end("north") == 0

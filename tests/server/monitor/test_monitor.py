"""The monitor beside a real server with a node: it sees who is there, and when nobody is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client.enroll.shops import enrol_client, said, write_data
from tests.client.enroll.test_flower import Enrolled, begun, flwr
from tests.client.launcher.deployment import free_port, until


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enrolled]:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "operator"))
    found = Enrolled(tmp_path / "net")
    found.folder.mkdir()
    try:
        yield found
    finally:
        found.close()


def test_it_sees_the_gateway_and_who_is_there(tmp_path: Path, deployment: Enrolled) -> None:
    write_data(tmp_path)
    server = begun(deployment)
    home, place = deployment.home, f"127.0.0.1:{free_port()}"
    shop = enrol_client(tmp_path / "north", "north", server)
    told = ("--fingerprint", shop["fingerprint"])
    flwr(said("enroll", "add", home, shop["card"], *told)["register"])
    assert said("server", "status", home)["members"][0] == {
        "name": "north", "registered": True, "online": False, "heard_at": None
    }  # fmt: skip
    deployment.start("north", tmp_path / "north", "--poll-seconds", "0.1")
    command = [sys.executable, "-I", "-m", "server.monitor", home, "--listen", place]
    deployment.spawn("monitor", command)
    until(lambda: "monitor " in deployment.log("monitor"), "the monitor to listen")
    deployment.online("north")

    def page(path: str) -> httpx.Response:
        return httpx.get(f"http://{place}{path}", timeout=60)

    assert page("/health").json()["ok"] is True
    until(lambda: 'member_online{client="north"} 1.0' in page("/metrics").text, "north")
    assert "hushrec_server_up 1.0" in page("/metrics").text
    assert 'heard_timestamp_seconds{client="north"} 1.' in page("/metrics").text
    assert "The gateway answers." in page("/").text
    assert page("/state.db").status_code == 404
    deployment.end("north")
    until(lambda: 'member_online{client="north"} 0.0' in page("/metrics").text, "north to go")
    deployment.kill("server")
    until(lambda: page("/health").status_code == 503, "the gateway to be missed")
    assert json.loads(page("/health").text)["faults"] == ["the gateway does not answer"]
    assert deployment.end("monitor") == 0

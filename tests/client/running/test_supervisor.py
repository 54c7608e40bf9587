"""One start for a client: its parts are kept apart, started again, and ended with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.running.lock import only_one
from common.errors import Code, RunError
from tests.client.launcher.deployment import free_port, until

ROOT = Path(__file__).parents[3]
START = Path(__file__).with_name("start.py")


@dataclass
class Client:
    """A client's folder and whoever runs it; ended by process id."""

    folder: Path
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, node: str, service: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, START, self.folder, f"127.0.0.1:{self.port}", node, service],
                stdin=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.folder.parent / "log.jsonl"

    @property
    def lines(self) -> list[dict[str, Any]]:
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def said(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        found = [line for line in self.lines if line["event"].startswith(event)]
        return [line for line in found if wanted.items() <= line.items()]

    def get(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.TransportError:
            return None

    def health(self) -> dict[str, Any]:
        found = self.get("/health")
        return {} if found is None else found.json()

    def pids(self, name: str) -> list[int]:
        path = self.folder / f"{name}.pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for name in ("node", "service"):
            for pid in self.pids(name):
                if lives(pid):
                    os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether one of our parts has this id; not one that has ended and nobody waited for."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and b"part.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    folder = tmp_path / "north"
    folder.mkdir()
    (folder / "client.toml").write_text(
        f'name = "north"\ndataset_id = "{"0" * 32}"\npopulation = 30\ncatalogue = "c.json"\n'
    )
    (folder / "policy.toml").write_text("[lifetime]\nepsilon = 8.0\ndelta = 1e-5\n")
    found = Client(folder)
    try:
        yield found
    finally:
        found.close()


def test_each_part_is_on_its_own_and_all_end_together(client: Client) -> None:
    with socket.create_server(("127.0.0.1", client.port)):
        run = client.start("fails,policy-missing", "stubborn")
        until(lambda: client.said("no monitor for now", code="config-invalid"), "the monitor")
    health = until(
        lambda: (h := client.health()) and h["node"]["state"] == "waiting" and h, "the node to end"
    )
    assert health["node"] == {"state": "waiting", "code": "policy-missing", "restarts": 0}
    assert health["service"] == {"state": "ready", "code": None, "restarts": 0}
    assert health["status"] == "failing"
    assert client.get("/health").status_code == 503
    assert 'hushrec_part_up{part="service"} 1.0' in client.get("/metrics").text
    found = until(lambda: client.said("`hushrec doctor` has something to say"), "the doctor")
    assert {(line["role"], line["check"]) for line in found} >= {("check", "keys")}
    ended = client.said("a part has ended", part="node", status=2)
    assert [line["code"] for line in ended] == ["policy-missing"]
    assert client.get("/").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{client.port}/health").status_code == 404
    (service,) = client.pids("service")
    run.terminate()
    assert run.wait(60) == 0, client.log.read_text()
    assert client.said("a part does not end, and is killed", part="service")
    assert not lives(service)
    assert client.get("/health") is None


def test_a_part_that_ends_is_started_again(client: Client) -> None:
    run = client.start("once", "serve")
    until(lambda: client.health().get("node", {}).get("restarts") == 1, "the node to come again")
    until(lambda: client.health()["node"]["state"] == "ready", "the node to be ready")
    (first,) = client.pids("service")
    os.kill(first, signal.SIGKILL)
    until(lambda: len(client.pids("service")) == 2, "the service to come again")
    health = until(
        lambda: (h := client.health())["service"]["state"] == "ready" and h, "the service"
    )
    assert health["service"]["restarts"] == 1
    assert health["status"] == "failing"  # there is no authority in this folder
    assert health["authority"]["code"] == "certificate-invalid"
    assert client.said("a part has ended", part="service", status=-9)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 0, client.log.read_text()
    assert not [pid for name in ("node", "service") for pid in client.pids(name) if lives(pid)]
    assert "§" not in client.log.read_text()
    assert client.said("hello … 7", role="service", logger="hushrec.part")
    assert client.said("ended by what nobody caught", role="node", error="ValueError")
    assert len(client.said("a part writes what is no line of a log")) == 4  # one for each start


def test_nothing_is_left_where_the_supervisor_is_killed(client: Client) -> None:
    run = client.start("stubborn", "stubborn")
    for name in ("node", "service"):
        until(lambda name=name: client.health().get(name, {}).get("state") == "ready", name)
    with pytest.raises(RunError) as refused, only_one(client.folder):
        pass
    assert refused.value.code is Code.RUN_IN_USE
    pids = [*client.pids("node"), *client.pids("service")]
    assert all(map(lives, pids))
    run.kill()
    run.wait()
    until(lambda: not any(map(lives, pids)), "the parts to end", 30)
    with only_one(client.folder):
        assert not client.health()  # nothing is in the way of the next start

"""The commands of docs/guide/flower.md, run as they stand: a SuperLink, Ray, no network."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guide" / "flower.md"
SET_BY_GUIDE = ("FLWR_", "RAY_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started_with(flower_home: Path) -> list[int]:
    """Processes that live with this test's FLWR_HOME: ours, and nobody else's."""
    mark = f"FLWR_HOME={flower_home}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment + b"\0":
                found.append(int(entry.name))
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Flower of this test's own; `hushrec` and Flower's commands on the path."""
    tools = tmp_path / "bin"
    tools.mkdir()
    command = tools / "hushrec"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hushrec "$@"\n')
    command.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(SET_BY_GUIDE)}
    yield {
        **kept,
        "FLWR_HOME": str(tmp_path / "flower"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for process in started_with(tmp_path / "flower"):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def commands(run: Path) -> str:
    guide, _, _ = GUIDE.read_text(encoding="utf-8").partition("\n## Secure sums over")
    blocks = re.findall(r"^```sh\n(.*?)^```", guide, re.M | re.S)
    assert len(blocks) == 4
    blocks.insert(2, 'test -f "$RUN/server/model/manifest.json"')  # Flower's work, not resume's
    script = "\n".join(["set -e", *blocks])
    assert 'export RUN="$PWD/runs/flower"' in script
    return script.replace('export RUN="$PWD/runs/flower"', f'export RUN="{run}"')


def test_the_guide_to_flower_works(tmp_path: Path, environment: dict[str, str]) -> None:
    run = tmp_path / "run"
    done = subprocess.run(
        ["bash", "-c", commands(run)], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Successfully started run" in said
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    assert [record["name"] for record in rounds] == [
        "subspace.popularity", "subspace.round1", "subspace.round2"
    ]  # fmt: skip
    assert all(len(record["answered"]) == 3 for record in rounds)
    assert json.loads((run / "server" / "model" / "manifest.json").read_text())["private"]
    assert (run / "report.html").stat().st_size > 10_000

"""Secure sums over Flower's own processes: a SuperLink, a SuperNode for each client, `flwr run`.

The section of docs/guide/flower.md, with free ports and nodes whose hearts beat faster.
Every message is answered by a process of its own. One of four nodes is killed in the second sum.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from typer.testing import CliRunner

from common.protocol import SUM, SumCall
from hushrec import command_line
from server.app import make_app
from server.record import RoundRecord
from simulations.engine.folders import client_folders
from simulations.run_folder import RunFolder
from tests.client.launcher.deployment import BIN, Deployment, environment, free_port, until

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guide" / "flower.md"
SUPERNODE = Path(__file__).with_name("supernode.py")
MODEL = Path("server", "model", "arrays.safetensors")
SHOPS = ("shop-1", "shop-2", "shop-3", "shop-4")
LOST = "shop-4"
BEFORE_WORDS = 1 + 5 + 2
"""Answers of a node until it is asked for words a second time: hello, a sum, keys and shares."""
SCENARIO: dict[str, Any] = {
    "mode": "distributed",
    "threshold": 3,
    "colluders": 1,
    "rounds": 1,  # after the popularities: two sums
    "marketplace": {
        "users": 120,
        "items": 60,
        "categories": 4,
        "shop_sizes": (36, 32, 28, 24),
        "events_per_user": 12.0,
        "seed": 3,
    },
}


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Deployment]:
    """A SuperLink with TLS and node keys; its processes end with the test."""
    deployment = Deployment(tmp_path / "net")
    deployment.folder.mkdir()
    try:
        deployment.start_superlink()
        yield deployment
    finally:
        deployment.close()


def start_nodes(federation: Deployment, run: Path) -> None:
    """A SuperNode for each client of a prepared run, which take their noise from its seed."""
    for position, name in enumerate(SHOPS):
        federation.spawn(
            name,
            [
                *(sys.executable, SUPERNODE, "--superlink", federation.address),
                *("--root-certificates", federation.roots),
                *("--auth-supernode-private-key", federation.register(name)),
                *("--host", "127.0.0.1", "--port", str(free_port())),
                *("--node-config", f"partition-id={position} num-partitions={len(SHOPS)}"),
            ],
            HUSHREC_RUN=str(run),
            FLWR_SUPEREXEC_TASK_POLL_INTERVAL="0.5",
        )
    for name in SHOPS:
        federation.online(name)


def flwr_run(federation: Deployment, run: Path) -> int:
    """Start the run by Flower's command, as an operator does; its id."""
    home = federation.folder / "operator"
    quiet = environment(home, node="operator")
    (home / "config.toml").write_text(
        "[superlink.here]\n"
        f'address = "{federation.address}"\nroot-certificates = "{federation.roots}"\n'
    )
    done = subprocess.run(
        [BIN / "flwr", "run", ".", "here", "--run-config", f'run="{run}"', "--format", "json"],
        cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return int(json.loads(done.stdout)["run-id"])


def in_process(twin: Path, grid: Any) -> None:
    """The same run in this process, where the same client is lost at the same stage."""

    def unless_lost(asked: Message, reply: Message) -> Message | None:
        client = SHOPS[asked.metadata.dst_node_id - 2]
        if client != LOST or asked.metadata.message_type != SUM:
            return reply
        call = SumCall.from_records(asked.content)
        return None if (call.step, call.stage) == (1, "masked") else reply

    grid.tampering = unless_lost
    make_app(twin)(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))


@pytest.mark.long
def test_a_run_of_secure_sums_survives_a_node_that_is_killed(
    federation: Deployment,
    prepare_run: Callable[..., RunFolder],
    recording_grid: Callable[[Path], Any],
    spent: Callable[[Path], Mapping[str, list[str]]],
    tmp_path: Path,
) -> None:
    run, twin = (prepare_run(name, **SCENARIO) for name in ("run", "twin"))
    start_nodes(federation, run.path)
    the_guide_has_every_option(federation)
    run_id = flwr_run(federation, run.path)
    until(lambda: answers_of(federation, LOST) >= BEFORE_WORDS, f"{federation.logs()}")
    federation.kill(LOST)
    until(lambda: (run.path / MODEL).exists(), f"the model:\n{federation.logs()}")
    assert federation.finished(run_id).startswith("completed"), federation.logs()
    rounds_are_those_of_four_clients_and_of_three(run.registry.rounds())
    ledgers_hold_what_each_client_did(spent(run.path))
    exports_are_verified(run.path, tmp_path)
    secrets_of_sums_are_forgotten(run.path)
    in_process(twin.path, recording_grid(twin.path))
    assert (run.path / MODEL).read_bytes() == (twin.path / MODEL).read_bytes()


def answers_of(federation: Deployment, name: str) -> int:
    """How many answers of a node the SuperLink has."""
    return federation.log(name).count("Sent successfully")


def the_guide_has_every_option(federation: Deployment) -> None:
    _, _, section = GUIDE.read_text(encoding="utf-8").partition("\n## Secure sums over")
    words = {str(word) for name in SHOPS for word in federation.processes[name].args}
    assert {word for word in words if word.startswith("--")} <= set(section.split())


def rounds_are_those_of_four_clients_and_of_three(rounds: list[RoundRecord]) -> None:
    first, second = rounds
    assert (first.answered, first.refused) == (SHOPS, {})
    assert second.answered == SHOPS[:3]
    (session,) = second.sessions
    assert session.dropped[LOST].stage == "masked"
    assert list(second.refused) == list(session.dropped) == [LOST]


def ledgers_hold_what_each_client_did(kinds: Mapping[str, list[str]]) -> None:
    for name in SHOPS:
        sums = 1 if name == LOST else 2
        counts = [kinds[name].count(kind) for kind in ("reserve", "spend", "agree", "refuse")]
        assert counts == [sums, sums, sums, 0], name


def exports_are_verified(run: Path, folder: Path) -> None:
    for home in client_folders(run):
        path = folder / f"{home.name}.jsonl"
        for words in (["export", home, "--out", path], ["verify", path]):
            done = CliRunner().invoke(command_line(), ["audit", *map(str, words)])
            assert done.exit_code == 0, done.output


def secrets_of_sums_are_forgotten(run: Path) -> None:
    """But for the sum in which a node was killed, at its client."""
    for home in client_folders(run):
        path = home / "sums.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as states:
            kept = states.execute("SELECT step, stage FROM stage WHERE state != ''").fetchall()
        if home.name == LOST:
            assert kept == [(1, "keys"), (1, "shares")]
        else:
            assert kept == []
            assert b'"opening"' not in path.read_bytes()
            assert b'"adds"' not in path.read_bytes()

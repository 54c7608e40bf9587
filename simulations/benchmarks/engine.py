"""Seconds a round of many in-process clients: messages alone, and with guard and ledger.

`python -m simulations.benchmarks.engine [--clients 500] [--rounds 3] [--ray]`

`hello` does nothing but travel: a message out, the real ClientApp, the client's public facts
back. A ledger step is one popularity sum under ε = 8: task checked, plan admitted, cost
reserved, noise added, bytes and spend committed with full fsync. With `--ray` the same job
runs on Flower's own simulation engine as well.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from client.app import make_app
from common.job import Job
from server.app import read_job
from server.record import RoundRecord
from server.roster import gather
from simulations.benchmarks.machine import machine
from simulations.dataset import load_dataset
from simulations.engine import ENGINES
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessGrid
from simulations.marketplace import MarketplaceSettings
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["main"]


class _Seconds:
    """Keeps the seconds of every round."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def round_done(self, record: RoundRecord) -> None:
        """Remember one."""
        self.seconds.append(record.seconds)


def _prepared(path: Path, clients: int) -> RunFolder:
    market = MarketplaceSettings(users=10 * clients, shops=clients, items=200, seed=0)
    scenario = Scenario(marketplace=market, solver="popularity", partition="column:shop")
    scenario = scenario.model_copy(update={"min_users": 1})
    dataset = load_dataset(scenario)
    folder = RunFolder.create(path, force=False)
    prepare(folder, scenario, dataset, make_job(scenario, dataset))
    return folder


def _hello_rounds(folder: RunFolder, job: Job, rounds: int) -> list[float]:
    grid = InProcessGrid(make_app(simulation=True), client_folders(folder.path))
    found = []
    for _ in range(rounds + 1):
        started = time.monotonic()
        gather(grid, job)
        found.append(time.monotonic() - started)
    return found[1:]  # the first one reads every client's data


def _ledger_round(path: Path, clients: int, engine: str) -> dict[str, float]:
    folder = _prepared(path, clients)
    seconds = _Seconds()
    started = time.monotonic()
    ENGINES[engine]().run(folder.path, seconds)
    return {"round": seconds.seconds[0], "with_start": time.monotonic() - started}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        root = Path(scratch)
        folder = _prepared(root / "hello", given.clients)
        hello = _hello_rounds(folder, read_job(folder.path), given.rounds)
        found = {
            "clients": given.clients,
            "hello_seconds_per_round": min(hello),
            "ledger_step": _ledger_round(root / "ledger", given.clients, "inprocess"),
            "machine": machine(),
        }
        if given.ray:
            found["ledger_step_ray"] = _ledger_round(root / "ray", given.clients, "ray")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

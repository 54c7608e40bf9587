"""A step as it is in a simulated run: real apps, guard, noise, ledger on disk, receipts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from server.record import RoundRecord
from simulations.benchmarks.secure_sum.clock import Clock
from simulations.dataset import load_dataset
from simulations.engine.inprocess import InProcessEngine
from simulations.marketplace import MarketplaceSettings
from simulations.prepare import make_job, prepare
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["whole_step"]


class _Rounds:
    """Keeps what is known of every round."""

    def __init__(self) -> None:
        self.records: list[RoundRecord] = []

    def round_done(self, record: RoundRecord) -> None:
        """Remember one."""
        self.records.append(record)


def whole_step(clients: int, items: int) -> dict[str, Any]:
    """Seconds and bytes of one popularity sum over all clients, in process.

    Args:
        clients: shops, ten users each.
        items: of the catalogue: numbers in the sum.
    """
    market = MarketplaceSettings(users=10 * clients, shops=clients, items=items, seed=0)
    scenario = Scenario(
        marketplace=market,
        solver="popularity",
        partition="column:shop",
        mode="distributed",
        min_users=1,
    )
    dataset, rounds = load_dataset(scenario), _Rounds()
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run", force=False)
        prepare(folder, scenario, dataset, make_job(scenario, dataset))
        with Clock() as clock:
            InProcessEngine().run(folder.path, rounds)
    (record,) = rounds.records
    return {
        "clients": clients,
        "answered": len(record.answered),
        "words": items,
        "step, s": record.seconds,
        "a client, ms": 1000 * record.seconds / clients,
        "whole run, s": clock.seconds.wall,
        "whole run, processor s": clock.seconds.processor,
        "down, MB": record.bytes_down / 1e6,
        "up, MB": record.bytes_up / 1e6,
    }

"""A disturbed training of real processes, its oracles, and defects that they have to find."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from common.artifacts import load_artifact, save_artifact
from simulations.deployment.chaos.campaign import Campaign, carry_out, kept_results
from simulations.deployment.chaos.faults import Fault
from simulations.deployment.chaos.verdict import Ended, Judge
from simulations.deployment.layout import Places

SHOPS = ("north", "south")
FAULTS = [
    Fault(place="network", shop="south", kind="cut", at_seconds=0.5, for_seconds=1.0),
    Fault(place="server-app", shop=None, kind="kill", at_seconds=1.0, for_seconds=1.0),
    Fault(place="task", shop="north", kind="kill", at_seconds=2.0, for_seconds=1.0),
]


class Chosen(Campaign):
    """Faults that are chosen, not drawn."""

    def faults(self, run: int, shops: object) -> list[Fault]:
        return FAULTS


def flip_a_bit(places: Places) -> None:
    folder = places.server / "runs" / "run-001" / "server" / "model"
    arrays, manifest = load_artifact(folder)
    name = min(arrays)
    arrays[name] = np.array(arrays[name])
    arrays[name].view(np.uint8).flat[0] ^= 1
    save_artifact(folder, arrays, manifest)


def lose_a_row(places: Places) -> None:
    with closing(sqlite3.connect(places.shop("north") / "ledger.sqlite")) as file, file:
        file.execute("DROP TRIGGER ledger_keeps")
        file.execute("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)")


def promote_twice(places: Places) -> None:
    path = places.server / "models" / "promotions.jsonl"
    line = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write(json.dumps({**line, "serial": line["serial"] + 1}) + "\n")


def serve_nothing(places: Places) -> None:
    shutil.rmtree(places.shop("south") / "models")


DEFECTS: tuple[tuple[Callable[[Places], None], str], ...] = (
    (flip_a_bit, "is not what the clients' releases make"),
    (lose_a_row, "rows"),
    (promote_twice, "promoted 2 times"),
    (serve_nothing, "serves none"),
)


def test_a_training_whose_server_app_and_task_were_killed_comes_to_its_model(
    laid_out: Path, tmp_path: Path
) -> None:
    """And what is spoilt after it is found, each on a copy of all disks."""
    (tmp_path / "federation").symlink_to(laid_out)
    campaign = Chosen(runs=1, shops=2, distributed_every=0)
    (result,) = carry_out(campaign, tmp_path, print)
    assert result.violations == []
    assert result.values["ended"] == "ok"
    assert [fault["state"] for fault in result.values["faults"]] == ["over"] * 3
    assert result.values["flower_runs"] >= 2
    assert kept_results(tmp_path) == [result]
    ended = Ended("run-001", 0, "")
    for defect, said in DEFECTS:
        places = Places(tmp_path / defect.__name__)
        shutil.copytree(laid_out, places.folder)
        judge = Judge(places, SHOPS)
        assert judge.faults(ended) == []
        defect(places)
        assert any(said in fault for fault in judge.faults(ended)), defect.__name__

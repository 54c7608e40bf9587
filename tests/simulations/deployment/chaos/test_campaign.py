"""A disturbed training of real processes, its oracles, and defects that they have to find."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from common.artifacts import load_artifact, save_artifact
from simulations.deployment.chaos.campaign import Campaign, Result, carry_out, kept_results
from simulations.deployment.chaos.faults import Fault
from simulations.deployment.chaos.verdict import Ended, Judge
from simulations.deployment.layout import Places

FAULTS = [
    Fault(place="network", shop="south", kind="cut", at_seconds=0.5, for_seconds=1.0),
    Fault(place="server-app", shop=None, kind="kill", at_seconds=1.0, for_seconds=1.0),
    Fault(place="task", shop="north", kind="kill", at_seconds=2.0, for_seconds=1.0),
]


class Chosen(Campaign):
    """Faults that are chosen, not drawn."""

    def faults(self, run: int, shops: object) -> list[Fault]:
        return FAULTS


@pytest.fixture(scope="module")
def out(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "federation").symlink_to(laid_out)
    return folder


@pytest.fixture(scope="module")
def result(out: Path) -> Result:
    (found,) = carry_out(Chosen(runs=1, shops=2, distributed_every=0), out, print)
    return found


@pytest.fixture
def places(result: Result, out: Path, tmp_path: Path) -> Places:
    """A copy of everything after the run, to be spoilt."""
    shutil.copytree((out / "federation").resolve(), tmp_path / "all")
    return Places(tmp_path / "all")


def faults(places: Places, before: Judge | None = None) -> list[str]:
    judge = Judge(places, ("north", "south")) if before is None else before
    return judge.faults(Ended("run-001", 0, ""))


def test_a_training_whose_server_app_and_task_were_killed_comes_to_its_model(
    result: Result, out: Path
) -> None:
    assert result.violations == []
    assert result.values["ended"] == "ok"
    assert [fault["state"] for fault in result.values["faults"]] == ["over"] * 3
    assert result.values["flower_runs"] >= 2
    assert kept_results(out) == [result]
    assert list(carry_out(Chosen(runs=1, shops=2), out, print)) == []  # all of it is over


def test_nothing_is_found_where_nothing_was_spoilt(places: Places) -> None:
    assert faults(places) == []


def test_a_byte_of_the_model_is_found(places: Places) -> None:
    folder = places.server / "runs" / "run-001" / "server" / "model"
    arrays, manifest = load_artifact(folder)
    name = min(arrays)
    arrays[name] = np.array(arrays[name])
    arrays[name].view(np.uint8).flat[0] ^= 1
    save_artifact(folder, arrays, manifest)
    found = faults(places)
    assert any("releases make" in fault for fault in found)
    assert any("another model" in fault for fault in found)


def test_a_lost_row_is_found(places: Places) -> None:
    judge = Judge(places, ("north", "south"))
    assert faults(places, judge) == []
    with closing(sqlite3.connect(places.shop("north") / "ledger.sqlite")) as file, file:
        file.execute("DROP TRIGGER ledger_keeps")
        file.execute("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)")
    assert any("rows" in fault for fault in faults(places, judge))


def test_a_model_that_is_promoted_twice_is_found(places: Places) -> None:
    path = places.server / "models" / "promotions.jsonl"
    line = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write(json.dumps({**line, "serial": line["serial"] + 1}) + "\n")
    assert any("promoted 2 times" in fault for fault in faults(places))


def test_a_shop_with_another_model_is_found(places: Places) -> None:
    shutil.rmtree(places.shop("south") / "models")
    assert any("serves none" in fault for fault in faults(places))

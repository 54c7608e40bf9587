"""A disturbed training of real processes, its oracles, and defects that they have to find."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.artifacts import load_artifact, save_artifact
from simulations.deployment.chaos.campaign import Campaign, carry_out, kept_results
from simulations.deployment.chaos.faults import Fault
from simulations.deployment.chaos.verdict import Ended, Judge
from simulations.deployment.evidence import LedgerCopy, read_ledger
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


def written(places: Places, *more: tuple[str, dict[str, Any]]) -> None:
    """Rows at the end of north's ledger, in a chain that is as it should be."""
    ledger = read_ledger("north", places.shop("north"))
    last = ledger.rows[-1]
    with closing(sqlite3.connect(places.shop("north") / "ledger.sqlite")) as file, file:
        for kind, body in more:
            row = {"seq": last["seq"] + 1, "kind": kind, "time": last["time"], "body": body}
            row |= {"prev": last["hash"], "hash": ""}
            row["hash"] = LedgerCopy("north", (json.dumps(row),)).hashes()[0]
            text = json.dumps(row, sort_keys=True, separators=(",", ":"))
            file.execute("INSERT INTO ledger VALUES (?, ?, ?)", (row["seq"], kind, text))
            last = row


def reserve_again(places: Places) -> None:
    """As a client does that ends between reservation and release."""
    ledger = read_ledger("north", places.shop("north"))
    written(places, ("reserve", ledger.of("reserve")[-1]["body"]))


def charge_again(places: Places) -> None:
    """As a server does that begins a session more than it was asked for."""
    ledger = read_ledger("north", places.shop("north"))
    reserve, spend = ledger.of("reserve")[-1]["body"], ledger.of("spend")[-1]["body"]
    paid = {**spend, "reservation": ledger.rows[-1]["seq"] + 1}
    written(places, ("reserve", {**reserve, "session": 1}), ("spend", paid))


def register_twice(places: Places, run: str = "run-001") -> None:
    """One job under a second version."""
    (about,) = (places.server / "models").glob("*/version.json")
    version = f"0002-{about.parent.name.partition('-')[2]}"
    other = about.parent.with_name(version)
    shutil.copytree(about.parent, other)
    said = {**json.loads(about.read_text()), "version": version, "run": run}
    (other / "version.json").write_text(json.dumps(said))


def register_for_another(places: Places) -> None:
    register_twice(places, "run-002")


def deliver_to_nobody(places: Places) -> None:
    path = places.server / "runs" / "run-001" / "outcome.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "delivered": {}}))
    for shop in SHOPS:
        shutil.rmtree(places.shop(shop) / "models")


def say_less(places: Places) -> None:
    (path,) = (places.server / "models").glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    manifest["privacy"]["epsilon"] /= 2
    path.write_text(json.dumps(manifest))


DEFECTS: tuple[tuple[Callable[[Places], None], str], ...] = (
    (flip_a_bit, "is not what the clients' releases make"),
    (lose_a_row, "rows "),
    (reserve_again, "north: 1 reservations of nothing, disturbed 0 times"),
    (charge_again, "run-001 is charged 2 times, not 1"),
    (promote_twice, "promoted 2 times"),
    (register_twice, "run-001 is registered 2 times"),
    (register_for_another, "is registered 2 times"),
    (serve_nothing, "south serves none"),
    (deliver_to_nobody, "north serves none"),
    (say_less, "the ledgers make"),
)
WHATEVER_ITS_END = {
    *(lose_a_row, reserve_again, charge_again),
    *(promote_twice, register_twice, register_for_another),
}
"""Defects that are found also where the training came to no model."""


@pytest.mark.long
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
    failed = Ended("run-001", 2, "error run-quorum: start: 1 client. Wait.\n", healed=False)
    for defect, said in DEFECTS:
        places = Places(tmp_path / defect.__name__)
        shutil.copytree(laid_out, places.folder)
        kept = tmp_path / f"{defect.__name__}-judged"
        assert Judge(places, SHOPS, kept).faults(ended, {"north": 1}) == []
        defect(places)
        before = Judge(places, SHOPS, kept).before  # as by a process that goes on
        assert any(said in fault for fault in Judge(places, SHOPS, kept).faults(ended)), defect
        if defect in WHATEVER_ITS_END:
            found = Judge(places, SHOPS, before=before).faults(failed)
            assert any(said in fault for fault in found), defect

"""A manifest promises no less ε than what any client was charged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from client.ledger_store import LedgerStore
from client.store import ClientStore
from common.audit.manifests import check_manifests, read_manifests
from common.privacy.ledger import Row
from common.privacy.planner import guarantee_of
from common.privacy.spending import spent
from common.schedule import schedule_of
from server.app import read_job
from tests.server.real_sums import SHOPS, Grid, killed, nodes_of, of_stage, silence
from tests.server.tampering import rounds


def ledgers_of(run: Any) -> dict[str, list[Row]]:
    found = {}
    for folder in sorted((run.path / "clients").glob("*/ledger.sqlite")):
        settings = ClientStore.open(folder.parent).settings
        with LedgerStore.open(folder, settings.name, settings.dataset_id) as ledger:
            found[settings.name] = ledger.rows()
    return found


def check_promise(run: Any, charged: list[int]) -> None:
    """The manifest promises no less ε than what any client's ledger comes to, and is found so."""
    manifest = json.loads((run.path / "server" / "model" / "manifest.json").read_text())
    privacy = manifest["privacy"]
    assert privacy["charged"] == charged
    ledgers = ledgers_of(run)
    assert sorted(ledgers) == list(SHOPS)
    for rows in ledgers.values():
        assert privacy["epsilon"] >= spent(rows, privacy["delta"]).epsilon - 1e-9
    artefacts, broken = read_manifests(run.path / "server")
    assert broken == check_manifests(artefacts, ledgers) == []
    stated = artefacts[-1]
    less = {**privacy, "charged": [1] * len(charged)}
    wrong = replace(stated, manifest=stated.manifest.model_copy(update={"privacy": less}))
    found = [finding.what for finding in check_manifests([wrong], ledgers)]
    assert any("it counts 1" in what for what in found) is (max(charged) > 1)


def test_a_manifest_counts_sessions_that_failed_after_words_were_sent(
    sums_run: Any, recording_grid: Grid
) -> None:
    """A server may keep the total of session 0 and call it failed."""
    run = sums_run(fixed_noise=False)
    grid = recording_grid(run.path)
    grid.tampering = of_stage(silence, "reveal", nodes_of(["shop-2", "shop-4"]), session=0)
    rounds(run, grid).run()
    check_promise(run, [2, 2, 2])
    guarantee = json.loads((run.path / "server/model/manifest.json").read_text())["privacy"]
    assert "as if all plans had been fixed in advance" in guarantee["guarantee"]
    assert "up to 1 colluding client" in guarantee["guarantee"]


def test_a_manifest_counts_sessions_of_a_killed_server(sums_run: Any, recording_grid: Grid) -> None:
    run = sums_run(fixed_noise=False)
    grid = recording_grid(run.path)
    at_step = of_stage(killed, "reveal", [4], session=0)
    grid.tampering = lambda asked, reply: (
        at_step(asked, reply) if asked.metadata.group_id == "1" else reply
    )
    with pytest.raises(KeyboardInterrupt):
        rounds(run, grid).run()
    rounds(run, recording_grid(run.path)).run()
    check_promise(run, [1, 2, 1])


def test_a_manifest_of_a_run_without_failures_states_the_plan(
    sums_run: Any, recording_grid: Grid
) -> None:
    run = sums_run(fixed_noise=False)
    grid = recording_grid(run.path)
    grid.tampering = of_stage(silence, "shares", nodes_of(["shop-2", "shop-4"]), session=0)
    rounds(run, grid).run()
    check_promise(run, [1, 1, 1])
    privacy = json.loads((run.path / "server/model/manifest.json").read_text())["privacy"]
    assert privacy["guarantee"] == str(guarantee_of(schedule_of(read_job(run.path)).plan))

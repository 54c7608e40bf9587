"""A model once more from what clients kept, where the network reads features of the catalogue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.store import ClientStore
from common.catalogue import Catalogue
from server.app import read_job
from simulations.deployment.evidence import read_ledger
from simulations.deployment.recompute import model_faults, recomputed
from simulations.engine.folders import client_folders
from simulations.live import LiveView
from simulations.marketplace import MarketplaceSettings
from simulations.runner import start_run
from simulations.scenario import Scenario

SMALL: dict[str, Any] = {
    "feature_width": 4, "local_steps": 2, "negatives": 5, "recent": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    market = MarketplaceSettings(users=60, items=40, categories=4, shops=2, events_per_user=8.0)
    asked = {"rounds": 1, "dim": 4, "min_users": 1, "seed": 1, "solver": "neural"}
    folder: Path = tmp_path_factory.mktemp("recompute") / "run"
    with LiveView() as view:
        start_run(Scenario(marketplace=market, settings=SMALL, **asked), folder, view, force=False)
    return folder


def faults(run: Path, catalogue: Catalogue | None) -> list[str]:
    stores = [ClientStore.open(folder) for folder in client_folders(run)]
    ledgers = {one.settings.name: read_ledger(one.settings.name, one.folder) for one in stores}
    populations = {one.settings.name: one.settings.population for one in stores}
    given = None if catalogue is None else (lambda: catalogue)
    training = recomputed(read_job(run), run, ledgers, populations, given)
    return list(model_faults(training, run / "server" / "model"))


def test_features_come_from_the_catalogue_that_the_job_was_about(run: Path) -> None:
    own = ClientStore.open(client_folders(run)[0]).catalogue
    assert faults(run, own) == []
    later = own.with_more(Catalogue(("later",), dict.fromkeys(own.metadata, ("",))))
    assert faults(run, later) == []


def test_without_it_or_with_another_one_that_is_said(run: Path) -> None:
    own = ClientStore.open(client_folders(run)[0]).catalogue
    titles = tuple(f"another {title}" for title in own.metadata["title"])
    changed = replace(own, metadata={**own.metadata, "title": titles})
    (fault,) = faults(run, changed)
    assert "catalogue" in fault
    (fault,) = faults(run, None)
    assert "no catalogue is given" in fault

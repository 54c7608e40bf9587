"""Solvers on networks through the real server and clients: every mode, kills, and features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store import ClientStore
from common.models.registry import model_from
from common.models.shared_arrays import FEATURES
from common.privacy.deferred import DeferredSum
from common.schedule import schedule_of
from server.app import read_job
from server.record import RoundRecord, SilentObserver
from simulations.deployment.evidence import read_ledger
from simulations.deployment.recompute import model_faults, recomputed
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessEngine

MODEL = Path("server", "model", "arrays.safetensors")
SMALL: dict[str, Any] = {"length": 8, "subspace": {"rounds": 2, "embedding_dim": 3}}
NETWORKS: dict[str, dict[str, Any]] = {
    "sequential": {**SMALL, "network": "attention", "blocks": 1},
    "neural": {**SMALL, "feature_width": 4, "personal_steps": 1},
}
FOLLOWING: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.0, "warm_up": 0.0, "decay": "constant", "sampler": "exact",
    "train_items": True, "local_steps": 3, "negatives": 5, "start": "random",
}  # fmt: skip


class Stop:
    def round_done(self, record: RoundRecord) -> None:
        raise KeyboardInterrupt


def trained(run: Any) -> Any:
    InProcessEngine().run(run.path, SilentObserver())
    model, manifest = run.registry.model(read_job(run.path).catalogue_version)
    assert manifest.model == model.kind
    return model


def settings_of(solver: str, mode: str) -> dict[str, Any]:
    return {**NETWORKS[solver], **({"local_steps": 3} if mode == "none" else {})}


@pytest.mark.parametrize("solver", NETWORKS)
@pytest.mark.parametrize("mode", ["none", "local", "distributed"])
def test_a_network_is_trained_in_every_mode(
    prepare_run: Callable[..., Any], solver: str, mode: str
) -> None:
    run = prepare_run(mode=mode, solver=solver, settings=settings_of(solver, mode))
    model = trained(run)
    assert model.kind == solver
    arrays = model.arrays()
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays["item_table"].shape == (60, 4)
    again = model_from(solver, model.settings.model_dump(mode="json"), arrays)
    assert again.arrays().keys() == arrays.keys()
    if solver == "neural":
        assert arrays[FEATURES].shape == (60, 4)
        assert np.abs(arrays[FEATURES]).max() > 0


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_private_sequences_begin_where_transitions_end(
    prepare_run: Callable[..., Any], mode: str
) -> None:
    first = {"rounds": 1, "embedding_dim": 3, "length": 4}
    settings = {"rounds": 2, "length": 8, "negatives": 5, "transitions": first}
    model = trained(prepare_run(mode=mode, solver="sequential", settings=settings, dim=None))
    assert model.settings.network == "recency"
    assert model.settings.looks_back == 4
    assert all(np.isfinite(array).all() for array in model.arrays().values())


@pytest.mark.parametrize("solver", NETWORKS)
def test_stopped_after_every_step_it_is_the_same_model(
    prepare_run: Callable[..., Any], solver: str
) -> None:
    models = []
    for name in ("stopped", "whole"):
        settings = {**NETWORKS[solver], "local_steps": 2, "train_items": True}
        run = prepare_run(name, solver=solver, settings=settings, evaluation_share=0.1)
        stops = len(schedule_of(read_job(run.path)).steps) if name == "stopped" else 0
        for _ in range(stops):
            with pytest.raises(KeyboardInterrupt):
                InProcessEngine().run(run.path, Stop())
        InProcessEngine().run(run.path, SilentObserver())
        models.append((run.path / MODEL).read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("solver", NETWORKS)
def test_rounds_that_follow_their_total_come_again_and_are_what_the_clients_released(
    prepare_run: Callable[..., Any], solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and asked again it is the same model, and clients' disks alone make it once more."""
    settled, models = [], []
    sound = DeferredSum.settle
    monkeypatch.setattr(DeferredSum, "settle", lambda self: (settled.append(1), sound(self))[1])
    for name in ("stopped", "whole"):
        settings = {**NETWORKS[solver], **FOLLOWING}
        settings.pop("feature_width", None)  # what is recomputed has no catalogue
        run = prepare_run(name, solver=solver, settings=settings, evaluation_share=0.1)
        if name == "stopped":
            for _ in schedule_of(read_job(run.path)).steps:
                with pytest.raises(KeyboardInterrupt):
                    InProcessEngine().run(run.path, Stop())
        trained(run)
        models.append((run.path / MODEL).read_bytes())
    assert models[0] == models[1]
    assert len(settled) == 2 * 2 * 3  # two runs of two rounds at three clients
    stores = [ClientStore.open(folder) for folder in client_folders(run.path)]
    ledgers = {s.settings.name: read_ledger(s.settings.name, s.folder) for s in stores}
    populations = {s.settings.name: s.settings.population for s in stores}
    job = read_job(run.path)
    training = recomputed(job, run.path, ledgers, populations)
    assert not list(model_faults(training, (run.path / MODEL).parent))

"""A model of another kind on its whole way: trained, reported, delivered, served; and attacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.models import ModelStore
from client.service.v1 import recommender_pb2 as pb
from client.store import ClientStore
from common.errors import ArtifactError, Code, ConfigError
from common.models.registry import KINDS
from common.protocol import OK
from server.app import read_job
from server.delivery import deliver
from server.models import Models
from simulations.attacks.membership_models import Pool
from simulations.engine.folders import client_folders
from simulations.live import LiveView
from simulations.run_folder import RunFolder
from simulations.runner import start_run
from tests.client.service.shop import ids, serving
from tests.conftest import RecordingGrid
from tests.kinds import NAME, Drift, a_drift, know_drift

CHANGES: dict[str, Any] = {"solver": NAME, "rounds": None, "dim": None, "model": NAME}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    know_drift(monkeypatch)


@pytest.fixture
def run(known: None, tmp_path: Path, small_scenario: Callable[..., Any]) -> Any:
    """A finished run with a private evaluation, and its summary."""
    scenario = small_scenario(**CHANGES, evaluation_share=0.3, fixed_noise=False)
    with LiveView() as view:
        result = start_run(scenario, tmp_path / "run", view, force=False)
    return RunFolder(tmp_path / "run"), result


def test_it_is_trained_measured_delivered_and_served(run: Any) -> None:
    folder, result = run
    job = read_job(folder.path)
    model, manifest = folder.registry.model(job.catalogue_version)
    assert (manifest.model, model.kind, manifest.name) == (NAME, NAME, NAME)
    np.testing.assert_array_equal(model.item_vectors, a_drift(60).table)
    _is_measured(folder, result)
    home = folder.path / "server"
    version = Models(home).register("run", home / "model").version
    Models(home).promote(version)
    assert set(deliver(RecordingGrid(folder.path), home, 5.0).values()) == {OK}
    for place in client_folders(folder.path):
        held = ModelStore(place).current()
        assert held is not None
        assert held.manifest.sha256 == manifest.sha256
        assert isinstance(held.model, Drift)
    _is_served(client_folders(folder.path)[0], model)


def _is_measured(folder: RunFolder, result: dict[str, Any]) -> None:
    """Nothing of the report is missing; a shop chose between the model and its own."""
    assert set(result["serving"]) == {"joint", "shop"}
    assert set(result["choices"].values()) <= {"shared", "alone"}
    assert result["by_shop_size"]
    assert result["private_metrics"]["exact_hit_rate"] is not None
    assert (folder.path / "report.html").stat().st_size > 10_000


def _is_served(place: Path, model: Any) -> None:
    """Answers of the service are those of the model that was trained."""
    store = ClientStore.open(place)
    user, items = store.user_ids[0], store.histories.sequence_of(0)
    scores = model.scores(model.fold_in(store.histories.take(np.array([0]))))[0]
    order = [item for item in np.argsort(-scores, kind="stable") if item not in set(items)]
    with serving(place) as (_, caller):
        reply = caller.recommend(user, top_k=5)
        assert ids(reply.items) == [store.catalogue.item_ids[item] for item in order[:5]]
        assert reply.basis.method == pb.SHOPPER
        asked = pb.ExplainRequest(user_id=user, item_id=reply.items[0].item_id)
        assert caller.Explain(asked).attribution == pb.LEFT_OUT


def test_without_the_kind_a_run_that_has_it_is_not_read(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = run
    monkeypatch.delitem(KINDS, NAME)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError) as caught:
        folder.registry.model(read_job(folder.path).catalogue_version)
    assert caught.value.code is Code.MODEL_KIND


def test_a_scenario_can_name_the_kind_and_is_held_to_it(
    known: None, prepare_run: Callable[..., Any]
) -> None:
    assert prepare_run(**CHANGES).scenario.model == NAME
    with pytest.raises(ConfigError) as caught:
        prepare_run(name="other", model=NAME)
    assert caught.value.code is Code.MODEL_KIND
    assert "'mf'" in caught.value.message


def test_membership_inference_says_that_it_reads_matrix_factorisation_alone(
    known: None, small_scenario: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Pool.of(small_scenario(**CHANGES))
    assert caught.value.code is Code.MODEL_KIND

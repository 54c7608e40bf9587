"""After the last round: registered, promoted once, delivered, and delivered again when asked."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from common.errors import ArtifactError, Code, DataError
from server.app import make_app
from server.models import Models
from server.training.finishing import DELIVERY
from server.training.folder import OK, Outcome

SHOPS = ("shop-1", "shop-2", "shop-3")
NODES = ("node 2", "node 3", "node 4")
"""As a grid without registered names calls them."""


def outcome(folder: Any) -> Outcome:
    found = Outcome.of_run(folder)
    assert found is not None
    return found


def deliver(trained: Any, run_id: int = 9) -> Outcome:
    config = {"deliver": "true", "server-home": str(trained.home), "run": ""}
    make_app()(trained.grid, Context(run_id, 1, {}, RecordDict(), config))
    return outcome(trained.home / DELIVERY)


def test_a_training_ends_with_its_model_at_every_client(private: Any) -> None:
    private.ask(promote=True)
    private.run(run_id=3)
    found = outcome(private.folder)
    assert (found.code, found.run_id, found.promotion) == (OK, 3, 1)
    assert found.delivered == dict.fromkeys(NODES, OK)
    current = Models(private.home).current
    assert current is not None
    assert current.version == found.version
    for name in SHOPS:
        assert (private.shops.clients / name / "models" / "current.json").is_file()


def test_finished_again_it_promotes_nothing_twice(private: Any) -> None:
    private.ask(promote=True)
    private.run(run_id=3)
    private.run(run_id=4)
    assert outcome(private.folder).promotion == 1
    assert len(Models(private.home).promotions) == 1
    assert len(Models(private.home).versions()) == 1


def alone(trained: Any) -> None:
    """All shops go away."""
    trained.grid.get_node_ids = lambda: ()
    trained.grid.get_nodes = lambda: ()


def test_a_model_that_was_published_is_registered_without_any_client(private: Any) -> None:
    """Nothing is computed again: another machine might come to other bits."""
    private.ask(promote=True)
    (private.home / "models").write_text("in the way")
    with pytest.raises(DataError):
        private.run(run_id=3)
    arrays = private.folder / "server" / "model" / "arrays.safetensors"
    before = (arrays.stat().st_ino, arrays.read_bytes())
    (private.home / "models").unlink()
    alone(private)
    private.run(run_id=4)
    assert (outcome(private.folder).promotion, outcome(private.folder).delivered) == (1, {})
    assert (arrays.stat().st_ino, arrays.read_bytes()) == before


def test_a_model_that_is_registered_needs_neither_clients_nor_the_folders_own(
    private: Any,
) -> None:
    private.ask(promote=False)
    private.run(run_id=3)
    version = outcome(private.folder).version
    shutil.rmtree(private.folder / "server" / "model")
    alone(private)
    private.ask(promote=True)
    private.run(run_id=4)
    assert (outcome(private.folder).version, outcome(private.folder).promotion) == (version, 1)


def test_what_was_half_published_is_made_again(private: Any) -> None:
    private.ask(promote=False)
    (private.home / "models").write_text("in the way")
    with pytest.raises(DataError):
        private.run(run_id=3)
    (private.folder / "server" / "model" / "manifest.json").unlink()
    (private.home / "models").unlink()
    private.run(run_id=4)
    assert outcome(private.folder).code == OK


def test_what_is_not_promoted_stays_and_what_is_promoted_can_be_delivered(private: Any) -> None:
    private.ask(promote=False)
    private.run()
    found = outcome(private.folder)
    assert (found.code, found.promotion, found.delivered) == (OK, None, {})
    with pytest.raises(ArtifactError):
        deliver(private)
    assert outcome(private.home / DELIVERY).code == Code.MODEL_MISSING
    Models(private.home).promote(str(found.version))
    delivered = deliver(private, run_id=10)
    assert (delivered.run_id, delivered.delivered) == (10, dict.fromkeys(NODES, OK))
    assert (delivered.version, delivered.promotion) == (found.version, 1)


def test_a_model_without_a_guarantee_is_registered_and_not_promoted(trained: Any) -> None:
    trained.ask(promote=True)
    with pytest.raises(ArtifactError):
        trained.run()
    assert outcome(trained.folder).code == Code.MODEL_NOT_PRIVATE
    assert not outcome(trained.folder).passes
    assert len(Models(trained.home).versions()) == 1
    assert Models(trained.home).current is None

"""Rows of new items behind those of a model of every kind that can have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories
from common.errors import ArtifactError, Code
from common.models.additions import EXTENDABLE, NewItems, with_new_items
from common.models.base import Model
from common.models.content import ContentMap
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from common.models.registry import KINDS, model_class, model_from, model_specs
from common.privacy.inbound import check_arrays
from tests.kinds import a_drift

OLD, NEW, WIDTH = 80, 20, 6
SETTINGS: dict[str, dict[str, Any]] = {
    "mf": {},
    "sequential": {"embedding_dim": 4, "length": 5, "blocks": 1},
    "neural": {"embedding_dim": 4, "feature_width": 3, "head": 2},
    "transitions": {"context_dim": 3, "length": 5},
}


def table(items: int = OLD + NEW, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((items, WIDTH))


def made(kind: str, features: Floats) -> Model:
    """A model whose rows follow from features, but for little noise of their own."""
    rng = np.random.default_rng(1)
    settings = model_class(kind).Settings.load(SETTINGS[kind])
    empty = {"item_embeddings": np.zeros((OLD, 4))} if kind == "mf" else {}
    arrays = {}
    for name, spec in model_specs(kind, settings, OLD, empty).items():
        values = rng.standard_normal(spec.shape) * 0.1
        if spec.shape[0] == OLD and len(spec.shape) == 2:
            values += features[:OLD] @ rng.standard_normal((WIDTH, spec.shape[1]))
        arrays[name] = (np.exp(values) if spec.positive else values).astype(np.float32)
    if kind == "mf":
        arrays["noise_variance"] = np.full(OLD, 0.25, np.float32)
    return model_from(kind, settings, arrays)


def new_items(features: Floats, kind: str, trained: int = OLD) -> NewItems:
    network = np.full((len(features) - OLD, 3), 0.5, np.float32) if kind == "neural" else None
    return NewItems(features.astype(np.float32), trained, network)


def test_every_kind_has_its_say() -> None:
    assert set(EXTENDABLE) == set(KINDS)


@pytest.mark.parametrize("kind", EXTENDABLE)
def test_old_rows_stay_to_the_bit_and_a_receiver_takes_the_rest(kind: str) -> None:
    features = table()
    old = made(kind, features)
    larger = with_new_items(old, new_items(features, kind))
    assert (larger.kind, larger.settings, larger.n_items) == (kind, old.settings, OLD + NEW)
    for name, array in larger.arrays().items():
        before = old.arrays()[name]
        assert array[: len(before)].tobytes() == before.tobytes()
        assert len(array) == len(before) if EXTENDABLE[kind][name] == "kept" else OLD + NEW
    specs = model_specs(kind, larger.settings, OLD + NEW, larger.arrays())
    check_arrays(larger.arrays(), specs)


@pytest.mark.parametrize("kind", EXTENDABLE)
def test_new_rows_are_what_features_say(kind: str) -> None:
    """A model over all items, of which some are taken away and added again."""
    features = table()
    old = made(kind, features)
    larger = with_new_items(old, new_items(features, kind))
    for name, how in EXTENDABLE[kind].items():
        if how == "row":
            known = old.arrays()[name].astype(np.float64)
            line, *_ = np.linalg.lstsq(features[:OLD], known, rcond=None)
            expected = features[OLD:] @ line
            found = larger.arrays()[name][OLD:]
            assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95
    assert (larger.popularity[OLD:] > 0).all()
    history = Histories(np.array([0, 2]), np.array([3, OLD + 1]), np.ones(2), OLD + NEW)
    assert np.isfinite(larger.scores(larger.fold_in(history))).all()


def test_of_matrix_factorisation_it_is_what_the_map_makes() -> None:
    """What is not about features is the mean of the old items, and the noise the map's error."""
    features = table()
    old = made("mf", features)
    assert isinstance(old, MatrixFactorisation)
    larger = with_new_items(old, new_items(features, "mf"))
    found, fresh = ContentMap.fit(old, features[:OLD].astype(np.float32)), features[OLD:]
    expected = {
        "item_embeddings": found.embeddings(fresh),
        "popularity": found.popularity(fresh),
        "item_bias": np.full(NEW, old.item_bias.mean()),
        "item_weight": np.full(NEW, old.item_weight.mean()),
        "noise_variance": np.full(NEW, found.rows.error.mean()),
    }
    assert larger.arrays().keys() == expected.keys()
    for name, rows in expected.items():
        np.testing.assert_allclose(larger.arrays()[name][OLD:], rows, rtol=1e-5, atol=1e-6)


def test_nothing_is_learned_of_rows_that_are_predicted_themselves() -> None:
    """Items that are added twice are what they are when they are added at once."""
    features = table()
    old = made("mf", features)
    at_once = with_new_items(old, new_items(features, "mf"))
    first = with_new_items(old, new_items(features[: OLD + 5], "mf"))
    second = with_new_items(first, new_items(features, "mf", trained=OLD))
    for name, array in at_once.arrays().items():
        if EXTENDABLE["mf"][name] in ("row", "popularity"):
            np.testing.assert_allclose(second.arrays()[name], array, rtol=1e-6)


def test_a_shopper_is_shown_new_items_of_their_taste() -> None:
    """Two tastes: who has had items of one is shown the new ones of it first."""
    taste = np.arange(OLD + NEW) % 2
    features = np.eye(2)[taste] + 0.1 * table()[:, :2]
    rows = np.where(taste[:OLD, None] == 0, [2.0, 0.0], [0.0, 2.0]) + 0.1 * table()[:OLD, :2]
    old = MatrixFactorisation.from_embeddings(rows, np.ones(OLD), FoldIn())
    larger = with_new_items(old, NewItems(features.astype(np.float32), OLD))
    for wanted in (0, 1):
        items = np.flatnonzero(taste[:OLD] == wanted)[:4]
        history = Histories(np.array([0, 4]), items, np.ones(4), OLD + NEW)
        scores = larger.scores(larger.fold_in(history))[0, OLD:]
        assert (taste[OLD:][np.argsort(-scores)[: NEW // 2]] == wanted).all()


def test_what_nobody_can_add_to_is_said() -> None:
    drift = a_drift(OLD)
    with pytest.raises(ArtifactError, match=r"mf, sequential, neural, transitions") as caught:
        with_new_items(drift, new_items(table(), "drift"))
    assert caught.value.code is Code.MODEL_KIND


@pytest.mark.parametrize("rows", [OLD - 1, OLD])
def test_features_of_no_new_item_are_refused(rows: int) -> None:
    with pytest.raises(ArtifactError) as caught:
        with_new_items(made("mf", table()), new_items(table(rows), "mf"))
    assert caught.value.code is Code.ARTIFACT_INVALID


def test_a_network_that_reads_features_needs_those_of_the_new_items() -> None:
    features = table()
    new = NewItems(features.astype(np.float32), OLD, None)
    with pytest.raises(ArtifactError, match="network") as caught:
        with_new_items(made("neural", features), new)
    assert caught.value.code is Code.ARTIFACT_INVALID

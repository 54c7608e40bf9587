"""Neural and sequential models: arrays and back, what a receiver demands, what a shopper gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.arrays import Histories
from common.config import Settings
from common.errors import ArtifactError, Code, ConfigError
from common.models.base import Model
from common.models.networks.packing import Packing
from common.models.neural import Neural, NeuralModelSettings
from common.models.registry import model_class, model_from, model_specs
from common.models.sequential import Sequential, SequentialModelSettings
from common.models.shared_arrays import DENSE, FEATURES, POPULARITY_ARRAY, TABLE
from common.privacy.inbound import check_arrays

ITEMS, DIM = 30, 8
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("sequential", {"length": 6, "blocks": 1}),
    "gru": ("sequential", {"network": "gru", "length": 6}),
    "neural": ("neural", {"recent": 6}),
    "ridge": ("neural", {"pooling": "ridge"}),
    "features": ("neural", {"feature_width": 3}),
    "refined": ("neural", {"personal_steps": 2}),
    "personal-head": ("neural", {"personal_steps": 1, "share_head": False, "head": 3}),
    "explicit": ("neural", {"loss": "explicit", "rating_mean": 3.0, "rating_scale": 2.0}),
}


def settings_of(kind: str, values: dict[str, Any]) -> Any:
    return model_class(kind).Settings.load({"embedding_dim": DIM, **values}, where="test")


def arrays_of(settings: SequentialModelSettings | NeuralModelSettings) -> dict[str, Any]:
    """Random ones, also where training begins at zero."""
    rng = np.random.default_rng(0)
    packing: Packing = settings.packing
    width = getattr(settings, "feature_width", 0)
    arrays = {
        TABLE: rng.normal(size=(ITEMS, DIM)),
        DENSE: rng.normal(0, 0.3, (packing.rows, DIM)),
        POPULARITY_ARRAY: rng.uniform(1, 9, ITEMS),
        **({FEATURES: rng.normal(size=(ITEMS, width))} if width else {}),
    }
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    kind, values = MODELS[request.param]
    settings = settings_of(kind, values)
    return model_from(kind, settings, arrays_of(settings))


def histories(seed: int = 0) -> Histories:
    """Shoppers with 0 to 12 events, in an order of their own."""
    rng = np.random.default_rng(seed)
    counts = [0, 1, 12, 5, 0, 7]
    rows = [np.sort(rng.choice(ITEMS, count, replace=False)) for count in counts]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    order = np.concatenate([rng.permutation(count) for count in counts]).astype(np.int64)
    return Histories(indptr, items, rng.uniform(1, 5, len(items)), ITEMS, order)


def test_a_model_comes_back_from_its_arrays_and_settings(model: Model) -> None:
    sent = {name: array.copy() for name, array in model.arrays().items()}
    dumped = model.settings.model_dump(mode="json")
    specs = model_specs(model.kind, dumped, ITEMS, sent)
    back = model_from(model.kind, dumped, check_arrays(sent, specs))
    assert back.settings == model.settings
    assert (back.kind, back.n_items, back.dim) == (model.kind, ITEMS, model.dim)
    one, two = (m.scores(m.fold_in(histories())) for m in (model, back))
    np.testing.assert_array_equal(one, two)


def test_a_shopper_without_events_gets_the_popularity(model: Model) -> None:
    vectors = model.fold_in(histories())
    assert vectors.shape == (6, model.dim)
    assert np.flatnonzero(~vectors.any(axis=1)).tolist() == [0, 4]
    scores = model.scores(vectors)
    assert scores.shape == (6, ITEMS)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[[0, 4]], np.tile(model.popularity, (2, 1)))


def test_a_shopper_alone_is_as_in_a_batch(model: Model) -> None:
    everybody = histories()
    together = model.fold_in(everybody)
    for user in range(6):
        alone = model.fold_in(everybody.take(np.array([user])))
        np.testing.assert_allclose(alone[0], together[user], atol=1e-5)
        scores = model.scores(together[[user]])
        np.testing.assert_allclose(scores, model.scores(together)[[user]], rtol=1e-4, atol=1e-4)


def test_items_have_vectors(model: Model) -> None:
    assert model.item_vectors.shape == (ITEMS, DIM)
    assert model.item_vectors.dtype == np.float32


def test_only_the_latest_events_are_read() -> None:
    for name in ("attention", "neural"):
        kind, values = MODELS[name]
        settings = settings_of(kind, values)
        found = model_from(kind, settings, arrays_of(settings))
        whole = histories()
        counts = np.repeat(whole.lengths, whole.lengths)
        assert whole.order is not None
        latest = whole.keep(whole.order >= counts - 6)
        assert latest.lengths.max() == 6
        np.testing.assert_allclose(found.fold_in(latest), found.fold_in(whole), atol=1e-6)


def test_the_order_decides_a_sequential_model_and_not_a_neural_one() -> None:
    moved = replace(whole := histories(), order=None)
    for name, differs in (("attention", True), ("gru", True), ("features", False)):
        kind, values = MODELS[name]
        settings = settings_of(kind, values)
        found = model_from(kind, settings, arrays_of(settings))
        close = np.allclose(found.fold_in(moved), found.fold_in(whole), atol=1e-5)
        assert close is not differs


def test_ratings_are_scores_in_the_units_of_ratings() -> None:
    settings = settings_of(*MODELS["explicit"])
    model = Neural.from_arrays(arrays_of(settings), settings)
    vectors = model.fold_in(histories())
    ratings = model.ratings(vectors)
    scores = model.scores(vectors)[1:4]
    assert np.abs(scores).max() > 4  # no prediction is farther than a rating counts
    np.testing.assert_allclose(ratings[1:4], 3.0 + 2.0 * scores.clip(-4, 4), rtol=1e-6)
    assert (ratings[[0, 4]] == 3.0).all()
    own = np.array([[-1, -1], *[histories().sequence_of(u)[[0, -1]] for u in (1, 2, 3)]])
    some = histories().take(np.arange(4))
    given = settings.standardised(some, own)
    assert not given[0].any()
    weight = some.weights[some.indptr[2] : some.indptr[3]]
    place = np.searchsorted(some.items[some.indptr[2] : some.indptr[3]], own[2, 0])
    assert given[2, 0] == pytest.approx((weight[place] - 3.0) / 2.0)


def test_a_rating_out_of_reach_is_moved_to_the_edge_and_none_is_the_mean() -> None:
    settings = settings_of(*MODELS["explicit"])
    model = Neural.from_arrays(arrays_of(settings), settings)
    whole = histories().take(np.array([2]))
    own = whole.recent(12)

    def given(weight: float) -> Any:
        return settings.standardised(replace(whole, weights=np.full(12, weight)), own)

    for weight, expected in ((1e308, 4.0), (11.1, 4.0), (-1e308, -4.0), (3.0, 0.0), (5.0, 1.0)):
        np.testing.assert_array_equal(given(weight), expected)
    mean = model.fold_in(replace(whole, weights=np.full(12, 3.0)))
    for weight in (np.nan, np.inf, -np.inf):
        assert np.isnan(given(weight)).all()
        unrated = model.fold_in(replace(whole, weights=np.full(12, weight)))
        np.testing.assert_array_equal(unrated, mean)


def test_features_move_an_item_that_has_no_vector() -> None:
    settings = settings_of(*MODELS["features"])
    arrays = arrays_of(settings)
    arrays[TABLE] = 0 * arrays[TABLE]
    arrays[FEATURES][3] = arrays[FEATURES][7]
    vectors = Neural.from_arrays(arrays, settings).item_vectors
    np.testing.assert_array_equal(vectors[3], vectors[7])
    assert np.abs(vectors).min(axis=1).max() > 0


def broken(change: str, arrays: dict[str, Any]) -> dict[str, Any]:
    if change == "missing":
        return {name: array for name, array in arrays.items() if name != DENSE}
    if change == "unknown":
        return {**arrays, "more": np.ones(3, np.float32)}
    if change == "shape":
        return {**arrays, DENSE: arrays[DENSE][1:]}
    if change == "finite":
        return {**arrays, TABLE: arrays[TABLE] * np.nan}
    return {**arrays, POPULARITY_ARRAY: 0 * arrays[POPULARITY_ARRAY]}


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "finite", "positive"])
def test_arrays_that_make_no_model_are_refused(model: Model, change: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        model_from(model.kind, model.settings, broken(change, model.arrays()))
    assert caught.value.code is Code.ARTIFACT_INVALID


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("sequential", {"heads": 3}),
        ("neural", {"share_head": False}),
        ("neural", {"pooling": "ridge", "loss": "explicit"}),
        ("neural", {"share_head": False, "personal_steps": 1, "head": 0}),
        ("neural", {"feature_width": 1 << 20}),
        ("neural", {"embedding_dim": 1}),
    ],
)
def test_settings_that_make_no_network_are_refused(kind: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings_of(kind, values)


def test_models_are_of_their_kinds() -> None:
    for kind, loaded in (("neural", Neural), ("sequential", Sequential)):
        assert model_class(kind) is loaded
        assert issubclass(loaded.Settings, Settings)
        assert loaded.kind == kind


@pytest.mark.parametrize("pooling", ["mean", "ridge"])
def test_a_shopper_whose_vector_is_not_finite_gets_the_popularity(pooling: str) -> None:
    settings = settings_of("neural", {"pooling": pooling, "feature_width": 3})
    arrays = arrays_of(settings)
    arrays[FEATURES] = np.full_like(arrays[FEATURES], 1e30)
    arrays[DENSE] = np.full_like(arrays[DENSE], 1e30)
    found: Any = model_from("neural", settings, arrays)
    vectors = found.fold_in(histories())
    assert np.isfinite(vectors).all()
    lost = ~vectors.any(axis=1)
    np.testing.assert_array_equal(
        found.scores(vectors)[lost], np.tile(found.popularity, (lost.sum(), 1))
    )
    assert lost.all()


def test_one_vector_that_is_not_finite_leaves_the_other_shoppers_alone() -> None:
    settings = settings_of("neural", {"feature_width": 3})
    arrays = arrays_of(settings)
    clean: Any = model_from("neural", settings, arrays)
    whole = histories()
    holders = np.unique(whole.user_of_event[whole.items == whole.items[0]])
    features = arrays[FEATURES].copy()
    features[whole.items[0]] = 3e38
    spoilt: Any = model_from("neural", settings, {**arrays, FEATURES: features})
    vectors, expected = spoilt.fold_in(whole), clean.fold_in(whole)
    assert 0 < len(holders) < 4
    assert not vectors[holders].any()
    others = np.setdiff1d(np.arange(6), holders)
    np.testing.assert_allclose(vectors[others], expected[others], atol=1e-6)

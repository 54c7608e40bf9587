"""Rows for new items, and known ones drawn towards what their features say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.arrays import Floats
from common.errors import ArtifactError, Code
from common.models.content import ContentMap, ContentSettings
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation

ITEMS, WIDTH, DIM = 300, 12, 4
UNSCALED = ContentSettings(scale_exponent=0.0, weight_exponent=0.0)


def _world(noise: float = 0.0, seed: int = 0) -> tuple[MatrixFactorisation, Floats, Floats]:
    """A model whose rows are half of features, half their own; its features; its exact rows."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((ITEMS, WIDTH))
    exact = features @ rng.standard_normal((WIDTH, DIM)) + rng.standard_normal((ITEMS, DIM))
    popularity = np.exp(features[:, 0] + 0.1 * rng.standard_normal(ITEMS)) * 50
    rows = exact + noise * rng.standard_normal(exact.shape)
    model = MatrixFactorisation.from_embeddings(rows, popularity, FoldIn())
    return model, features, exact


def test_rows_and_popularity_of_new_items_are_found() -> None:
    model, features, exact = _world()
    known, new = np.arange(200), np.arange(200, ITEMS)
    seen = MatrixFactorisation.from_embeddings(
        exact[known], model.popularity[known], model.settings
    )
    found = ContentMap.fit(seen, features[known], UNSCALED)
    error = np.mean((found.embeddings(features[new]) - exact[new]) ** 2)
    assert error < 1.5  # the rows' own half has variance 1, the mean of all would have 13
    ratio = found.popularity(features[new]) / model.popularity[new]
    assert np.abs(np.log(ratio)).mean() < 0.2


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_what_is_predicted_has_the_level_of_what_is_known(scale: float) -> None:
    """A mean of logarithms would make new items look rarer than they are."""
    model, features, _ = _world()
    own = np.exp(np.random.default_rng(3).standard_normal(ITEMS))  # what no feature tells
    model = replace(model, popularity=(model.popularity * own).astype(np.float32))
    found = ContentMap.fit(model, features, ContentSettings(scale_exponent=scale))
    assert found.popularity(features).mean() == pytest.approx(model.popularity.mean(), rel=1e-5)
    raw = found.popularity(features) / found.popularity_level
    relative = model.popularity / model.popularity.mean()
    level = found.scale_level * (raw**scale).mean()
    assert level == pytest.approx((relative.astype(np.float64) ** scale).mean(), rel=1e-5)


def test_an_item_of_which_nothing_is_known_gets_the_mean_row() -> None:
    model, features, _ = _world()
    found = ContentMap.fit(model, features, UNSCALED)
    row = found.embeddings(np.zeros((1, WIDTH)))[0]
    np.testing.assert_allclose(row, model.item_embeddings.mean(axis=0), atol=1e-5)


def test_predictions_stay_finite_far_from_everything() -> None:
    model, features, _ = _world()
    found = ContentMap.fit(model, features, ContentSettings(scale_exponent=1.0))
    assert np.isfinite(found.popularity(1e9 * features)).all()
    assert (found.popularity(1e9 * features) > 0).all()


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_blended_rows_are_nearer_than_noisy_ones_and_than_the_map(noise: float) -> None:
    model, features, exact = _world(noise)
    found = ContentMap.fit(model, features, UNSCALED)
    blended = found.blend(model, features, np.full(ITEMS, noise**2))
    errors = [
        np.mean((np.asarray(rows) - exact) ** 2)
        for rows in (blended.item_embeddings, model.item_embeddings, found.embeddings(features))
    ]
    assert errors[0] < 0.95 * errors[1]
    assert errors[0] < 0.95 * errors[2]
    best = noise**2 / (1 + noise**2)  # prior variance 1 around the map, if it were exact
    assert errors[0] < 1.6 * best


def test_rows_without_noise_are_kept() -> None:
    model, features, _ = _world()
    noise = np.zeros(ITEMS)
    noise[:100] = 1e9
    found = ContentMap.fit(model, features, UNSCALED)
    blended = found.blend(model, features, noise).item_embeddings
    assert not np.allclose(blended[:100], model.item_embeddings[:100])
    kept = found.blend(model, features, np.zeros(ITEMS)).item_embeddings
    np.testing.assert_allclose(kept, model.item_embeddings, rtol=1e-6)


def test_the_map_sees_released_arrays_and_features_alone() -> None:
    """The same release gives the same map: nothing else goes in."""
    model, features, _ = _world()
    again = MatrixFactorisation.from_arrays(model.arrays(), model.settings)
    one, other = (ContentMap.fit(m, features) for m in (model, again))
    np.testing.assert_array_equal(one.rows.coefficients, other.rows.coefficients)
    np.testing.assert_array_equal(
        one.log_popularity.coefficients, other.log_popularity.coefficients
    )


def test_arrays_that_do_not_fit_are_refused() -> None:
    model, features, _ = _world()
    found = ContentMap.fit(model, features, UNSCALED)
    wrong = [
        lambda: ContentMap.fit(model, features[1:]),
        lambda: found.blend(model, features[1:], np.ones(ITEMS)),
        lambda: found.blend(model, features, np.ones(3)),
        lambda: ContentMap.fit(model, features, ContentSettings(scale_exponent=1)).blend(
            model, features, np.ones(ITEMS)
        ),
    ]
    for call in wrong:
        with pytest.raises(ArtifactError) as caught:
            call()
        assert caught.value.code is Code.ARTIFACT_INVALID

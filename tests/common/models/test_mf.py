"""The shared half of matrix factorisation: scoring, storage, refusal of broken arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.arrays import Histories
from common.errors import ArtifactError, Code
from common.models.mf import SHARED_PARAMETERS, FoldIn, MatrixFactorisation


@pytest.fixture
def model() -> MatrixFactorisation:
    rng = np.random.default_rng(1)
    return MatrixFactorisation(
        item_embeddings=rng.normal(size=(6, 3)).astype(np.float32),
        item_bias=rng.normal(size=6).astype(np.float32),
        popularity=np.arange(1, 7, dtype=np.float32),
        item_weight=np.ones(6, np.float32),
        settings=FoldIn(popularity_mix=0.5),
        noise_variance=np.full(6, 0.1, np.float32),
    )


def test_score_is_product_plus_bias_plus_popularity(model: MatrixFactorisation) -> None:
    vector = np.array([[1.0, -2.0, 0.5]])
    expected = [
        float(vector[0] @ model.item_embeddings[i].astype(float))
        + float(model.item_bias[i])
        + 0.5 * np.log(float(model.popularity[i]) / 3.5)
        for i in range(6)
    ]
    np.testing.assert_allclose(model.scores(vector)[0], expected)


def test_shopper_without_events_is_scored_by_popularity(model: MatrixFactorisation) -> None:
    empty = Histories(np.array([0, 0, 1]), np.array([2]), np.ones(1), 6)
    vectors = model.fold_in(empty)
    scores = model.scores(vectors)
    assert vectors.shape == (2, 3)
    np.testing.assert_array_equal(scores[0], model.popularity)
    assert scores[1].argmax() != scores[0].argmax() or vectors[1].any()


def test_arrays_round_trip_and_hold_nothing_personal(model: MatrixFactorisation) -> None:
    arrays = model.arrays()
    assert set(arrays) == set(SHARED_PARAMETERS)
    again = MatrixFactorisation.from_arrays(arrays, model.settings)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == np.float32


def test_noise_variance_is_optional(model: MatrixFactorisation) -> None:
    arrays = model.arrays()
    del arrays["noise_variance"]
    again = MatrixFactorisation.from_arrays(arrays, model.settings)
    assert again.noise_variance is None
    assert "noise_variance" not in again.arrays()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("item_embeddings", np.zeros(6)),
        ("item_embeddings", np.zeros((6, 0))),
        ("item_embeddings", np.full((6, 3), np.nan)),
        ("item_bias", np.zeros(5)),
        ("item_bias", np.full(6, np.inf)),
        ("popularity", np.zeros(6)),
        ("item_weight", -np.ones(6)),
        ("noise_variance", -np.ones(6)),
    ],
)
def test_broken_arrays_are_refused(model: MatrixFactorisation, name: str, array: Any) -> None:
    with pytest.raises(ArtifactError, match=name) as caught:
        MatrixFactorisation.from_arrays({**model.arrays(), name: array}, model.settings)
    assert caught.value.code == Code.ARTIFACT_INVALID


def test_missing_and_unknown_arrays_are_named(model: MatrixFactorisation) -> None:
    arrays = model.arrays()
    with pytest.raises(ArtifactError, match="user_vectors"):
        MatrixFactorisation.from_arrays({**arrays, "user_vectors": np.ones(3)}, model.settings)
    del arrays["popularity"]
    with pytest.raises(ArtifactError, match="popularity"):
        MatrixFactorisation.from_arrays(arrays, model.settings)

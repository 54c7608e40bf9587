"""Rows for items that training never saw: a map from public features to released embeddings.

The map is ridge regression over the items that have a row (Gantner et al. 2010 learn such maps
for new items of factor models). One more regression gives the logarithm of popularity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats
from common.config import Settings
from common.errors import ArtifactError, Code
from common.models.mf import MatrixFactorisation
from common.models.regression import Regression, fit_ridge

__all__ = ["ContentMap", "ContentSettings"]


class ContentSettings(Settings):
    """How the map is learned. Public."""

    weight_exponent: float = Field(default=0.5, ge=0, le=2)
    """An item counts by its popularity to this power: popular rows hold less noise."""
    scale_exponent: float = Field(default=0.5, ge=0, le=2)
    """Rows are divided by relative popularity to this power before, and multiplied after."""
    weakest: float = Field(default=1e-2, gt=0, le=1e9)
    """The smallest strength λ that is tried."""
    strongest: float = Field(default=1e4, gt=0, le=1e9)
    """The largest."""
    strengths: int = Field(default=13, ge=1, le=100)
    """How many are tried, equal ratios apart."""


@dataclass(frozen=True, eq=False)
class ContentMap:
    """From features `[items, width]` to rows of a factor model.

    Guarantee:
        A function of a model's released arrays and of public features. Its strengths are chosen
        by leaving out items of the release, never users or events; so it is post-processing and
        costs no budget.

    Attributes:
        rows: to embeddings, divided by predicted popularity where the settings scale.
        log_popularity: to log(popularity / mean popularity), one column.
        popularity_level: what the exponential of that is multiplied by, and
        scale_level: its power by which rows are scaled, so that over the items that the map was
            learned from the mean of each is the true one: the exponential of a mean logarithm
            is less than the mean (Duan 1983).
        settings: how it was learned.
    """

    rows: Regression
    log_popularity: Regression
    popularity_level: float
    scale_level: float
    settings: ContentSettings

    @classmethod
    def fit(
        cls,
        model: MatrixFactorisation,
        features: NDArray[Any],
        settings: ContentSettings | None = None,
    ) -> Self:
        """Learn the map from all rows of `model`.

        Args:
            model: released.
            features: `[items, width]` of its items, in its order.
            settings: weights and strengths.

        Raises:
            ArtifactError: `artifact-invalid`, features of another number of items.
        """
        return cls.fit_rows(model.item_embeddings, model.popularity, features, settings)

    @classmethod
    def fit_rows(
        cls,
        rows: NDArray[Any],
        popularity: NDArray[Any],
        features: NDArray[Any],
        settings: ContentSettings | None = None,
    ) -> Self:
        """Learn the map from released rows of any kind, `[items, columns]`, as `fit` does.

        Every column is fitted for itself: of several tables side by side each has the rows that
        it has alone.

        Raises:
            ArtifactError: `artifact-invalid`, arrays of different numbers of items.
        """
        chosen = ContentSettings() if settings is None else settings
        _check(features, len(rows), "features")
        _check(popularity, len(rows), "popularity")
        popularity = popularity.astype(np.float64)
        relative = popularity / popularity.mean()
        strengths = np.geomspace(chosen.weakest, chosen.strongest, chosen.strengths).tolist()
        scale = relative**chosen.scale_exponent
        targets = rows.astype(np.float64) / scale[:, None]
        weights = relative**chosen.weight_exponent
        equally = np.ones(len(relative))
        logarithm = fit_ridge(features, np.log(relative)[:, None], equally, strengths)
        raw = _exponential(logarithm, features)
        return cls(
            fit_ridge(features, targets, weights, strengths),
            logarithm,
            float(popularity.mean() / raw.mean()),
            float(scale.mean() / (raw**chosen.scale_exponent).mean()),
            chosen,
        )

    def popularity(self, features: NDArray[Any]) -> Floats:
        """Predicted popularity, positive, in the model's units, `[items]`."""
        return self.popularity_level * _exponential(self.log_popularity, features)

    def embeddings(self, features: NDArray[Any]) -> Floats:
        """Predicted rows, `[items, dim]`."""
        raw = _exponential(self.log_popularity, features)
        scale = self.scale_level * raw**self.settings.scale_exponent
        return self.rows.predict(features) * scale[:, None]

    def blend(
        self, model: MatrixFactorisation, features: NDArray[Any], noise_variance: Floats
    ) -> MatrixFactorisation:
        """Rows of known noise, drawn towards what their features say (Curmei et al. 2023).

        Coordinate j of row i becomes (τ_j² v_ij + s_i² m_ij) / (τ_j² + s_i²): the mean of a
        normal prior around the map's value m with the variance τ² of taste that the map leaves
        unexplained, given v with noise of variance s². τ_j² is the map's error on left-out items
        less the mean noise in it; both sides are released values or public.

        Args:
            model: the one that the map was learned from; unscaled (`scale_exponent` 0).
            features: `[items, width]`.
            noise_variance: `[items]`, s², of each coordinate of a released row.

        Raises:
            ArtifactError: `artifact-invalid`, arrays of another length, or a scaled map.
        """
        _check(features, model.n_items, "features")
        _check(noise_variance, model.n_items, "noise_variance")
        if self.settings.scale_exponent != 0.0:
            raise _invalid("a map of scaled rows has no one error to weigh by.", "scale_exponent")
        weights = model.popularity.astype(np.float64) ** self.settings.weight_exponent
        noise = float(weights @ noise_variance / weights.sum())
        unexplained = np.maximum(self.rows.error - noise, 0.0)
        share = unexplained / np.maximum(unexplained + noise_variance[:, None], 1e-30)
        known = model.item_embeddings.astype(np.float64)
        blended = share * known + (1.0 - share) * self.embeddings(features)
        return replace(model, item_embeddings=blended.astype(np.float32))


def _exponential(logarithm: Regression, features: NDArray[Any]) -> Floats:
    """Popularity over its mean but for a constant, within what floats bear, `[items]`."""
    return np.exp(np.clip(logarithm.predict(features)[:, 0], -30.0, 30.0))


def _check(array: NDArray[Any], n_items: int, where: str) -> None:
    if len(array) != n_items:
        raise _invalid(f"{len(array)} rows, expected {n_items}.", where)


def _invalid(message: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        message,
        where=where,
        remedy="Give features of the model's own catalogue, in its order.",
    )

"""Ridge regression of many columns at once, its strength chosen by leaving rows out.

Each column minimises Σ_i w_i (y_i - b - x_i·a)² + λ ‖a‖², the intercept b not penalised. All
strengths share one eigendecomposition. Leaving row i out needs no further fit: its error is
(y_i - ŷ_i) / (1 - h_i), h the diagonal of the hat matrix, as for every least-squares fit with a
quadratic penalty (Golub, Heath, Wahba 1979, section 1; Allen's PRESS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats

__all__ = ["Regression", "fit_ridge"]

_RANK: Final = 1e-10
"""Directions whose eigenvalue is below this share of the largest are none."""
_LEAST: Final = 1e-9
"""1 - h is at least this: a row that decides its own value alone cannot be left out."""


@dataclass(frozen=True, eq=False)
class Regression:
    """Fitted columns.

    Attributes:
        coefficients: `[width, columns]`, a.
        intercept: `[columns]`, b.
        mean: `[columns]`, weighted mean of the targets.
        strength: `[columns]`, λ of each, the one with the least error.
        error: `[columns]`, weighted mean squared error of rows that were left out, at that λ.
        spread: `[columns]`, weighted variance of the targets: the error of their mean.
    """

    coefficients: Floats
    intercept: Floats
    mean: Floats
    strength: Floats
    error: Floats
    spread: Floats

    def predict(self, features: NDArray[Any]) -> Floats:
        """Values for `features` `[rows, width]`, `[rows, columns]`; the mean for a row of zeros."""
        wide = np.asarray(features, dtype=np.float64)
        values: Floats = wide @ self.coefficients + self.intercept
        values[~(wide != 0).any(axis=1)] = self.mean
        return values


def fit_ridge(
    features: NDArray[Any], targets: Floats, weights: Floats, strengths: Sequence[float]
) -> Regression:
    """Fit each column of targets with the strength that predicts left-out rows best.

    Args:
        features: `[rows, width]`.
        targets: `[rows, columns]`.
        weights: `[rows]`, positive.
        strengths: positive λ to choose from, in units of the mean weight.

    Returns:
        The fits; a column whose best is the largest λ is close to its mean.
    """
    relative = weights / weights.mean()
    table = _Centred.of(np.asarray(features, dtype=np.float64), targets, relative)
    best = np.full(targets.shape[1], np.inf)
    chosen = np.zeros(targets.shape[1])
    rotated: Floats = np.zeros((table.parts.shape[1], targets.shape[1]))
    moments, squares = table.parts.T @ table.targets, table.parts**2
    for strength in strengths:
        inverse = 1.0 / (table.eigenvalues + strength)
        trial = inverse[:, None] * moments
        error = _left_out_error(table, trial, squares @ inverse + table.own)
        better = error < best
        best = np.where(better, error, best)
        chosen = np.where(better, strength, chosen)
        rotated[:, better] = trial[:, better]
    coefficients = table.basis @ rotated
    return Regression(
        coefficients,
        table.target_mean - table.feature_mean @ coefficients,
        table.target_mean,
        chosen,
        best / len(features),
        (table.targets**2).sum(axis=0) / len(features),
    )


class _Centred(NamedTuple):
    """Rows less their weighted means, times the root of their weights, in the eigenbasis."""

    parts: Floats
    """`[rows, rank]`, features in the basis."""
    basis: Floats
    """`[width, rank]`, orthonormal columns."""
    eigenvalues: Floats
    """`[rank]`."""
    targets: Floats
    """`[rows, columns]`."""
    own: Floats
    """`[rows]`, the part of h that the intercept has."""
    feature_mean: Floats
    target_mean: Floats

    @classmethod
    def of(cls, features: Floats, targets: Floats, weights: Floats) -> _Centred:
        total = weights.sum()
        feature_mean = weights @ features / total
        target_mean = weights @ targets / total
        root = np.sqrt(weights)[:, None]
        rows = root * (features - feature_mean)
        eigenvalues, basis = _eigenbasis(rows)
        return cls(
            rows @ basis,
            basis,
            eigenvalues,
            root * (targets - target_mean),
            weights / total,
            feature_mean,
            target_mean,
        )


def _eigenbasis(rows: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues and eigenvectors of rowsᵀ rows, through the smaller Gramian."""
    if len(rows) >= rows.shape[1]:
        eigenvalues, vectors = np.linalg.eigh(rows.T @ rows)
    else:
        eigenvalues, left = np.linalg.eigh(rows @ rows.T)
        kept = eigenvalues > _RANK * max(eigenvalues[-1], 0.0)
        eigenvalues = eigenvalues[kept]
        vectors = rows.T @ left[:, kept] / np.sqrt(eigenvalues)
    kept = eigenvalues > _RANK * max(float(eigenvalues.max(initial=0.0)), 0.0)
    return eigenvalues[kept], np.asarray(vectors[:, kept], dtype=np.float64)


def _left_out_error(table: _Centred, rotated: Floats, hat: Floats) -> Floats:
    """Sum of squared errors of rows left out, `[columns]`; `rotated` are the coefficients."""
    residuals = (table.targets - table.parts @ rotated) / np.maximum(1.0 - hat, _LEAST)[:, None]
    return np.asarray((residuals**2).sum(axis=0), dtype=np.float64)

"""Ridge regression: the closed forms against the obvious ones."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Floats
from common.models.regression import fit_ridge


def obvious(x: Floats, y: Floats, w: Floats, strength: float) -> tuple[Floats, Floats]:
    """Coefficients and intercept from the normal equations, the intercept not penalised."""
    wide = np.hstack([x, np.ones((len(x), 1))])
    penalty = strength * np.eye(wide.shape[1])
    penalty[-1, -1] = 0.0
    solved = np.linalg.solve(wide.T @ (w[:, None] * wide) + penalty, wide.T @ (w[:, None] * y))
    return solved[:-1], solved[-1]


def left_out_error(x: Floats, y: Floats, w: Floats, strength: float) -> Floats:
    """Weighted squared error of rows that were really left out, by column."""
    total = np.zeros(y.shape[1])
    for row in range(len(x)):
        rest = np.arange(len(x)) != row
        a, b = obvious(x[rest], y[rest], w[rest], strength)
        total += w[row] * (y[row] - x[row] @ a - b) ** 2
    return total / len(x)


def _table(rows: int, width: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width))
    y = x[:, :1] @ [[1.0, 0.0]] + 0.5 * rng.standard_normal((rows, 2)) + [3.0, -1.0]
    return x, y, rng.gamma(2.0, size=rows)


@pytest.mark.parametrize(("rows", "width"), [(30, 5), (12, 40), (20, 20)])
def test_fit_and_left_out_errors_are_those_of_the_obvious_way(rows: int, width: int) -> None:
    x, y, weights = _table(rows, width)
    relative = weights / weights.mean()
    for strength in (0.3, 20.0):
        fitted = fit_ridge(x, y, weights, [strength])
        a, b = obvious(x, y, relative, strength)
        np.testing.assert_allclose(fitted.coefficients, a, atol=1e-9)
        np.testing.assert_allclose(fitted.predict(x[:4]), x[:4] @ a + b, atol=1e-9)
        np.testing.assert_allclose(fitted.error, left_out_error(x, y, relative, strength))


def test_each_column_has_the_strength_of_least_error() -> None:
    x, y, weights = _table(60, 10)
    strengths = [0.01, 1.0, 100.0, 1e6]
    fitted = fit_ridge(x, y, weights, strengths)
    relative = weights / weights.mean()
    errors = np.array([left_out_error(x, y, relative, s) for s in strengths])
    np.testing.assert_array_equal(fitted.strength, np.take(strengths, errors.argmin(axis=0)))
    np.testing.assert_allclose(fitted.error, errors.min(axis=0))
    assert fitted.strength[0] < fitted.strength[1]  # the second column is noise
    assert fitted.error[0] < 0.6 * fitted.spread[0]


def test_scale_of_weights_does_not_matter() -> None:
    x, y, weights = _table(25, 4)
    one, other = (fit_ridge(x, y, c * weights, [2.0]) for c in (1.0, 1e6))
    np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-10)


def test_a_row_of_zeros_gets_the_mean() -> None:
    x, y, weights = _table(25, 4)
    x += 5.0
    found = fit_ridge(x, y, weights, [1.0]).predict(np.zeros((1, 4)))[0]
    np.testing.assert_allclose(found, np.average(y, axis=0, weights=weights))


@pytest.mark.parametrize("rows", [1, 3])
def test_features_that_say_nothing_give_the_mean(rows: int) -> None:
    y = np.arange(rows, dtype=np.float64)[:, None]
    fitted = fit_ridge(np.ones((rows, 7)), y, np.ones(rows), [1e-3, 1.0])
    np.testing.assert_allclose(fitted.predict(np.ones((2, 7))), y.mean())
    assert np.isfinite(fitted.error).all()

"""Sums over users that merge: a commutative monoid, so that batches and shops add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from common.arrays import Ints
from common.errors import Code, DataError

__all__ = ["Mean", "RatingTotals", "Totals", "coverage", "gini"]


@dataclass(frozen=True)
class Mean:
    """A mean in the making; users without a value are not in `count`."""

    total: float = 0.0
    count: int = 0

    def merge(self, other: Mean) -> Mean:
        """Both groups together."""
        return Mean(self.total + other.total, self.count + other.count)

    @property
    def value(self) -> float:
        """Total / count; NaN of nobody."""
        return self.total / self.count if self.count else float("nan")

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Mean:
        """Of one value per user, NaN for none."""
        present = values[~np.isnan(values)]
        return cls(float(present.sum()), len(present))


@dataclass(frozen=True, eq=False)
class Totals:
    """Metrics of a group of users.

    `merge` is associative and commutative (sums of floats up to rounding), and
    `Totals.empty` is neutral: a property test holds that.

    Attributes:
        means: by metric.
        exposure: `[items]`, in how many lists each item is.
    """

    means: Mapping[str, Mean]
    exposure: Ints

    @classmethod
    def empty(cls, n_items: int) -> Totals:
        """Of nobody."""
        return cls(MappingProxyType({}), np.zeros(n_items, dtype=np.int64))

    @classmethod
    def of(cls, values: Mapping[str, NDArray[np.float64]], lists: Ints, n_items: int) -> Totals:
        """Of per-user values by metric, `[users]` each, and lists `[users, k]`, -1 for none."""
        exposure = np.bincount(lists[lists >= 0], minlength=n_items).astype(np.int64)
        means = {name: Mean.of(column) for name, column in values.items()}
        return cls(MappingProxyType(means), exposure)

    def merge(self, other: Totals) -> Totals:
        """Both groups together.

        Raises:
            DataError: `catalogue-mismatch`, the catalogues differ in size.
        """
        if self.exposure.shape != other.exposure.shape:
            raise DataError(
                Code.CATALOGUE_MISMATCH,
                f"{len(self.exposure)} and {len(other.exposure)} items cannot be merged.",
                where="exposure",
            )
        names = sorted({*self.means, *other.means})
        nobody = Mean()
        means = {n: self.means.get(n, nobody).merge(other.means.get(n, nobody)) for n in names}
        return Totals(MappingProxyType(means), self.exposure + other.exposure)

    def values(self, top_k: int) -> dict[str, float]:
        """All metrics of the group, `coverage@k` and `gini@k` of exposure among them."""
        means = {name: mean.value for name, mean in self.means.items()}
        means[f"coverage@{top_k}"] = coverage(self.exposure)
        means[f"gini@{top_k}"] = gini(self.exposure)
        return means


@dataclass(frozen=True)
class RatingTotals:
    """Errors of ratings; `merge` is as in `Totals`."""

    squared: Mean = Mean()
    absolute: Mean = Mean()

    def merge(self, other: RatingTotals) -> RatingTotals:
        """Both groups together."""
        return RatingTotals(self.squared.merge(other.squared), self.absolute.merge(other.absolute))

    @property
    def rmse(self) -> float:
        """√ of the mean squared error over ratings."""
        return float(np.sqrt(self.squared.value))

    @property
    def mae(self) -> float:
        """Mean absolute error over ratings."""
        return self.absolute.value


def coverage(exposure: Ints) -> float:
    """Coverage@k: distinct items recommended / items in the catalogue."""
    return float(np.count_nonzero(exposure) / len(exposure))


def gini(exposure: Ints) -> float:
    """Gini coefficient of exposure over the whole catalogue, items never listed included.

    Σ_i (2i - n - 1) x_i / (n Σ x) with x ascending, i from 1: 0 if every item is listed
    equally often, (n - 1)/n if only one is ever listed; NaN if none is.
    """
    ascending = np.sort(exposure).astype(np.float64)
    n, total = len(ascending), ascending.sum()
    if total == 0:
        return float("nan")
    return float((2.0 * np.arange(1, n + 1) - n - 1) @ ascending / (n * total))

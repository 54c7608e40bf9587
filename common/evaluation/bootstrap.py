"""Bootstrap intervals of means over users (Efron 1979, percentile method)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats

__all__ = ["Interval", "mean_interval"]

_FEW_VALUES: Final = 64
_BLOCK_VALUES: Final = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean over users and how far it might be off.

    Attributes:
        mean: of the users given; NaN of nobody.
        low: lower end, of users drawn again from the same population.
        high: upper end.
        users: users with a value.
    """

    mean: float
    low: float
    high: float
    users: int


def mean_interval(
    values: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Interval of a mean by the percentile bootstrap over users.

    Users are drawn again with replacement `draws` times. It covers the choice of users
    and nothing else: not seeds, not noise. For two methods on the same users take the
    interval of the differences.

    Args:
        values: `[users]`; NaN is left out.
        rng: draws users; same generator state, same interval.
        draws: bootstrap samples.
        level: coverage.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return Interval(math.nan, math.nan, math.nan, 0)
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) <= _FEW_VALUES:
        means = _by_counts(distinct, counts / len(present), len(present), draws, rng)
    else:
        means = _by_users(present, draws, rng)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(present.mean()), float(low), float(high), len(present))


def _by_counts(
    distinct: Floats, shares: Floats, n: int, draws: int, rng: np.random.Generator
) -> Floats:
    """Draw how often each value comes up: the same law as drawing users, in any number."""
    means: Floats = rng.multinomial(n, shares, size=draws) @ distinct / n
    return means


def _by_users(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Draw users, in blocks of bounded memory."""
    block = max(1, _BLOCK_VALUES // len(values))
    means = np.empty(draws)
    for start in range(0, draws, block):
        size = (min(block, draws - start), len(values))
        means[start : start + block] = values[rng.integers(0, len(values), size=size)].mean(axis=1)
    return means

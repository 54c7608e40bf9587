"""What a choice of rows costs: one Gaussian mechanism of two halves, counts and values.

Each user has a part in the counts of the rows that they touch, of norm at most C1, and values
on those rows, of norm at most C2, clipped before anything is chosen. Counts with noise σ1·C1
say which rows are kept; of the values with noise σ2·C2 only kept rows leave. What leaves is a
function of both noised vectors, and they are one Gaussian mechanism with

    1/σ² = 1/σ1² + 1/σ2²

of which sampling, composition and accounting know all there is (docs/privacy/selection.md).
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from common.config import Settings
from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import RowSelection, Sampler
from common.privacy.samplers import make_sampler

__all__ = ["SelectedSumEvent", "halves"]

_HAIR = 1 + 2.0**-50
"""More than four roundings of a float take away."""


class SelectedSumEvent(Settings):
    """Noisy sums of which only rows leave that a noised count has chosen.

    Guarantee:
        For one user added or removed each sum is one Poisson-sampled Gaussian sum with σ over
        sensitivity of `noise_multiplier`, up to `total_variation`, whatever is chosen: both
        are of the worst case, in which every row is kept.
    """

    kind: Literal["selected-gaussian-sum"] = "selected-gaussian-sum"
    sampler: Sampler
    """Which law the noise has, of counts and of values."""
    sigma_grid: int = Field(gt=0)
    """Standard deviation of the noise of values in units of their grid."""
    clip_grid: int = Field(gt=0, le=LARGEST_CLIP_GRID)
    """Largest norm of one user's values in units of their grid."""
    count_sigma_grid: int = Field(gt=0)
    """Standard deviation of the noise of counts in units of their grid."""
    count_clip_grid: int = Field(gt=0, le=LARGEST_CLIP_GRID)
    """Largest norm of one user's counts in units of their grid."""
    rows: int = Field(gt=0)
    """Rows of each sum."""
    width: int = Field(gt=0)
    """Columns of each sum."""
    dense_rows: int = Field(ge=0)
    """Rows at the end that are kept without a count."""
    sampling_rate: float = Field(gt=0, le=1)
    """Probability with which a user takes part in each sum, in counts and values (Poisson)."""
    steps: int = Field(gt=0)
    """Number of sums."""

    @model_validator(mode="after")
    def _some_rows_to_choose(self) -> Self:
        if self.dense_rows >= self.rows:
            raise ValueError("all rows are dense: there is nothing to choose among")
        return self

    @property
    def noise_multiplier(self) -> float:
        """σ over sensitivity of both halves together, rounded down."""
        counts = (self.count_sigma_grid, self.count_clip_grid)
        return _together(*counts, self.sigma_grid, self.clip_grid)

    @property
    def count_draws(self) -> int:
        """Noise values of the counts of all sums."""
        return (self.rows - self.dense_rows) * self.steps

    @property
    def draws(self) -> int:
        """Noise values in all sums together, if all rows are kept."""
        return self.count_draws + self.value_draws

    @property
    def value_draws(self) -> int:
        """Noise values on the values of all sums, if all rows are kept."""
        return self.rows * self.width * self.steps

    @property
    def total_variation(self) -> float:
        """Bound on the distance of all noise to rounded Gaussians: that of both added up."""
        counts = make_sampler(self.sampler, self.count_sigma_grid)
        values = make_sampler(self.sampler, self.sigma_grid)
        return min(
            1.0,
            counts.total_variation(self.count_draws) + values.total_variation(self.value_draws),
        )


def halves(selection: RowSelection, noise_multiplier: float) -> tuple[float, float]:
    """Noise multipliers of counts and of values that are `noise_multiplier` together.

    With a the share of the counts: σ1 = σ/√a and σ2 = σ/√(1 - a), each rounded up, so that
    together they are never below it.
    """
    return (
        noise_multiplier / math.sqrt(selection.share) * _HAIR,
        noise_multiplier / math.sqrt(1.0 - selection.share) * _HAIR,
    )


@functools.lru_cache(maxsize=1 << 10)
def _together(count_sigma: int, count_clip: int, sigma: int, clip: int) -> float:
    """The largest float not above (1/σ1² + 1/σ2²)^-½, from integers alone."""
    precision = Fraction(count_clip, count_sigma) ** 2 + Fraction(clip, sigma) ** 2
    found = math.sqrt(1 / precision)
    while Fraction(found) ** 2 * precision > 1:
        found = math.nextafter(found, 0.0)
    return found

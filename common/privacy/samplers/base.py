"""What every sampler answers, and how fine its grid is."""

from __future__ import annotations

import math
from typing import Protocol

from common.arrays import Ints
from common.privacy.plan import Sampler
from common.privacy.stream import NoiseSource

__all__ = ["LARGEST_SIGMA_GRID", "NoiseSampler", "grid_sigma", "make_sampler"]

LARGEST_SIGMA_GRID = 2**27
_LARGEST = {"exact": LARGEST_SIGMA_GRID, "fast": 2**17}
_BASE = {"exact": 2**26, "fast": 2**12}
_FINEST_CLIP = 2**10


class NoiseSampler(Protocol):
    """Independent noise of standard deviation `sigma_grid` on the integers."""

    @property
    def sigma_grid(self) -> int:
        """Standard deviation in units of the grid."""
        ...

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> Ints:
        """Independent draws of the given shape."""
        ...

    def total_variation(self, draws: int) -> float:
        """Upper bound on the distance of `draws` joint draws to rounded Gaussians.

        The Gaussian is round(N(0, sigma_grid²)): what a Gaussian mechanism on integer
        vectors gives after rounding. docs/privacy/samplers.md derives the bound.
        """
        ...


def grid_sigma(sampler: Sampler, noise_multiplier: float) -> int:
    """Standard deviation of the noise in grid units, a power of two.

    The base (2^26 exact, 2^12 fast) is raised until the clip norm, σ / multiplier, has at
    least 2^10 units, so that truncation to the grid stays small beside a contribution.

    Raises:
        ValueError: the multiplier is not positive and finite, or needs more than 2^27 (2^17
            for `fast`, whose error is verified up to there).
    """
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise ValueError(f"noise multiplier {noise_multiplier!r} is not positive and finite")
    sigma = _BASE[sampler]
    while sigma < _FINEST_CLIP * noise_multiplier:
        sigma *= 2
    if sigma > _LARGEST[sampler]:
        raise ValueError(f"noise multiplier {noise_multiplier!r} needs too fine a grid")
    return sigma


def make_sampler(sampler: Sampler, sigma_grid: int) -> NoiseSampler:
    """The sampler of that name at that grid."""
    from common.privacy.samplers.exact import ExactSampler
    from common.privacy.samplers.fast import FastSampler

    return ExactSampler(sigma_grid) if sampler == "exact" else FastSampler(sigma_grid)

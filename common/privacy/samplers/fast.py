"""A float64 Gaussian from the cryptographic stream, rounded to the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.arrays import Ints
from common.privacy.samplers.parallel import draw_in_chunks
from common.privacy.stream import NoiseSource

__all__ = ["FastSampler"]

# error of a cell's mass, root mean square, per unit of σ: at most 0.32 for the tables in
# numpy (docs/privacy/samplers.md; a test reads them back and counts atoms), stated as 0.5
_ERROR_PER_UNIT = 0.5 * 2.0**-52
_BLOCK = 1 << 15


@dataclass(frozen=True)
class FastSampler:
    """floor(σ · N(0, 1) + 1/2) with σ = `sigma_grid`, a power of two, N by numpy's ziggurat."""

    sigma_grid: int = 2**12

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> Ints:
        """Independent draws of the given shape."""
        return draw_in_chunks(shape, noise, self._fill)

    def total_variation(self, draws: int) -> float:
        """At most `2^-54 · σ · sqrt(draws)` (and a hair): docs/privacy/samplers.md."""
        chi2 = (_ERROR_PER_UNIT * self.sigma_grid) ** 2
        return min(1.0, 0.5 * math.sqrt(math.expm1(min(draws * math.log1p(chi2), 100.0))))

    def _fill(self, out: Ints, noise: NoiseSource) -> None:
        buffer = np.empty(min(_BLOCK, len(out)), dtype=np.float64)
        for start in range(0, len(out), _BLOCK):
            part = buffer[: min(_BLOCK, len(out) - start)]
            noise.fill_normals(part)
            part *= self.sigma_grid
            # half up, not half to even: ties are common, and even cells would get them all
            part += 0.5
            np.floor(part, out=part)
            out[start : start + len(part)] = part

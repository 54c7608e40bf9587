"""How fine the grid of a secure sum is: what its words hold, and what a share of noise takes.

A word is an integer modulo 2^k. The sum of what users contribute and all noise have to stay
within half of that on either side, or the total wraps around: it is then wrong, and as private
as it was. So the room is for four times the declared users, all on one entry, and twelve
standard deviations of the noise of all clients. How seldom that fails is in
docs/privacy/shared-noise.md, and a test holds it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import NoiseShares
from common.privacy.samplers.base import LARGEST_SIGMA_GRID
from common.privacy.samplers.shares import SMALLEST_SHARE_VARIANCE

__all__ = ["shorter", "size"]

_SPARE_POPULATION: Final = 4
"""Words have room for so many times the declared users."""
_DEVIATIONS: Final = 12
"""Words have room for so many standard deviations of the noise."""
_SMALLEST_CLIP: Final = 2**10
_DIGITS: Final = 24
"""Binary digits of a planned noise multiplier."""
_HAIR: Final = 2.0**-40


def size(shares: NoiseShares, noise_multiplier: float) -> tuple[int, int]:
    """Variance of one share and largest norm of a contribution, in units of the grid.

    `shares.honest` shares together have a σ of at least `noise_multiplier` times that norm.
    Products, quotients and roots alone, which every machine rounds alike: all clients of a
    sum arrive at the same grid.

    Raises:
        ValueError: the words have no room for a grid that is fine enough.
    """
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise ValueError(f"noise multiplier {noise_multiplier!r} is not positive and finite")
    clip = _clip_grid(shares, noise_multiplier)
    if clip < _SMALLEST_CLIP:
        raise ValueError(
            f"words of {shares.word_bits} bits leave a grid of {clip} units to a clip norm, "
            f"under {_SMALLEST_CLIP}"
        )
    variance = math.ceil((Fraction(noise_multiplier) * clip) ** 2 / shares.honest)
    if variance < SMALLEST_SHARE_VARIANCE:
        raise ValueError(
            f"a share of noise with a variance of {variance} units is under "
            f"{SMALLEST_SHARE_VARIANCE}"
        )
    return variance, clip


def shorter(noise_multiplier: float) -> float:
    """At least `noise_multiplier`, and at most 2^-23 of it more, in 24 binary digits.

    What machines compute with exponentials differs in its last digits; a plan says the same
    on all of them.
    """
    mantissa, exponent = math.frexp(noise_multiplier)
    return math.ldexp(math.ceil(math.ldexp(mantissa, _DIGITS)), exponent - _DIGITS)


def _clip_grid(shares: NoiseShares, noise_multiplier: float) -> int:
    """As fine as words, sampler and clipping let it be."""
    noise = _DEVIATIONS * noise_multiplier * math.sqrt(shares.clients / shares.honest)
    try:
        words = _half(shares) / (_SPARE_POPULATION * shares.population + noise)
    except OverflowError:
        return 0
    sampler = LARGEST_SIGMA_GRID * math.sqrt(shares.honest) / noise_multiplier
    return math.floor(min(float(LARGEST_CLIP_GRID), words, sampler) * (1 - _HAIR))


def _half(shares: NoiseShares) -> int:
    """The largest integer that a word holds."""
    return (1 << (shares.word_bits - 1)) - 1

"""How seldom a total wraps around: the bound that the sizes of grid and words are chosen for."""

import math
from fractions import Fraction

from common.privacy.plan import NoiseShares

SPARE_POPULATION = 4
"""Words have room for so many times the declared users."""


def chance_of_wrapping(
    shares: NoiseShares, share_variance: int, clip_grid: int, draws: int
) -> float:
    """Upper bound on the probability that any of `draws` entries of a total wraps around.

    2·draws·exp(-T²/2), where T standard deviations of the noise of all clients have room
    beside four times the declared users: a discrete Gaussian is sub-Gaussian with its own σ,
    and so is a sum of them (docs/privacy/shared-noise.md).
    """
    room = (1 << (shares.word_bits - 1)) - 1 - SPARE_POPULATION * shares.population * clip_grid
    if room <= 0:
        return 1.0
    exponent = min(float(Fraction(room**2, 2 * shares.clients * share_variance)), 700.0)
    return min(1.0, 2.0 * draws * math.exp(-exponent))

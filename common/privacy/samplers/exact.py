"""The exact discrete Gaussian: P(k) proportional to exp(-k²/2σ²), to the last bit.

Canonne, Kamath, Steinke 2020 draw it by rejection from a discrete Laplace; here the
envelope is a staircase, which is accepted 97% of the time and vectorises. Both are
rejection, so both are exact if each coin is: the stairs are integers that sum to a power
of two, and the acceptance coin is compared with certified bounds; what the bounds leave
open is settled in big integers (`bits.LazyUniform`). `oracle.py` is the paper's algorithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.samplers.bits import LazyUniform, exp_bounds
from common.privacy.samplers.parallel import draw_in_chunks
from common.privacy.stream import NoiseSource

__all__ = [
    "LARGEST_SIGMA",
    "ExactSampler",
    "Staircase",
    "discrete_gaussian",
    "rounded_gaussian_distance",
]

LARGEST_SIGMA = 2**40
"""Of a draw: beyond `LARGEST_SIGMA_GRID`, for several sums' noise in one (`deferred`)."""

# one 64-bit word: column of the alias table, fraction within it, sign, offset in the stair
_COLUMN_BITS, _FRACTION_BITS, _OFFSET_BITS = 9, 31, 23
_TOTAL_BITS = _COLUMN_BITS + _FRACTION_BITS
_WORK_BITS = 96
_BLOCK = 1 << 15
# numpy's exp and the few products around it are right to about 2^-51; a test holds 2^-46
_MARGIN = 2.0**-40


@dataclass(frozen=True)
class Staircase:
    """An envelope of exp(-k²/2σ²) on k >= 0, in integers, and its alias table.

    Stair `j` covers `[j*width, (j+1)*width)` with weight `weights[j] / 2^40`; after the
    last one comes a tail of blocks of `tail_width`, each half as likely as the one before.
    A candidate k in stair j is accepted with `scale / weights[j] * exp(-k²/2σ²)`.
    """

    variance: Fraction
    width_bits: int
    tail_width_bits: int
    scale: int
    weights: tuple[int, ...]
    cut: Ints
    alias: Ints
    squeeze: NDArray[np.uint32]
    ratio: Floats

    @property
    def stairs(self) -> int:
        """Number of stairs; this is also the symbol of the tail."""
        return len(self.weights) - 1


@lru_cache(maxsize=32)
def staircase(variance: Fraction, reach: int = 8) -> Staircase:
    """The envelope for σ² = `variance`, with stairs up to `reach` σ.

    Raises:
        ValueError: σ is below 1 or above 2^40.
    """
    if not 1 <= variance <= LARGEST_SIGMA**2:
        raise ValueError(f"σ² = {variance} is not between 1 and {LARGEST_SIGMA**2}")
    sigma = math.isqrt(math.floor(variance))
    width_bits = max(0, sigma.bit_length() - 5)
    stairs = -(-reach * (sigma + 1) >> width_bits)
    tail_bits = sigma.bit_length()
    high = [
        exp_bounds(Fraction((j << width_bits) ** 2) / (2 * variance), _WORK_BITS)[1]
        for j in range(stairs + 1)
    ]
    high[stairs] <<= 1 + tail_bits - width_bits
    scale = (((1 << _TOTAL_BITS) - stairs - 1) << _WORK_BITS) // sum(high)
    weights = [-((-scale * bound) >> _WORK_BITS) for bound in high]
    weights[0] += (1 << _TOTAL_BITS) - sum(weights)
    cut, alias = _alias_table(weights)
    squeeze = _squeeze(variance, width_bits, scale, weights)
    ratio = np.array([scale / weight for weight in weights[:-1]] + [0.0])
    return Staircase(
        variance, width_bits, tail_bits, scale, tuple(weights), cut, alias, squeeze, ratio
    )


def _alias_table(weights: list[int]) -> tuple[Ints, Ints]:
    """Walker's alias table in integers, so that no probability is rounded (Vose 1991)."""
    columns, capacity = 1 << _COLUMN_BITS, 1 << _FRACTION_BITS
    left = weights + [0] * (columns - len(weights))
    cut, alias = np.zeros(columns, np.int64), np.arange(columns, dtype=np.int64)
    small = [i for i, w in enumerate(left) if w < capacity]
    large = [i for i, w in enumerate(left) if w >= capacity]
    while small:
        i, donor = small.pop(), large[-1]
        cut[i], alias[i] = left[i], donor
        left[donor] -= capacity - left[i]
        if left[donor] < capacity:
            small.append(large.pop())
    for i in large:
        cut[i] = capacity
    return cut, alias


def _squeeze(
    variance: Fraction, width_bits: int, scale: int, weights: list[int]
) -> NDArray[np.uint32]:
    """Below these 32-bit values every candidate of a stair is accepted; 0 for the tail."""
    out = np.zeros(len(weights), dtype=np.uint32)
    for j, weight in enumerate(weights[:-1]):
        last = ((j + 1) << width_bits) - 1
        low, _ = exp_bounds(Fraction(last**2) / (2 * variance), _WORK_BITS)
        out[j] = min(((scale * low) << 32) // (weight << _WORK_BITS), 2**32 - 1)
    return out


def discrete_gaussian(shape: tuple[int, ...], variance: Fraction, noise: NoiseSource) -> Ints:
    """Independent exact draws with parameter σ² = `variance`, a rational of at least 1."""
    return _draw(shape, staircase(variance), noise)


def rounded_gaussian_distance(variance: int, draws: int) -> float:
    """Upper bound on the total variation of discrete to rounded Gaussians of `variance`.

    At most `sqrt(draws / 1152) / variance` (and a hair): docs/privacy/samplers.md.

    Args:
        variance: σ² in grid units², at least 1.
        draws: independent draws of both.

    Raises:
        OverflowError: more draws than a float can count.
    """
    square = float(variance)
    if square > variance:
        square = math.nextafter(square, 0.0)
    theta = 2.1 * math.exp(-2 * math.pi**2 * square)
    chi2 = math.cosh(0.25 / square) / (288 * square**2) * (1 + theta) ** 2 + 3 * theta
    return min(1.0, 0.5 * math.sqrt(math.expm1(min(draws * math.log1p(chi2), 100.0))))


def _draw(shape: tuple[int, ...], table: Staircase, noise: NoiseSource) -> Ints:
    return draw_in_chunks(shape, noise, lambda out, stream: _fill(out, table, stream))


def _fill(out: Ints, table: Staircase, noise: NoiseSource) -> None:
    filled = 0
    while filled < len(out):
        wanted = len(out) - filled
        accepted = _candidates(min(_BLOCK, wanted + wanted // 16 + 16), table, noise)[:wanted]
        out[filled : filled + len(accepted)] = accepted
        filled += len(accepted)


def _candidates(count: int, table: Staircase, noise: NoiseSource) -> Ints:
    """The accepted ones among `count` candidates, in order."""
    words = noise.words(count).view(np.int64)
    coins = noise.half_words(count)
    column = (words >> (64 - _COLUMN_BITS)) & ((1 << _COLUMN_BITS) - 1)
    fraction = (words >> (1 + _OFFSET_BITS)) & ((1 << _FRACTION_BITS) - 1)
    stair = np.where(fraction < table.cut.take(column), column, table.alias.take(column))
    size = (stair << table.width_bits) | _offsets(words, table.width_bits, noise)
    negative = (words >> _OFFSET_BITS) & 1
    accept = coins < table.squeeze.take(stair)
    doubtful = np.flatnonzero(~accept)
    accept[doubtful] = _decide(doubtful, stair, size, coins, table, noise)
    accept &= (size | (negative ^ 1)) != 0  # zero has no sign: keep it once
    signed = (size ^ -negative) + negative
    return signed[accept]


def _offsets(words: Ints, width_bits: int, noise: NoiseSource) -> Ints:
    """Uniform places in stairs of 2^`width_bits`; wide stairs take 32 bits more."""
    if width_bits <= _OFFSET_BITS:
        return words & ((1 << width_bits) - 1)
    more = width_bits - _OFFSET_BITS
    low = noise.half_words(len(words)).astype(np.int64) & ((1 << more) - 1)
    return ((words & ((1 << _OFFSET_BITS) - 1)) << more) | low


def _decide(
    at: Ints,
    stair: Ints,
    size: Ints,
    coins: NDArray[np.uint32],
    table: Staircase,
    noise: NoiseSource,
) -> NDArray[np.bool_]:
    """Accept or not, where the squeeze does not say; may replace the size of tail draws."""
    chance = table.ratio[stair[at]] * np.exp(
        -np.square(size[at].astype(np.float64)) / float(2 * table.variance)
    )
    coin = coins[at] * 2.0**-32
    accept: NDArray[np.bool_] = coin + 2.0**-32 <= chance - _MARGIN
    unclear = ~accept & (coin < chance + _MARGIN) | (stair[at] == table.stairs)
    for i in np.flatnonzero(unclear):
        if stair[at[i]] == table.stairs:
            accept[i], size[at[i]] = _tail(table, noise)
        else:
            accept[i] = _settle(
                int(stair[at[i]]), int(size[at[i]]), int(coins[at[i]]), table, noise
            )
    return accept


def _settle(stair: int, size: int, coin: int, table: Staircase, noise: NoiseSource) -> bool:
    """The coin again, with as many bits as it takes."""
    scale = Fraction(table.scale, table.weights[stair])
    gamma = Fraction(size * size) / (2 * table.variance)
    return LazyUniform(noise, coin, 32).below_exp(scale, gamma)


def _tail(table: Staircase, noise: NoiseSource) -> tuple[bool, int]:
    """A candidate beyond the stairs: a block by fair coins, a place in it, the exact coin."""
    block = 0
    while noise.bits(1):
        block += 1
    start = (table.stairs << table.width_bits) + (block << table.tail_width_bits)
    size = start + noise.bits(table.tail_width_bits)
    widen = 1 << (block + 1 + table.tail_width_bits - table.width_bits)
    scale = Fraction(table.scale * widen, table.weights[-1])
    gamma = Fraction(size * size) / (2 * table.variance)
    return LazyUniform(noise).below_exp(scale, gamma), size


@dataclass(frozen=True)
class ExactSampler:
    """Discrete Gaussian noise with σ = `sigma_grid`."""

    sigma_grid: int = 2**26

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> Ints:
        """Independent draws of the given shape."""
        return discrete_gaussian(shape, Fraction(self.sigma_grid**2), noise)

    def total_variation(self, draws: int) -> float:
        """At most `sqrt(draws / 1152) / σ²` (and a hair): docs/privacy/samplers.md."""
        return rounded_gaussian_distance(self.sigma_grid**2, draws)

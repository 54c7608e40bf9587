"""Do words look like nothing at all? Tests of uniformity, and their limits.

Masked words are uniform whatever they hide. A test that rejects shows that they are not; one
that does not reject proves nothing: words under a key that somebody knows look the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import chdtrc, ndtr

from common.arrays import Floats, Words
from common.config import Settings

__all__ = ["Looks", "Pair", "closest_pair", "looks_of", "sample_of"]

_LEAST_EXPECTED: Final = 8.0
"""Fewest symbols expected of each value, so that χ² has its law."""
_MOST_SAMPLED: Final = 1 << 16
"""Words of each client that are compared with the others'."""


class Looks(Settings):
    """How an array of words modulo 2^k looks."""

    words: int
    """How many."""
    p: float
    """χ² over the values of their bytes (of half bytes or bits, where there are few): the chance
    that uniform words look less uniform. Few words show gross things only."""
    mean: float
    """Mean over 2^k; ½ if uniform."""
    largest: float
    """Largest word over 2^k; nearly 1 if uniform."""


class Pair(Settings):
    """The two clients whose words go together most."""

    clients: tuple[str, str]
    """Who."""
    correlation: float
    """Pearson's r over the same entries."""
    p: float
    """The chance that the largest |r| among as many pairs of independent words is larger."""
    pairs: int
    """How many pairs there are."""
    words: int
    """How many words of each were compared: the first ones."""


def looks_of(words: Words) -> Looks:
    """How words look.

    Args:
        words: any shape, unsigned; at least one.
    """
    modulus = 2.0 ** (8 * words.dtype.itemsize)
    return Looks(
        words=words.size,
        p=_chi_square(words),
        mean=float(np.mean(words, dtype=np.float64)) / modulus,
        largest=float(words.max()) / modulus,
    )


def sample_of(words: Words, clients: int) -> Floats:
    """What of a client's words is compared: the first, centred and of norm 1; `[sampled]`.

    Args:
        words: any shape.
        clients: how many there are: more of them are compared by fewer words.
    """
    most = min(_MOST_SAMPLED, max(256, (1 << 25) // clients))
    first = words.reshape(-1)[:most].astype(np.float64)
    first -= first.mean()
    norm = float(np.linalg.norm(first))
    return first / norm if norm > 0 else first


def closest_pair(samples: Sequence[tuple[str, Floats]]) -> Pair | None:
    """The pair with the largest |r|; None for fewer than two clients or three words.

    p is by the normal approximation of r under independence, times the number of pairs
    (Bonferroni).

    Args:
        samples: by client, from `sample_of`.
    """
    if len(samples) < 2 or samples[0][1].size < 3:
        return None
    stacked = np.stack([sample for _, sample in samples])
    related = np.triu(stacked @ stacked.T, 1)
    row, column = divmod(int(np.argmax(np.abs(related))), len(samples))
    pairs, size = math.comb(len(samples), 2), stacked.shape[1]
    r = float(related[row, column])
    one = 2 * float(ndtr(-abs(r) * math.sqrt(size)))
    return Pair(
        clients=(samples[row][0], samples[column][0]),
        correlation=r,
        p=min(1.0, pairs * one),
        pairs=pairs,
        words=size,
    )


def _chi_square(words: Words) -> float:
    """The p of χ² over bytes, or half bytes or bits where too few bytes are expected."""
    symbols = np.frombuffer(words.tobytes(), dtype=np.uint8)
    values = 256
    if symbols.size < 256 * _LEAST_EXPECTED:
        symbols, values = np.concatenate([symbols >> 4, symbols & 15]), 16
    if symbols.size < 16 * _LEAST_EXPECTED:
        symbols, values = np.unpackbits(np.frombuffer(words.tobytes(), dtype=np.uint8)), 2
    counts = np.bincount(symbols, minlength=values)
    expected = symbols.size / values
    statistic = float(np.sum((counts - expected) ** 2) / expected)
    return float(chdtrc(values - 1, statistic))

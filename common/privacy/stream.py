"""Where randomness for privacy comes from: ChaCha20, keyed by the operating system.

numpy's and torch's own generators are never used for noise or sampling: their state can
be recovered from their output, and a seed would let anybody subtract the noise.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from randomgen import ChaCha

from common.arrays import Floats, Ints

__all__ = ["KEY_BYTES", "NoiseSource", "generator_from_key"]

KEY_BYTES = 32


def generator_from_key(key: bytes) -> np.random.Generator:
    """Numpy's distributions over the ChaCha20 key stream of `key`, nonce and counter 0.

    `key=` (not `seed=`) sets all 256 bits as they are; a test compares the stream with
    another implementation of ChaCha20.

    Raises:
        ValueError: `key` is not 32 bytes.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a ChaCha20 key has {KEY_BYTES} bytes, got {len(key)}")
    return np.random.Generator(ChaCha(key=int.from_bytes(key, "little"), rounds=20))


class NoiseSource:
    """A stream of cryptographic randomness for one mechanism.

    Make one with `system()`; `seeded()` is for simulation and marks everything made from
    it as not private (`reproducible`).

    Guarantee:
        From `system()`: 256 bits from the operating system, a key of its own for each
        object and each `spawn()`, never repeated after a fork, never copied or pickled.
        From `seeded()`: none; whoever knows the seed can subtract the noise.
    """

    def __init__(self, key: bytes, *, reproducible: bool) -> None:
        self._key = key
        self._reproducible = reproducible
        self._children = 0
        self._pid = os.getpid()
        self._generator = generator_from_key(key)

    @classmethod
    def system(cls) -> Self:
        """A source with a fresh key from the operating system."""
        return cls(secrets.token_bytes(KEY_BYTES), reproducible=False)

    @classmethod
    def seeded(cls, seed: int) -> Self:
        """A source that `seed` decides, for simulation; `reproducible` is True."""
        key = hashlib.sha256(f"hushrec seeded noise {seed}".encode()).digest()
        return cls(key, reproducible=True)

    @property
    def reproducible(self) -> bool:
        """Whether somebody can draw the same noise again; then nothing here is private."""
        return self._reproducible

    @property
    def is_private(self) -> bool:
        """The opposite of `reproducible`."""
        return not self._reproducible

    def spawn(self) -> NoiseSource:
        """A source with another key: fresh, or for a seeded source derived and numbered."""
        if not self._reproducible:
            return NoiseSource.system()
        self._children += 1
        label = f"hushrec child {self._children}".encode()
        key = hashlib.sha256(self._key + label).digest()
        return NoiseSource(key, reproducible=True)

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform 64-bit words."""
        raw: NDArray[np.uint64] = self._live().bit_generator.random_raw(count)
        return raw

    def half_words(self, count: int) -> NDArray[np.uint32]:
        """`count` uniform 32-bit words."""
        return self.words((count + 1) // 2).view(np.uint32)[:count]

    def bits(self, count: int) -> int:
        """A uniform integer of `count` bits."""
        words = self.words((count + 63) // 64)
        return int.from_bytes(words.tobytes(), "little") & ((1 << count) - 1)

    def below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)`, exact by rejection."""
        width = max(1, (bound - 1).bit_length())
        while (value := self.bits(width)) >= bound:
            pass
        return value

    def fill_normals(self, out: Floats) -> None:
        """Overwrite `out` with float64 standard normals (numpy's ziggurat)."""
        self._live().standard_normal(out=out)

    def poisson_sample(self, n_users: int, rate: float) -> Ints:
        """Positions of the users who take part, each with probability `rate`, increasing.

        The probability is `floor(rate * 2^64) / 2^64`: never above `rate`.
        """
        if rate >= 1.0:
            return np.arange(n_users, dtype=np.int64)
        threshold = np.uint64(int(rate * 2.0**64))
        return np.flatnonzero(self.words(n_users) < threshold).astype(np.int64)

    def _live(self) -> np.random.Generator:
        """The generator; after a fork a private source takes a new key."""
        if not self._reproducible and os.getpid() != self._pid:
            self._pid = os.getpid()
            self._key = secrets.token_bytes(KEY_BYTES)
            self._generator = generator_from_key(self._key)
        return self._generator

    def __reduce__(self) -> NoReturn:
        raise TypeError("a noise source is never copied or pickled: its noise would repeat")

    def __repr__(self) -> str:
        return f"NoiseSource(reproducible={self._reproducible})"

"""Masks: streams of words that only who has the key can tell from noise.

The stream of a key is AES-256 in counter mode from counter 0, read as little-endian words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from common.arrays import Words

__all__ = ["Words", "shift", "word_bits"]

_CHUNK_BYTES: Final = 1 << 18
"""Words, stream and zeros of one chunk stay in a core's cache."""
_ZEROS: Final = memoryview(bytes(_CHUNK_BYTES))
_MOST_STREAMS: Final = 256
"""Streams that are open at once."""
_BLOCK_BYTES: Final = 16


def shift(words: Words, adds: Iterable[bytes] = (), subtracts: Iterable[bytes] = ()) -> None:
    """Add the streams of some keys to `words` and subtract those of others, in place.

    Modulo 2^k, k the words' own bits. A second array of the full size is never made.

    Args:
        words: any shape, contiguous.
        adds: keys of 32 bytes, each used for one mask in its life.
        subtracts: the same.

    Guarantee:
        Words to which the stream of one unknown, unused key was added cannot be told from
        uniform words by who cannot break AES.

    Raises:
        ValueError: the words are neither uint32 nor uint64, or not contiguous.
    """
    word_bits(words)
    if not words.flags.c_contiguous:
        raise ValueError("words must be contiguous to be masked in place")
    flat = words.reshape(-1)
    keys = chain(zip(adds, repeat(np.add)), zip(subtracts, repeat(np.subtract)))
    while batch := [(_stream(key), change) for key, change in islice(keys, _MOST_STREAMS)]:
        _shift_batch(flat, batch)


def word_bits(words: Words) -> int:
    """32 or 64.

    Raises:
        ValueError: the words have another type.
    """
    if words.dtype not in (np.uint32, np.uint64):
        raise ValueError(f"words are uint32 or uint64, got {words.dtype}")
    return 8 * words.dtype.itemsize


def _shift_batch(flat: NDArray[Any], streams: Sequence[tuple[CipherContext, np.ufunc]]) -> None:
    """Chunk by chunk over all streams, so that words are read from memory once."""
    pad = bytearray(_CHUNK_BYTES + _BLOCK_BYTES)
    kind = flat.dtype.newbyteorder("<")
    stream_words = np.frombuffer(pad, kind, count=_CHUNK_BYTES // kind.itemsize)
    for start in range(0, flat.size, stream_words.size):
        part = flat[start : start + stream_words.size]
        zeros, mask = _ZEROS[: part.nbytes], stream_words[: part.size]
        for stream, change in streams:
            stream.update_into(zeros, pad)
            change(part, mask, out=part)


def _stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(_BLOCK_BYTES))).encryptor()

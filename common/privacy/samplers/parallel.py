"""Large draws in chunks: one stream per chunk, so the result does not depend on threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from common.arrays import Ints
from common.privacy.stream import NoiseSource

__all__ = ["cores", "draw_in_chunks"]

_CHUNK = 1 << 18
_MOST_THREADS = 8


def draw_in_chunks(
    shape: tuple[int, ...], noise: NoiseSource, fill: Callable[[Ints, NoiseSource], None]
) -> Ints:
    """Draw an array of `shape` with `fill(out, noise)`.

    Small arrays come from `noise` itself. Large ones are cut into chunks of 2^18, each
    with a stream spawned from `noise` in order, filled on the cores that there are:
    numpy's generators and loops release the interpreter's lock.
    """
    count = math.prod(shape)
    out = np.empty(count, dtype=np.int64)
    if count <= _CHUNK:
        fill(out, noise)
        return out.reshape(shape)
    chunks = [out[start : start + _CHUNK] for start in range(0, count, _CHUNK)]
    streams = [noise.spawn() for _ in chunks]
    with ThreadPoolExecutor(min(_MOST_THREADS, cores(), len(chunks))) as pool:
        list(pool.map(fill, chunks, streams))
    return out.reshape(shape)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

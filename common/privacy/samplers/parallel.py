"""Large arrays in chunks: one stream per chunk, so the result does not depend on threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from common.arrays import Ints
from common.privacy.stream import NoiseSource

__all__ = ["cores", "draw_in_chunks", "over_chunks", "over_parts"]

_CHUNK = 1 << 18
_MOST_THREADS = 8
_Part = TypeVar("_Part")


def draw_in_chunks(
    shape: tuple[int, ...], noise: NoiseSource, fill: Callable[[Ints, NoiseSource], None]
) -> Ints:
    """Draw an array of `shape` with `fill(out, noise)`, in chunks as in `over_chunks`."""
    out = np.empty(math.prod(shape), dtype=np.int64)
    over_chunks(out, noise, fill)
    return out.reshape(shape)


def over_chunks(array: Ints, noise: NoiseSource, work: Callable[[Ints, NoiseSource], None]) -> None:
    """Let `work(part, stream)` change a contiguous array, part by part.

    A small array is one part, as it is, and its stream is `noise` itself. A large one is cut
    into flat chunks of 2^18, each with a stream spawned from `noise` in order, on the cores
    that there are: numpy's generators and loops release the interpreter's lock.

    Raises:
        ValueError: a large array is not contiguous.
    """
    if array.size <= _CHUNK:
        work(array, noise)
        return
    if not array.flags.c_contiguous:
        raise ValueError("chunks of an array that is not contiguous would be copies")
    flat = array.reshape(-1)
    starts = range(0, flat.size, _CHUNK)
    over_parts([flat[start : start + _CHUNK] for start in starts], noise, work)


def over_parts(
    parts: Sequence[_Part], noise: NoiseSource, work: Callable[[_Part, NoiseSource], None]
) -> None:
    """Let `work(part, stream)` do every part, each with a stream spawned from `noise` in order."""
    streams = [noise.spawn() for _ in parts]
    with ThreadPoolExecutor(max(1, min(_MOST_THREADS, cores(), len(parts)))) as pool:
        list(pool.map(work, parts, streams))


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

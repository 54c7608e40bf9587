"""The noisy sum of gradient solvers: gathered rows by both paths, bare noise, deferred noise.

Run `python -m simulations.benchmarks.noisy_sum`: a table on standard error, one JSON object on
standard output. A batch has gradients on own rows, on shared negatives and on dense parameters.

fast        clip, truncate to the grid and add up in integers (`common.privacy.gathered_sum`)
slow        the same with rows written out, which is what the fast path is held to
noise       one draw for each entry of the total, in its memory: a sum over nobody
eager       steps of a release as whole sums, fast path and noise
deferred    the same steps with noise for the rows that are read, and the rest at the end

Ratios are of times measured in one run, and of processor time beside the clock on the wall: that
shows how far other work on the machine disturbed them. Each catalogue is measured in a process
of its own, which is asked for the most memory that it ever had.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from common.arrays import Ints
from common.privacy.deferred import DeferredSum
from common.privacy.events import GaussianSumEvent, event_of
from common.privacy.gathered import GatheredRows, dense_rows
from common.privacy.gathered_sum import add_gathered
from common.privacy.grid import quantise
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release, Sampler
from common.privacy.scatter import add_rows
from common.privacy.stream import NoiseSource
from simulations.benchmarks.apart import apart
from simulations.benchmarks.machine import machine

__all__ = ["Load", "main", "measure"]

_REPEATS = 3
_CLIP_NORM = 1.0
_NOISE_MULTIPLIER = 1.5


@dataclass(frozen=True)
class Load:
    """What a step has to sum.

    Attributes:
        users: users in a batch.
        own: rows of a user's own.
        shared: negatives, the same rows for everybody.
        width: columns.
        parameters: dense parameters.
        steps: noisy sums of a release.
        sampler: law of the noise.
    """

    users: int = 256
    own: int = 101
    shared: int = 500
    width: int = 64
    parameters: int = 70_000
    steps: int = 10
    sampler: Sampler = "exact"


def measure(load: Load, items: int, *, repeats: int = _REPEATS) -> dict[str, float]:
    """Seconds by the wall and of processor time, and peak memory in MB, for one catalogue."""
    before = _peak_mb()
    table = np.zeros((items, load.width), dtype=np.float32)
    table += 1.0  # what a client holds beside the sum
    batches = [_batch(load, items, step) for step in range(2)]
    release = _release(load, items)
    found: dict[str, float] = {}
    found |= _named("noise", _best(lambda: _sum_over(release, []), repeats))
    found |= _named("eager_step", _best(lambda: _sum_over(release, batches[:1]), repeats))
    found |= _named("deferred_release", _timed(lambda: _deferred(release, batches)))
    found["peak_mb"] = _peak_mb()
    found["peak_mb_before"] = before
    total, event = np.zeros((release.rows, release.width), dtype=np.int64), _event(release)
    found |= _named("fast", _best(lambda: _fast(total, batches[0], event), repeats))
    found |= _named("slow", _best(lambda: _slow(total, batches[0], event), max(1, repeats - 1)))
    found["rows_read"] = float(len(_rows_of(batches[0])))
    return found


def _batch(load: Load, items: int, seed: int) -> GatheredRows:
    rng = np.random.default_rng([seed, items])
    shared = np.sort(rng.choice(items, load.shared, replace=False))
    others = np.setdiff1d(np.arange(items), shared)
    own = np.stack([rng.choice(others, load.own, replace=False) for _ in range(load.users)])

    def values(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return rng.standard_normal(shape, dtype=np.float32)

    return GatheredRows(
        np.arange(load.users, dtype=np.int64),
        own,
        values(load.users, load.own, load.width),
        shared,
        values(load.users, load.shared, load.width),
        dense_rows(items, load.parameters, load.width),
        values(load.users, load.parameters),
    )


def _release(load: Load, items: int) -> Release:
    dense = dense_rows(items, load.parameters, load.width)
    return Release(
        step="benchmark.step",
        rows=dense.stop,
        width=load.width,
        share=1.0,
        clip_norm=_CLIP_NORM,
        steps=load.steps,
        sampler=load.sampler,
        noise_multiplier=_NOISE_MULTIPLIER,
    )


def _event(release: Release) -> GaussianSumEvent:
    event = event_of(release)
    if not isinstance(event, GaussianSumEvent):
        raise TypeError("the benchmark is about noise that one client adds")
    return event


def _sum_over(release: Release, batches: list[GatheredRows]) -> None:
    GaussianSum(release, NoiseSource.system()).sum(batches)


def _fast(total: Ints, batch: GatheredRows, event: GaussianSumEvent) -> None:
    add_gathered(total, batch, _CLIP_NORM, event.clip_grid)


def _slow(total: Ints, batch: GatheredRows, event: GaussianSumEvent) -> None:
    for block in batch.expand(1 << 17):
        add_rows(total, block.rows, quantise(block, _CLIP_NORM, event.clip_grid))


def _deferred(release: Release, batches: list[GatheredRows]) -> None:
    """All steps of a release: read what the batch reads, add the batch, settle at the end."""
    running = DeferredSum(release, NoiseSource.system())
    for step in range(release.steps):
        batch = batches[step % len(batches)]
        running.read(_rows_of(batch))
        running.add([batch])
    running.settle()


def _rows_of(batch: GatheredRows) -> Ints:
    dense = np.asarray(batch.dense_rows, dtype=np.int64)
    return np.unique(np.concatenate([batch.own_rows.ravel(), batch.shared_rows, dense]))


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _best(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The least of both times over some runs; each may be of another run."""
    found = [_timed(work) for _ in range(repeats)]
    return min(wall for wall, _ in found), min(processor for _, processor in found)


def _named(name: str, times: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_seconds": times[0], f"{name}_processor_seconds": times[1]}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ratios(found: dict[str, float], steps: int) -> dict[str, float]:
    """How many times as long: by the wall, and of processor time."""
    ratios = {}
    for kind in ("seconds", "processor_seconds"):
        eager = steps * found[f"eager_step_{kind}"]
        ratios[f"slow_over_fast_{kind}"] = found[f"slow_{kind}"] / found[f"fast_{kind}"]
        ratios[f"eager_over_noise_{kind}"] = found[f"eager_step_{kind}"] / found[f"noise_{kind}"]
        ratios[f"eager_over_deferred_{kind}"] = eager / found[f"deferred_release_{kind}"]
    return ratios


def _measured(load: Load, sizes: list[int], repeats: int) -> Iterator[tuple[int, dict[str, float]]]:
    for items in sizes:
        found = apart(partial(measure, load, items, repeats=repeats))
        yield items, {**found, **_ratios(found, load.steps)}


def _shown(results: dict[int, dict[str, float]]) -> Table:
    title = f"noisy sums, {os.cpu_count()} cores, seconds by the wall (of processor time)"
    table = Table("items", "fast", "slow", "noise", "eager step", "deferred release", title=title)
    table.add_column("peak MB")
    names = ("fast", "slow", "noise", "eager_step", "deferred_release")
    for items, found in results.items():
        times = [
            f"{found[f'{name}_seconds']:.3f} ({found[f'{name}_processor_seconds']:.3f})"
            for name in names
        ]
        table.add_row(f"{items:,}", *times, f"{found['peak_mb']:,.0f}")
    return table


def main(arguments: list[str] | None = None, out: TextIO | None = None) -> None:
    """Measure, show the table and write the JSON object to `out` (standard output)."""
    parser = argparse.ArgumentParser(prog="simulations.benchmarks.noisy_sum")
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=Load.users)
    parser.add_argument("--width", type=int, default=Load.width)
    parser.add_argument("--parameters", type=int, default=Load.parameters)
    parser.add_argument("--steps", type=int, default=Load.steps)
    parser.add_argument("--sampler", choices=["exact", "fast"], default=Load.sampler)
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    asked = parser.parse_args(arguments)
    load = Load(
        users=asked.users,
        width=asked.width,
        parameters=asked.parameters,
        steps=asked.steps,
        sampler=asked.sampler,
    )
    results = dict(_measured(load, asked.items, asked.repeats))
    Console(stderr=True).print(_shown(results))
    said = {
        "load": vars(load),
        "items": {
            str(items): {name: round(value, 4) for name, value in found.items()}
            for items, found in results.items()
        },
        "machine": machine(),
    }
    (out or sys.stdout).write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()

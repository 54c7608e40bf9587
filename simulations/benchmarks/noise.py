"""Draws a second of both samplers, beside numpy's own normals and the plain algorithm.

Run `python -m simulations.benchmarks.noise`: a table on standard error, one JSON object on
standard output. numpy's PCG64 is what noise must not come from; it shows what the
cryptographic stream and the grid cost. The oracle is the published algorithm in fractions.
Targets are held against the clock on the wall; draws a second of processor time beside it show
how far other work on the machine disturbed the run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from common.privacy.samplers import ExactSampler, FastSampler, oracle
from common.privacy.stream import NoiseSource

__all__ = ["TARGETS", "Rate", "main", "measure"]

TARGETS = {"fast": 20e6, "exact": 1e6}
"""Draws a second that the samplers must reach."""
_REPEATS = 5


@dataclass(frozen=True)
class Rate:
    """Draws a second: by the clock, and by processor time summed over cores."""

    wall: float
    processor: float


def measure(draws: int) -> dict[str, Rate]:
    """Draws a second of every source, best of five.

    Args:
        draws: size of one large draw; a single core gets 2^18, which is never split.
    """
    noise = NoiseSource.system()
    fast, exact = FastSampler(), ExactSampler()
    single = min(draws, 2**18)
    slow = min(draws, 500)
    pcg = np.random.Generator(np.random.PCG64())
    buffer = np.empty(single)
    variance = Fraction(exact.sigma_grid**2)
    return {
        "fast": _rate(lambda: fast.draw((draws,), noise), draws),
        "fast, one core": _rate(lambda: fast.draw((single,), noise), single),
        "exact": _rate(lambda: exact.draw((draws,), noise), draws),
        "exact, one core": _rate(lambda: exact.draw((single,), noise), single),
        "ChaCha20 normals, one core": _rate(lambda: noise.fill_normals(buffer), single),
        "numpy PCG64 normals, one core": _rate(lambda: pcg.standard_normal(out=buffer), single),
        "oracle, one core": _rate(
            lambda: [oracle.discrete_gaussian(variance, noise) for _ in range(slow)], slow
        ),
    }


def _rate(draw: Callable[[], object], draws: int) -> Rate:
    draw()
    wall, processor = [], []
    for _ in range(_REPEATS):
        start, start_processor = time.perf_counter(), time.process_time()
        draw()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return Rate(draws / max(min(wall), 1e-9), draws / max(min(processor), 1e-9))


def main(draws: int = 2**24, out: TextIO | None = None) -> None:
    """Measure, show the table and write the JSON object to `out` (standard output)."""
    rates = measure(draws)
    title = f"noise, {os.cpu_count()} cores"
    table = Table("source", "draws a second", "of processor time", "target", title=title)
    for name, rate in rates.items():
        target = f"{TARGETS[name]:,.0f}" if name in TARGETS else ""
        table.add_row(name, f"{rate.wall:,.0f}", f"{rate.processor:,.0f}", target)
    Console(stderr=True).print(table)
    result = {
        "cores": os.cpu_count(),
        "draws": draws,
        "load": os.getloadavg()[0],
        "draws_per_second": {name: round(rate.wall) for name, rate in rates.items()},
        "draws_per_processor_second": {name: round(rate.processor) for name, rate in rates.items()},
        "met": {name: rates[name].wall >= target for name, target in TARGETS.items()},
    }
    (out or sys.stdout).write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

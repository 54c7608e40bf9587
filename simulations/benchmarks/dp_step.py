"""One private gradient step beside Opacus', beside none, and beside bare noise.

`python -m simulations.benchmarks.dp_step [--network attention|neural|mf|all] [--items N ...]`

Of two networks: `attention`, and `neural`, the two towers with the head on a pooled vector; and of
`mf`, the solver `dpsgd`, where vectors of items are the whole model.

ours      a client's step on the whole table: sample, draw, windows of histories, gradients of
          each user, clip, integer sum, noise of the fast sampler
plain     the gradient of the same losses by autograd, of all users together, without privacy
noise     the fast sampler on the released matrix: items and dense parameters
hooks     Opacus, `GradSampleModule` and `DPOptimizer`: per-user gradients written out
ghost     Opacus, ghost clipping: norms first, then a second pass backward

Each is measured in a process of its own, which is asked for the most memory that it ever had.
Before anything is timed, `ours`, `hooks` and `ghost` are made to sum without noise and compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final, get_args

import torch

from common.privacy.samplers import FastSampler
from common.privacy.stream import NoiseSource
from simulations.benchmarks.apart import apart
from simulations.benchmarks.dp_step_compare import (
    SMALL,
    AnyWorld,
    opacus_of,
    relative_errors,
    world_of,
)
from simulations.benchmarks.dp_step_page import write_step_page
from simulations.benchmarks.machine import machine
from simulations.benchmarks.opacus_twin import Mode
from simulations.benchmarks.step_load import Load, NetworkName

__all__ = ["NETWORKS", "VARIANTS", "main", "measure"]

NETWORKS: Final[tuple[NetworkName, ...]] = get_args(NetworkName)
VARIANTS: Final = ("ours", "plain", "noise", "hooks", "ghost")
_MOST_SECONDS: Final = 25.0
_MOST_ERROR: Final = 1e-5
_NOISE_MULTIPLIER: Final = 1.5
_TABLES_AT_ONCE: Final = 2.4
"""Per-user tables that `hooks` holds: its own, its copy, and a part for everything else."""


@dataclass(frozen=True)
class How:
    """How a variant is measured.

    Attributes:
        repeats: timed steps, behind one that is not; fewer once they have taken 25 seconds.
        threads: cores that a process may use.
        memory: bytes that `hooks` may take.
    """

    repeats: int
    threads: int
    memory: float


def measure(load: Load, variant: str, how: How) -> dict[str, Any]:
    """One row: seconds and processor seconds of the best step, and the most memory in MB.

    Changes the threads and cores of the process that calls it.
    """
    needed = _TABLES_AT_ONCE * 4 * load.users * load.items * load.dim
    row: dict[str, Any] = {"network": load.network, "items": load.items, "variant": variant}
    if variant == "hooks" and needed > how.memory:
        return {
            **row,
            "refused": f"two of [{load.users}, {load.items:,}, {load.dim}] float32 and the rest "
            f"are {needed / 1e9:.1f} GB, {how.memory / 1e9:.1f} GB were free or allowed",
        }
    base = _peak_mb()
    _use(how.threads)
    warnings.filterwarnings("ignore", message="Full backward hook")
    wall, processor = _times(_step(variant, world_of(load)), how.repeats)
    steps = {"seconds": min(wall), "processor": min(processor), "steps": wall}
    return {**row, **steps, "base_mb": base, "peak_mb": _peak_mb(), "load": os.getloadavg()[0]}


def _peak_mb() -> float:
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _use(threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def _step(variant: str, world: AnyWorld) -> Callable[[], object]:
    if variant == "ours":
        return world.client_step()
    if variant == "plain":
        return world.plain_step()
    if variant == "noise":
        sampler, noise = FastSampler(), NoiseSource.system()
        return lambda: sampler.draw((world.rows, world.load.dim), noise)
    mode: Mode = "hooks" if variant == "hooks" else "ghost"
    step, _ = opacus_of(world, mode, clip_norm=1.0, noise_multiplier=_NOISE_MULTIPLIER)
    return step


def _times(step: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    """By the clock on the wall and of the processor, behind one step that is not counted."""
    wall: list[float] = []
    processor: list[float] = []
    begun = time.perf_counter()
    step()
    while len(wall) < repeats:
        before = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - before[0])
        processor.append(time.process_time() - before[1])
        if time.perf_counter() - begun > _MOST_SECONDS:
            break
    return wall, processor


def _free_bytes() -> float:
    """Memory that this machine has to give."""
    path = Path("/proc/meminfo")
    if path.exists():
        found = dict(line.split(":", 1) for line in path.read_text().splitlines())
        return 1024.0 * float(found["MemAvailable"].split()[0])
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, measure, print one JSON object and write the page."""
    asked = _parser().parse_args(arguments)
    load = Load(items=0, users=asked.users, events=asked.events, shared=asked.shared, dim=asked.dim)
    networks = NETWORKS if asked.network == "all" else (asked.network,)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(asked.threads or cores or 1, cores or 1)
    errors = {network: _compared(network) for network in networks}
    rows = []
    for network, items, variant in product(networks, asked.items, VARIANTS):
        free = _free_bytes() if asked.memory_gb is None else 1e9 * asked.memory_gb
        how = How(asked.repeats, threads, free)
        sized = replace(load, network=network, items=items)
        row = apart(partial(measure, sized, variant, how))
        rows.append(row)
        said = row.get("refused") or f"{row['seconds']:.3f} s, {row['peak_mb']:,.0f} MB"
        sys.stderr.write(f"{network}, {items:,} {variant}: {said}\n")
    sizes = {name: size for name, size in vars(load).items() if name not in ("items", "network")}
    facts = {"load": {**sizes, "threads": threads}, "errors": errors, "machine": machine()}
    aims = write_step_page(asked.out, rows, facts, list(arguments or sys.argv[1:]))
    sys.stdout.write(json.dumps({**facts, "runs": rows, "aims": aims}) + "\n")


def _compared(network: NetworkName) -> dict[str, float]:
    """The errors of `relative_errors`, none of which is large.

    Raises:
        SystemExit: one is.
    """
    work = partial(relative_errors, replace(SMALL, network=network))
    errors: dict[str, float] = apart(partial(_alone, work))
    sys.stderr.write(f"{network}, without noise, relative to ours: {errors}\n")
    if max(errors.values()) > _MOST_ERROR:
        raise SystemExit("Opacus and this project sum different things: nothing to compare")
    return errors


def _alone(work: Callable[[], Any]) -> Any:
    """`work` on one thread: torch's own do not outlive a fork."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Full backward hook")
    return work()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulations.benchmarks.dp_step", description=__doc__)
    sizes = [10_000, 20_000, 100_000, 1_000_000]
    parser.add_argument("--network", choices=[*NETWORKS, "all"], default="all")
    parser.add_argument("--items", type=int, nargs="+", default=sizes)
    parser.add_argument("--users", type=int, default=Load.users)
    parser.add_argument("--events", type=int, default=Load.events)
    parser.add_argument("--shared", type=int, default=Load.shared)
    parser.add_argument("--dim", type=int, default=Load.dim)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--memory-gb", type=float, default=None)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    return parser


if __name__ == "__main__":
    main()

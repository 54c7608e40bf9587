"""A client's round of local steps, with its noise drawn step by step or when rows are read.

Run `python -m simulations.benchmarks.local_round`: one JSON object on standard output. The
attention network at its defaults, plain descent on the whole table, noise of the exact sampler.

eager      every step's sum has noise on all rows, and Opacus' optimiser steps on all of them
deferred   a step reads the rows that its users need; the others get their noise at the end

Both are the client's own code from the checked task to the arrays that leave, in a process of
its own, which is asked for the most memory that it ever had.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final, Literal, TextIO, TypeAlias, cast, get_args

import numpy as np
import torch

from client.store import ClientStore
from client.training import prepared_step
from common.arrays import Histories, Ints
from common.job import Job
from common.privacy.mechanisms import GaussianSum
from common.privacy.stream import NoiseSource
from common.protocol import Task
from common.schedule import schedule_of
from simulations.benchmarks.apart import apart
from simulations.benchmarks.machine import machine
from simulations.benchmarks.step_load import Load, histories

__all__ = ["main", "measure"]

Way: TypeAlias = Literal["eager", "deferred"]
_ROUND: Final = 1


class _Eager(GaussianSum):
    """The same sums under another name, which are never handed over."""


@dataclass(frozen=True)
class _Settings:
    population: int


@dataclass(frozen=True)
class _Shop:
    """What the client's half of a step reads of its store."""

    histories: Histories
    settings: _Settings
    heldout: Ints | None = None


def measure(load: Load, steps: int, way: Way) -> dict[str, float]:
    """Seconds by the wall and of the processor of one round, and the most memory in MB."""
    torch.set_num_threads(1)
    schedule = schedule_of(_job(load, steps))
    rng = np.random.default_rng(0)
    shop = cast("ClientStore", _Shop(histories(load, rng), _Settings(load.users)))
    sent = {
        name: np.full(spec.shape, 1.0, np.float32)
        if len(spec.shape) == 1
        else rng.standard_normal(spec.shape, dtype=np.float32)
        for name, spec in schedule.steps[_ROUND].inputs.items()
    }
    compute = prepared_step(Task(schedule.job, _ROUND, sent), schedule, shop)
    del sent
    kind = _Eager if way == "eager" else GaussianSum
    mechanism = kind(schedule.plan.releases[_ROUND], NoiseSource.system())
    wall, processor = time.perf_counter(), time.process_time()
    compute(mechanism)
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "peak_mb": getrusage(RUSAGE_SELF).ru_maxrss / 1024,
        "load": os.getloadavg()[0],
    }


def _job(load: Load, steps: int) -> Job:
    settings: dict[str, Any] = {
        "network": "attention",
        "embedding_dim": load.dim,
        "length": load.events,
        "rounds": 1,
        "local_steps": steps,
        "negatives": load.shared,
        "train_items": True,
        "start": "random",
        "optimizer": "sgd",
        "momentum": 0.0,
        "warm_up": 0.0,
        "decay": "constant",
        "sampler": "exact",
    }
    return Job(
        job_id="0" * 32,
        catalogue_version="benchmark",
        n_items=load.items,
        clients=1,
        population=load.users,
        signal=float(load.users),
        epsilon=8.0,
        delta=1e-4,
        solver="sequential",
        settings=settings,
    )


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> None:
    """Measure both ways and write one JSON object to `out` (standard output)."""
    parser = argparse.ArgumentParser(prog="simulations.benchmarks.local_round")
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=Load.users)
    parser.add_argument("--events", type=int, default=Load.events)
    parser.add_argument("--shared", type=int, default=Load.shared)
    parser.add_argument("--dim", type=int, default=Load.dim)
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args(arguments)
    found: dict[str, dict[str, Any]] = {}
    for items in asked.items:
        load = Load(items, asked.users, asked.events, asked.shared, asked.dim)
        schedule_of(_job(load, asked.steps))  # planned once, for both
        row: dict[str, Any] = {
            way: apart(partial(measure, load, asked.steps, way)) for way in get_args(Way)
        }
        for kind in ("seconds", "processor_seconds"):
            row[f"eager_over_deferred_{kind}"] = row["eager"][kind] / row["deferred"][kind]
        found[str(items)] = row
        sys.stderr.write(f"{items:,} items: {json.dumps(row)}\n")
    said = {"load": vars(asked), "items": found, "machine": machine()}
    (out or sys.stdout).write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()

"""The dearest step of each solver beside what the machine could do at best.

`python -m simulations.benchmarks.steps [--clock wall|processor]`: synthetic histories of the
size of MovieLens-1M (6,040 users, 3,706 items, a million interactions). For each solver: seconds
of one client step, the work that the step cannot avoid (bytes moved or floating-point operations,
counted from its sizes), the rate of this machine for such work measured in the same run (a copy
of a large array, a large matrix product), and the ratio of the two times. Plain numpy sums
without clipping, grid and noise are the named alternative for `subspace`. On a machine that has
other work the processor's clock says more than the one on the wall; it adds up all threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from common.arrays import Floats, Histories, Ints, State
from common.privacy.mechanisms import mechanism_for
from common.privacy.planner import make_plan
from common.privacy.stream import NoiseSource
from common.solvers.base import NoisyTotal, PublicFacts, Solver
from common.solvers.registry import make_solver
from simulations.benchmarks.machine import machine

__all__ = ["main"]

USERS, ITEMS, EVENTS = 6040, 3706, 1_000_000
_CLOCKS: Final = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class _Data:
    histories: Histories
    heldout: Ints | None = None


def _histories() -> Histories:
    rng = np.random.default_rng(0)
    popularity = (1.0 + np.arange(ITEMS)) ** -0.8
    popularity /= popularity.sum()
    lengths = np.clip(rng.lognormal(4.4, 1.1, USERS), 18, 2000)
    lengths = (lengths * EVENTS / lengths.sum()).astype(np.int64)
    noise = rng.gumbel(size=(USERS, ITEMS)) + np.log(popularity)
    rows = [np.sort(np.argpartition(-noise[u], n)[:n]) for u, n in enumerate(lengths)]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    return Histories(indptr, items, np.ones(len(items)), ITEMS)


class _Machine:
    """What this machine does in a second of `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        source = np.ones(2**25)  # much larger than the caches
        target = np.empty_like(source)
        self.bytes = 2 * source.nbytes / self.best(lambda: np.copyto(target, source))
        matrix: Floats = np.ones((2000, 2000))
        self.flops = 2 * 2000**3 / self.best(lambda: matrix @ matrix)

    def best(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Seconds of the fastest of some runs."""
        found = []
        for _ in range(repeats):
            started = self._clock()
            work()
            found.append(self._clock() - started)
        return min(found)


def _solver(name: str, settings: Mapping[str, Any], private: bool) -> Solver:
    facts = PublicFacts(
        n_items=ITEMS,
        population=USERS,
        clients=1,
        epsilon=8.0 if private else None,
        delta=USERS**-1.1 if private else 0.0,
        signal=float(USERS),
        private=private,
    )
    return make_solver(name, settings, facts)


def _step(
    solver: Solver, step: int, state: State, data: _Data, private: bool
) -> Callable[[], Floats]:
    """One client sum: contributions, clip, grid, integer sum and noise."""
    plan = make_plan(
        [s.release for s in solver.steps],
        epsilon=8.0 if private else None,
        delta=USERS**-1.1 if private else 0.0,
        unit="user",
        mode="local" if private else "none",
        population=USERS,
    )

    def once() -> Floats:
        mechanism = mechanism_for(plan, step, NoiseSource.system())
        users = mechanism.sample(USERS)
        return mechanism.sum(solver.contribute(step, state, data, users))

    return once


def _first(solver: Solver, data: _Data) -> State:
    """The state after the first step, without noise."""
    state = solver.initial_state(0)
    if solver.steps[0].inputs:
        return state
    total = np.zeros((ITEMS, 1))
    for batch in solver.contribute(0, state, data, np.arange(USERS, dtype=np.int64)):
        batch.add_to(total)
    return solver.advance(0, state, NoisyTotal(total, 1.0, USERS))


def _subspace(data: _Data, here: _Machine) -> dict[str, float]:
    solver = _solver("subspace", {}, private=True)
    state = _first(solver, data)
    seconds = here.best(_step(solver, 1, state, data, private=True))
    users = np.arange(USERS, dtype=np.int64)

    def plain() -> None:
        total = np.zeros((ITEMS, solver.steps[1].release.width))
        for batch in solver.contribute(1, state, data, users):
            batch.add_to(total)

    # each of events × width products is written once and read once, in whatever order
    unavoidable = 16.0 * len(data.histories.items) * solver.steps[1].release.width / here.bytes
    return {
        "seconds": seconds,
        "limit_seconds": unavoidable,
        "times_the_limit": seconds / unavoidable,
        "times_the_plain_sum": seconds / here.best(plain),
    }


def _ials(data: _Data, here: _Machine) -> dict[str, float]:
    dim = 64
    solver = _solver("ials", {"embedding_dim": dim}, private=False)
    state = solver.initial_state(0)
    seconds = here.best(_step(solver, 0, state, data, private=False))
    # Gramians of users (solve) and of items (release): 2 d² each for every event, and Cholesky
    operations = 4.0 * dim**2 * len(data.histories.items) + USERS * dim**3 / 3
    return {
        "seconds": seconds,
        "limit_seconds": operations / here.flops,
        "times_the_limit": seconds * here.flops / operations,
    }


def _dpsgd(data: _Data, here: _Machine) -> dict[str, float]:
    solver = _solver("dpsgd", {}, private=True)
    seconds = here.best(_step(solver, 1, _first(solver, data), data, private=True))
    width = solver.steps[1].release.width
    # every user's gradient has a row for each item that is positive or a negative: about
    # events + 200 negatives a user, written and read once
    values = (len(data.histories.items) + 200.0 * USERS) * width
    return {
        "seconds": seconds,
        "limit_seconds": 16 * values / here.bytes,
        "times_the_limit": seconds * here.bytes / (16 * values),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="simulations.benchmarks.steps", description=__doc__)
    parser.add_argument("--clock", choices=sorted(_CLOCKS), default="wall")
    clock = parser.parse_args(arguments).clock
    here, data = _Machine(_CLOCKS[clock]), _Data(_histories())
    steps = {
        "subspace": _subspace(data, here),
        "ials": _ials(data, here),
        "dpsgd": _dpsgd(data, here),
    }
    rounded = {n: {k: round(v, 4) for k, v in found.items()} for n, found in steps.items()}
    rates = {"copy_gb_per_second": here.bytes / 1e9, "float64_gflops": here.flops / 1e9}
    found = {"steps": rounded, "rates": rates, "clock": clock, "machine": machine()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

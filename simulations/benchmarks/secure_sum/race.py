"""Ours and Flower's own SecAgg+ in turns, in one process, so that the load falls on both."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from common.privacy.roster import Terms
from simulations.benchmarks.secure_sum.clock import Seconds
from simulations.benchmarks.secure_sum.flower import CLIPPING, LEVELS, flower_mean
from simulations.benchmarks.secure_sum.growth import check_total, client_words
from simulations.benchmarks.secure_sum.ours import Federation, most_gone, usual_terms

__all__ = ["AIMS", "lap", "race", "standings"]

AIMS: Final[Mapping[tuple[int, int], float]] = {(30, 100_000): 25.0, (50, 10_000): 50.0}
"""How many times faster than Flower's, by clients and values."""
_OURS_A_LAP: Final = 3
_TOLERANCE: Final = 1.5 * 2 * CLIPPING / LEVELS
"""A level, and what float32 loses in Flower's rounding."""


def race(sizes: Sequence[tuple[int, int]], laps: int) -> list[dict[str, Any]]:
    """Every single sum, with nobody gone and with as many gone as the threshold allows.

    Args:
        sizes: clients and values of each race.
        laps: sums of Flower's for each; ours is run thrice as often, since it is short.

    Raises:
        SystemExit: a total is wrong.
    """
    return [
        {"table": "race", "clients": clients, "values": values, **each}
        for clients, values in sizes
        for gone in (0, most_gone(clients))
        for _ in range(laps)
        for each in lap(usual_terms(clients), values, gone)
    ]


def lap(terms: Terms, values: int, gone: int) -> Iterator[dict[str, Any]]:
    """One sum of Flower's and some of ours."""
    left = terms.clients - gone
    reals = np.random.default_rng(0).random((terms.clients, values), dtype=np.float32)
    mean, took = flower_mean(reals, terms.threshold, gone)
    if np.abs(mean - reals[:left].mean(axis=0, dtype=np.float64)).max() > _TOLERANCE:
        raise SystemExit("the mean of Flower's SecAgg+ is wrong")
    yield _told("Flower", left, took)
    federation, words = Federation(terms), client_words(values)
    for _ in range(_OURS_A_LAP):
        outcome = federation.session(words, gone).run()
        check_total(outcome.total, words, left)
        stages: dict[str, Any] = {
            f"{side}, {stage}": clock.seconds.processor
            for (side, stage), clock in outcome.clocks.items()
        }
        yield {**_told("ours", left, outcome.seconds), "stages": stages}


def _told(who: str, left: int, took: Seconds) -> dict[str, Any]:
    sys.stderr.write(f"{who}, {left} left: {took.wall:.3f} s\n")
    return {"left": left, "who": who, **asdict(took)}


def standings(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The best of each size, by the clock and by processor time.

    Args:
        runs: what `race` returned.
    """
    sizes = dict.fromkeys((run["clients"], run["values"], run["left"]) for run in runs)
    return [_standing(runs, size) for size in sizes]


def _standing(runs: Sequence[Mapping[str, Any]], size: tuple[int, int, int]) -> dict[str, Any]:
    clients, values, left = size
    of_size = [run for run in runs if (run["clients"], run["values"], run["left"]) == size]
    found: dict[str, Any] = {"clients": clients, "values": values, "left": left}
    for clock, unit in (("wall", "s"), ("processor", "processor s")):
        flower, ours = (
            min(float(run[clock]) for run in of_size if run["who"] == who)
            for who in ("Flower", "ours")
        )
        found |= {f"Flower, {unit}": flower, f"ours, {unit}": ours}
        found["times faster" if clock == "wall" else "times, processor"] = flower / ours
    return {**found, "aim": AIMS.get((clients, values), math.nan) if left == clients else math.nan}

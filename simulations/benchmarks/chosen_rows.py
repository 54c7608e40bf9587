"""What a choice of rows does to a noised sum over a large catalogue, and what it costs.

Run `python -m simulations.benchmarks.chosen_rows`: a table on standard error, one JSON object on
standard output. Users are made up: each has 50 draws of a Zipf law over the catalogue and, on
each of those rows, a direction that the row has for everybody and noise of twice its size. One
sum of theirs is released with and without a choice of rows, at the same price; the released sum
is held against the same one without noise. What a model makes of it is another question.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from common.arrays import Floats
from common.privacy.contributions import SparseRows
from common.privacy.events import event_of
from common.privacy.grid import quantise
from common.privacy.mechanisms import local_sum
from common.privacy.plan import Release, RowSelection
from common.privacy.stream import NoiseSource

__all__ = ["SIZES", "Sum", "main", "measure"]

SIZES: Final = ((3_000, 6_000), (20_000, 6_000), (100_000, 6_000), (100_000, 50_000))
"""Rows and users."""
WIDTH: Final = 16
NOISE_MULTIPLIER: Final = 1.8
SHARE: Final = 0.1
THRESHOLDS: Final = (None, 6.0, 12.0, 18.0, 30.0)
_ITEMS: Final = 50


@dataclass(frozen=True)
class Sum:
    """One released sum.

    Attributes:
        rows: of the catalogue.
        users: in the sum.
        threshold: τ of the choice, None without one.
        count_noise_std: standard deviation of the noise of a count.
        kept: rows that left.
        cosine: between the released sum and the one without noise.
        error: length of their difference over that of the sum without noise.
        seconds: processor time, of all cores.
    """

    rows: int
    users: int
    threshold: float | None
    count_noise_std: float
    kept: int
    cosine: float
    error: float
    seconds: float


def measure(rows: int, users: int, seed: int = 0) -> list[Sum]:
    """The same sum without a choice of rows, and with each threshold."""
    batch = _made_up(rows, users, np.random.default_rng(seed))
    truth = _without_noise(batch, rows)
    return [_one(batch, truth, users, threshold) for threshold in THRESHOLDS]


def _release(rows: int, threshold: float | None) -> Release:
    chosen = None if threshold is None else RowSelection(threshold=threshold, share=SHARE)
    return Release(
        step="benchmark.sum",
        rows=rows,
        width=WIDTH,
        share=1.0,
        noise_multiplier=NOISE_MULTIPLIER,
        selection=chosen,
    )


def _made_up(rows: int, users: int, rng: np.random.Generator) -> SparseRows:
    law = 1.0 / np.arange(1, rows + 1)
    owned = [np.unique(rng.choice(rows, _ITEMS, p=law / law.sum())) for _ in range(users)]
    touched = np.concatenate(owned)
    values = rng.normal(size=(rows, WIDTH))[touched]
    values += 2.0 * rng.normal(size=values.shape)
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in owned])])
    return SparseRows(np.arange(users), indptr, touched, values)


def _without_noise(batch: SparseRows, rows: int) -> Floats:
    release = _release(rows, None)
    grid = getattr(event_of(release), "clip_grid", 1)
    total = np.zeros((rows, WIDTH))
    np.add.at(total, batch.rows, quantise(batch, release.clip_norm, grid) / grid)
    return total


def _one(batch: SparseRows, truth: Floats, users: int, threshold: float | None) -> Sum:
    release = _release(len(truth), threshold)
    mechanism = local_sum(release, NoiseSource.system())
    start = time.process_time()
    found = mechanism.sum([batch])
    seconds = time.process_time() - start
    size, length = float(np.linalg.norm(truth)), float(np.linalg.norm(found))
    return Sum(
        rows=len(truth),
        users=users,
        threshold=threshold,
        count_noise_std=release.count_noise_std,
        kept=int(np.count_nonzero(found.any(axis=1))),
        cosine=float(np.vdot(found, truth) / max(size * length, 1e-300)),
        error=float(np.linalg.norm(found - truth) / size),
        seconds=seconds,
    )


def main(sizes: Sequence[tuple[int, int]] = SIZES, out: TextIO | None = None) -> None:
    """Measure, show the table and write the JSON object to `out` (standard output)."""
    table = Table("rows", "users", "threshold", "kept", "cosine", "error", "processor seconds")
    found = [one for rows, users in sizes for one in measure(rows, users)]
    for one in found:
        table.add_row(
            f"{one.rows:,}",
            f"{one.users:,}",
            "all rows" if one.threshold is None else f"{one.threshold:g}",
            f"{one.kept:,}",
            f"{one.cosine:.3f}",
            f"{one.error:.2f}",
            f"{one.seconds:.2f}",
        )
    Console(stderr=True).print(table)
    (out or sys.stdout).write(json.dumps({"sums": [asdict(one) for one in found]}) + "\n")


if __name__ == "__main__":
    main()

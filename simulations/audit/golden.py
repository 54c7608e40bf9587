"""Frozen values of ε: `python -m simulations.audit.golden tests/common/audit/golden.json`.

Lists of events, sampled, unsampled, mixed, many, with their ε by every accountant. Written
once and kept: a change of a library or of the code that moves a value fails a test, and the
file is only written again by somebody who knows why it moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final, Literal

from common.audit.recompute import recompute
from common.files import write_atomic
from common.privacy.accounting import for_shops
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    GaussianSumEvent,
    NoPrivacyEvent,
    SelectedSumEvent,
)
from common.privacy.plan import Sampler

__all__ = ["LISTS", "golden"]


def _sum(
    sigma: float,
    rate: float = 1.0,
    steps: int = 1,
    *,
    rows: int = 1000,
    width: int = 16,
    sampler: Sampler = "exact",
) -> GaussianSumEvent:
    """Noisy sums with σ over clip norm of about `sigma`."""
    grid = 2**26 if sampler == "exact" else 2**12
    return GaussianSumEvent(
        sampler=sampler,
        sigma_grid=grid,
        clip_grid=round(grid / sigma),
        rows=rows,
        width=width,
        sampling_rate=rate,
        steps=steps,
    )


def _selected(
    counts: float, values: float, rate: float = 1.0, steps: int = 1, *, sampler: Sampler = "exact"
) -> SelectedSumEvent:
    """Noisy sums of chosen rows with σ over clip norm of about `counts` and `values`."""
    grid = 2**26 if sampler == "exact" else 2**12
    return SelectedSumEvent(
        sampler=sampler,
        sigma_grid=grid,
        clip_grid=round(grid / values),
        count_sigma_grid=grid,
        count_clip_grid=round(grid / counts),
        rows=1000,
        width=16,
        dense_rows=40,
        sampling_rate=rate,
        steps=steps,
    )


def _secure(
    sigma: float, honest: int = 7, *, bits: Literal[32, 64] = 64, width: int = 16
) -> DistributedDiscreteGaussianEvent:
    """One secure sum with σ of `honest` shares over clip norm of about `sigma`."""
    clip = 2**20 if bits == 32 else 2**24
    return DistributedDiscreteGaussianEvent(
        clients=honest + 1 + honest // 4,
        threshold=honest + 1,
        colluders=1,
        share_variance=round((sigma * clip) ** 2 / honest),
        clip_grid=clip,
        word_bits=bits,
        rows=1000,
        width=width,
    )


LISTS: Final[dict[str, tuple[float, tuple[Event, ...]]]] = {
    "nothing": (1e-5, ()),
    "one sum": (1e-5, (_sum(1.0),)),
    "one sum, strong": (1e-6, (_sum(20.0),)),
    "one sum, weak": (1e-5, (_sum(0.5),)),
    "a plan of three sums": (2e-5, (_sum(2.4), _sum(0.75, width=17), _sum(0.75, width=17))),
    "the same plan fifty times": (1e-5, (_sum(12.0), _sum(9.0), _sum(9.0)) * 50),
    "2,250 sampled sums": (1e-5, (_sum(1.5, 0.04, 2250, sampler="fast"),)),
    "60 sampled sums at a high rate": (1e-5, (_sum(1.0, 0.2, 60),)),
    "5,000 sampled sums at a low rate": (1e-6, (_sum(0.8, 0.001, 5000),)),
    "almost everybody sampled": (1e-5, (_sum(1.0, 0.999, 3),)),
    "sampled and not": (1e-5, (_sum(1.0), _sum(1.0, 0.1, 50), _sum(0.8, 0.01, 500))),
    "many different": (
        1e-7,
        (_sum(2.0, 1.0, 3), *(_sum(1 + k / 10, 0.05, 40) for k in range(5))),
    ),
    "one secure sum": (1e-5, (_secure(1.0),)),
    "a plan of three secure sums": (
        2e-5,
        (_secure(2.4, bits=32), _secure(0.75, width=17), _secure(0.75, width=17)),
    ),
    "secure sums of two clients and of a thousand": (1e-6, (_secure(3.0, 1), _secure(2.0, 998))),
    "secure sums and others": (
        1e-5,
        (_sum(1.0), _secure(2.0), _sum(0.8, 0.01, 500), _secure(3.0, 2, bits=32)),
    ),
    "a shopper of three clients in secure sums": (1e-5, tuple(for_shops([_secure(6.0)] * 4, 3))),
    "a sum of chosen rows": (1e-5, (_selected(3.0, 1.1),)),
    "200 sampled sums of chosen rows": (
        1e-6,
        (_selected(4.0, 1.2, 0.05, 200, sampler="fast"),),
    ),
    "sums of chosen rows and others": (
        1e-5,
        (_sum(2.0), _selected(5.0, 2.0, 1.0, 4), _selected(4.0, 1.0, 0.02, 300), _secure(3.0)),
    ),
    "one release without a mechanism": (
        1e-5,
        (_sum(1.0), NoPrivacyEvent(rows=1000, width=16, steps=1)),
    ),
    "the samplers' share overdrawn": (
        1e-9,
        (_sum(0.5, rows=10**9, width=10, sampler="fast"),),
    ),
}
"""δ and events by name."""


def golden() -> dict[str, Any]:
    """Every list with its figures."""
    return {
        name: {
            "delta": delta,
            "events": [event.model_dump(mode="json") for event in events],
            "epsilon": recompute(events, delta).to_json()["epsilon"],
        }
        for name, (delta, events) in LISTS.items()
    }


def main(path: Path) -> None:
    """Write the file."""
    text = json.dumps(golden(), indent=1, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

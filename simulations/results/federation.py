"""Exact federated ALS is the central algorithm: the same item factors however users are dealt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from common.arrays import Floats
from simulations.results.pages import write_page
from simulations.results.training import train
from simulations.scenario import Scenario

__all__ = ["run_federation"]

CASES: Final = ((64, 12, (1, 8, 100)), (192, 12, (1, 8)), (192, 1, (1, 100)))
"""Dimension, epochs, numbers of clients; the first number is the reference of the others."""

_NOTES: Final = """
MovieLens-1M, NCF split, `ials` without privacy. The same seed with the users dealt to more
clients: how far the item factors are from those of one client, in Frobenius norm relative to
them, and in the largest entry relative to their largest. Sums travel as float32 and are added
in float64. At dimension 192 a client's release is 278 MB, so a hundred clients are shown for
one epoch there, and for all twelve at dimension 64.
"""


def run_federation(
    data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All cases; writes `ials-clients`."""
    rows: list[dict[str, Any]] = []
    for dim, rounds, counts in CASES:
        for seed in seeds:
            reference: Floats | None = None
            for clients in counts:
                scenario = Scenario.load(
                    {
                        "data": str(data / "ml-1m-ncf.zip"),
                        "protocol": "ncf",
                        "partition": "hash",
                        "solver": "ials",
                        "mode": "none",
                        "no_privacy": True,
                        "clients": clients,
                        "dim": dim,
                        "rounds": rounds,
                        "seed": seed,
                    }
                )
                found = train(scenario)
                factors = found.model.item_vectors.astype(np.float64)
                reference = factors if reference is None else reference
                rows.append(
                    {
                        "dim": dim,
                        "epochs": rounds,
                        "clients": clients,
                        "seed": seed,
                        "frobenius": _relative(factors, reference, None),
                        "largest entry": _relative(factors, reference, np.inf),
                        "seconds": round(found.seconds["train"], 1),
                    }
                )
                tell(str(rows[-1]))
    write_page(
        out,
        "ials-clients",
        title="Federated implicit ALS is the central algorithm",
        command=f"python -m simulations.results federation --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={"Distance from one client": pd.DataFrame(rows)},
    )


def _relative(factors: Floats, reference: Floats, order: float | None) -> float:
    difference, size = (factors - reference).ravel(), reference.ravel()
    return float(np.linalg.norm(difference, order) / np.linalg.norm(size, order))

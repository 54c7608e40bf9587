"""Reconstruction of users' items from one release: without privacy, and at several ε."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from simulations.attacks.reconstruction import (
    CHANCE,
    POPULARITY,
    RELEASE,
    RELEASE_AND_POPULARITY,
    ReconstructionResult,
    ReconstructionSettings,
    reconstruct_items,
)
from simulations.results.pages import write_page

__all__ = ["CASES", "run_reconstruction"]

MOVIELENS: Final = "ml-100k.zip"
_EPSILONS: Final = (None, 20.0, 8.0, 4.0, 1.0)

CASES: Final[Sequence[dict[str, Any]]] = (
    *({"epsilon": e, "solver": "popularity"} for e in _EPSILONS),
    *({"epsilon": e, "solver": "subspace", "step": 0} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "solver": "subspace", "step": 1} for e in _EPSILONS),
    *({"epsilon": e, "solver": "dpsgd", "releases": 4} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "solver": "popularity", "data": MOVIELENS} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "data": MOVIELENS, "targets": 50} for e in (None, 8.0, 1.0)),
)
"""Settings of each attack beside the defaults."""

_BY: Final = ("data", "step", "epsilon")
_SHORT: Final = {
    RELEASE: "release",
    RELEASE_AND_POPULARITY: "both",
    POPULARITY: "popularity",
    CHANCE: "chance",
}

_NOTES: Final = """
Which items did a user have? The attacker knows everything but one user's data: the step's
inputs, every other user's history, how contributions are made, how many items are looked for.
One release of the real client is recorded on its way to the server, the exact sum of the
others is taken out, and the catalogue is ranked by what remains: by the release alone (the
history is searched for whose contribution fits best), or joined to the popularity of items among
the others, as far as a rehearsal on other users says it helps. `popularity` uses no release: it
is what the others' data tell about anybody.

Precision at |history|: share of the |history| best items that are the user's. Average precision:
mean over the user's items of the precision down to each, over |history|. Means over the users
attacked in a release (100; 50 of MovieLens in `subspace`), releases (8, each a run of its own with
its own noise; 4 of `dpsgd`) and seeds; `±` is the standard error over all releases, in the
column before it.

ε is that of the whole job (user-level, add/remove one user, by PLD, mode `local`, δ = declared
users^-1.1), one client with 1,000 users and 500 items (marketplace) or MovieLens-100K. `μ` is that
of the one release. `bits` is the most that it holds about a user, μ²/2 nats, beside the bits that
name a history. `allowed` is the largest mean precision that the release's promise permits to an
attacker whose best guess without it is `popularity`. `dpsgd` takes one local step here: a release
of several is no one sum. Its first release is a popularity sum as well. Exact figures of a
simulation, not a private release.

What is seen: without noise every item is read off, of one gradient all but one in 200. Only the
noise protects here, since the attacker takes everybody else out. A sum of popularity with the
whole budget adds a little at ε = 8 and 4 to what the others' popularity tells; at ε = 1 it adds
nothing measurable, though alone it is still a little above chance (0.036, chance 0.028). In a
round of `subspace` or `dpsgd` the noise is spread over dimensions that the attacker has to guess:
the attack finds nothing at ε = 8, in `subspace` not even at ε = 20, which is no setting to use. A
better search might. An attack that finds nothing proves nothing; what limits every attack are the
columns `bits` and `allowed`.
"""


def run_reconstruction(
    data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All cases; writes `audit-reconstruction`."""
    rows: list[dict[str, Any]] = []
    for case in CASES:
        for seed in seeds:
            values = {**case, "seed": seed}
            if "data" in case:
                values["data"] = str(data / case["data"])
            rows.append(_row(reconstruct_items(ReconstructionSettings.load(values))))
            tell(str({k: v for k, v in rows[-1].items() if k != "by_release"}))
    write_page(
        out,
        "audit-reconstruction",
        title="Reconstruction of a user's items from one release",
        command=f"python -m simulations.results reconstruction --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={
            "Precision at |history|": _table(rows, "precision"),
            "Average precision": _table(rows, "average_precision"),
            "What could have been seen": _bounds(rows),
        },
    )


def _row(result: ReconstructionResult) -> dict[str, Any]:
    settings = result.settings
    return {
        "data": "marketplace" if settings.data is None else "MovieLens-100K",
        "users": result.users,
        "items": result.items,
        "step": result.step,
        "epsilon": "none" if settings.epsilon is None else f"{settings.epsilon:g}",
        "seed": settings.seed,
        "history": round(result.history, 2),
        "μ": result.mu,
        "bits": result.bits_released,
        "bits of a history": round(result.bits_needed, 1),
        "allowed": result.allowed_precision,
        "by_release": {
            short: {
                "precision": list(result.success[name].precision),
                "average_precision": list(result.success[name].average_precision),
            }
            for name, short in _SHORT.items()
        },
    }


def _table(rows: Sequence[dict[str, Any]], metric: str) -> pd.DataFrame:
    """Means over the releases of all seeds, and the standard error of those that use one."""
    lines = []
    for key, group in _grouped(rows).items():
        line: dict[str, Any] = dict(zip(_BY, key, strict=True))
        for short in _SHORT.values():
            values = np.concatenate([row["by_release"][short][metric] for row in group])
            line[short] = float(values.mean())
            if short in ("release", "both"):
                line[f"{short} ±"] = float(values.std(ddof=1) / np.sqrt(len(values)))
        lines.append(line)
    return pd.DataFrame(lines)


def _bounds(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    lines = []
    for key, group in _grouped(rows).items():
        line: dict[str, Any] = dict(zip(_BY, key, strict=True))
        for name in ("history", "μ", "bits", "bits of a history", "allowed"):
            values = [row[name] for row in group if row[name] is not None]
            line[name] = float(np.mean(values)) if values else float("nan")
        lines.append(line)
    return pd.DataFrame(lines)


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in _BY), []).append(row)
    return groups

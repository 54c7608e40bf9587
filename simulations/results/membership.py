"""Membership inference on published models: without privacy, and at several ε."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from simulations.attacks.membership import (
    LIKELIHOOD_RATIO,
    LIMITS,
    THRESHOLD,
    MembershipResult,
    MembershipSettings,
    infer_membership,
)
from simulations.attacks.roc import Proportion
from simulations.results.pages import write_page

__all__ = ["CASES", "run_membership"]

MOVIELENS: Final = "ml-100k.zip"

CASES: Final[Sequence[dict[str, Any]]] = (
    *({"epsilon": e, "shadows": 63} for e in (None, 8.0, 4.0, 1.0)),
    *({"epsilon": e, "clients": 4} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "data": MOVIELENS} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "users": 4_000} for e in (None, 8.0)),
    *({"epsilon": e, "solver": "popularity"} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "users": 400} for e in (None, 8.0, 1.0)),
    *({"epsilon": e, "users": 400, "solver": "dpsgd", "shadows": 15} for e in (None, 8.0, 1.0)),
    {"epsilon": None, "solver": "ials", "settings": {"embedding_dim": 32}, "shadows": 15},
)
"""Settings of each attack beside the defaults."""

_BY: Final = ("data", "users", "clients", "solver", "epsilon")
_KEPT: Final = 5

_NOTES: Final = """
Is a user's history in the training data of the published model? Each user of a pool is in or
out of each model by a fair coin; models are trained by the real apps; the attacker knows every
history and how models are trained, and sees the finished model only. `users` counts the pool,
half of it is in a model. Every model is the target once, with all others as shadows: `models`
counts both. LiRA (Carlini et al. 2022), online, on three statistics of a user: popularity of
their items, how much of their row the item vectors span, mean score of their items. `one
threshold` asks for the last of them to be above one value for everybody (with `popularity` there
are no vectors, and it guesses). Statistics and estimator were chosen on seed 101.

Marketplace: 500 items. ε is user-level (add/remove one user), by PLD, in mode `local` at each
client, δ = declared users^-1.1. `allowed` is the best that any attack could do against the
promise: the smaller of what (ε, δ) and what the plan's μ-GDP permit, at the upper end of the
interval of the false-positive rate. Intervals are Clopper and Pearson's at 95% over all pairs of
user and target of all seeds, as if they were independent; users of one model share its noise,
but the area scatters over targets about as for independent users (0.018 for 1,000). `visible ε`
is what a perfect attack on one seed's pairs would show at 95%: no figure here can speak of
more. Synthetic data or MovieLens-100K; exact figures of a simulation, not a private release.

These are attacks of one kind. They show that without noise a model of few users gives its
members away, and how much of that the noise takes; that a curve lies below what is allowed
proves no guarantee.

What is seen: without noise nearly every member of a pool of 1,000 is named, and half of those of
4,000, at one false alarm in a thousand. A sum of popularity alone hides most of its users even
then, from who does not know the others. At ε = 8 the finished model still gives away more than
chance, a good deal less than the promise allows; at ε = 1 little: most with `popularity`, an
area of 0.586 where 0.607 is allowed.
"""


def run_membership(
    data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All cases; writes `audit-membership`."""
    rows: list[dict[str, Any]] = []
    groups: dict[tuple[Any, ...], list[MembershipResult]] = {}
    for case in CASES:
        for seed in seeds:
            values = {"shadows": 31, **case, "seed": seed}
            if "data" in case:
                values["data"] = str(data / case["data"])
            result = infer_membership(MembershipSettings.load(values))
            row = _row(result)
            tell(str({k: v for k, v in row.items() if k != "roc"}))
            rows.append(row)
            groups.setdefault(tuple(row[name] for name in _BY), []).append(result)
    write_page(
        out,
        "audit-membership",
        title="Membership inference on the published model",
        command=f"python -m simulations.results membership --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={
            "Area under the curve, mean over seeds": _areas(rows),
            "True-positive rate at low false-positive rates": _rates(groups),
        },
    )


def _row(result: MembershipResult) -> dict[str, Any]:
    """What the tables need of one attack, and its curves in some forty points."""
    settings, promise = result.settings, result.promise
    found: dict[str, Any] = {
        "data": "marketplace" if settings.data is None else "MovieLens-100K",
        "users": result.users,
        "clients": settings.clients,
        "solver": settings.solver,
        "epsilon": "none" if settings.epsilon is None else f"{settings.epsilon:g}",
        "seed": settings.seed,
        "models": result.models,
        "dim": result.dim,
        "area": round(result.curves[LIKELIHOOD_RATIO].auc, 5),
        "area over targets ±": round(result.spread(LIKELIHOOD_RATIO), 5),
        "area, one threshold": round(result.curves[THRESHOLD].auc, 5),
        "area allowed": None if promise is None else round(promise.auc, 5),
        "visible ε": round(result.visible_epsilon, 2),
        "promise": None if promise is None else promise.to_json(),
        "points": [point.to_json() for point in result.points(LIKELIHOOD_RATIO)],
    }
    curves = {name: roc.to_json() for name, roc in result.curves.items()}
    found["roc"] = {
        name: [
            [round(x, 6), round(y, 6)]
            for x, y in list(zip(curve["fpr"], curve["tpr"], strict=True))[::_KEPT]
        ]
        for name, curve in curves.items()
    }
    return found


def _areas(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    kept = [
        *_BY,
        "models",
        "dim",
        "area",
        "area over targets ±",
        "area, one threshold",
        "area allowed",
    ]
    table = pd.DataFrame([{name: row[name] for name in [*kept, "visible ε"]} for row in rows])
    table["area allowed"] = table["area allowed"].astype("float64")
    return table.groupby(list(_BY), sort=False).mean().reset_index()


def _rates(groups: Mapping[tuple[Any, ...], Sequence[MembershipResult]]) -> pd.DataFrame:
    """Hits of all seeds together; what is allowed is the largest over seeds."""
    lines = []
    for key, results in groups.items():
        line: dict[str, Any] = dict(zip(_BY, key, strict=True))
        for limit in LIMITS:
            line[f"TPR at FPR {limit:.1%}"], line[f"allowed at {limit:.1%}"] = _rate(results, limit)
        lines.append(line)
    return pd.DataFrame(lines)


def _rate(results: Sequence[MembershipResult], limit: float) -> tuple[str, float]:
    """The rate with its interval in words, and what is allowed, nan where nothing is said."""
    points = [(result, result.curves[LIKELIHOOD_RATIO].at(limit)) for result in results]
    found = [(result, point) for result, point in points if point is not None]
    if not found:
        return "too few others", math.nan
    pooled = Proportion(sum(p.tpr.hits for _, p in found), sum(p.tpr.of for _, p in found))
    low, high = pooled.interval
    allowed = [result.allowed(point) for result, point in found]
    words = f"{pooled.rate:.4f} ({low:.4f} to {high:.4f})"
    return words, max((value for value in allowed if value is not None), default=math.nan)

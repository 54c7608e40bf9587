"""Networks without privacy, beside papers: next items on MovieLens-1M, and the NCF split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import figures, train
from simulations.scenario import Scenario

__all__ = ["NETWORKS"]

_OPEN: Final[Mapping[str, Any]] = {"mode": "none", "no_privacy": True, "partition": "hash"}
_SEQUENTIAL: Final[Mapping[str, Any]] = {"negatives": 1000, "learning_rate": 3e-3}
_NEURAL: Final[Mapping[str, Any]] = {
    "rounds": 15,
    "local_steps": 100,
    "learning_rate": 5e-3,
    "recent": 2048,  # the split carries no times
}
_CASES: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "sequential": (
        {"clients": 1, "settings": {**_SEQUENTIAL, "rounds": 15, "local_steps": 100}},
        {
            "clients": 8,
            "settings": {
                **_SEQUENTIAL,
                "rounds": 75,
                "local_steps": 20,
                "sampling_rate": 0.0212,
            },
        },
    ),
    "neural": ({"clients": 1, "settings": _NEURAL},),
}
_SOURCES: Final[Mapping[str, Mapping[str, str]]] = {
    "sequential": {"data": "ml-1m.zip", "protocol": "full"},
    "neural": {"data": "ml-1m-ncf.zip", "protocol": "ncf"},
}
_NOTES: Final[Mapping[str, str]] = {
    "sequential": """
MovieLens-1M, protocol `full`: the last event of each user in time is held out and ranked among all
films that the user has no training event on, ties against it; HR@10 and NDCG@10. No privacy:
this is what to compare with papers (SASRec .250/.134; with cross-entropy .315/.182). Two blocks of
attention, 64 dimensions, the latest 100 events, cross-entropy over a user's own items and 1,000
shared ones. With one client 15 rounds of 100 steps of about 64 users; with eight, 75 rounds of 20
steps of about 16 users at each client, averaged by declared population. One window of each user in
a step. Settings were chosen on validation events. Exact figures of a simulation, not a private
release.
""",
    "neural": """
MovieLens-1M, the split and the 99 negatives of He et al. 2017, ties against the held-out item;
HR@10 and NDCG@10, one client, no privacy (NeuMF .726/.445 with pretraining). 15 rounds of 100
steps of about 64 users; a shopper's vector is made of all their events, since the split has no
times. Settings were chosen on validation events. Exact figures of a simulation, not a private
release.
""",
}


def _run(
    solver: str, data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All cases of one solver; writes `ml1m-SOLVER.md` and `.json`."""
    source = _SOURCES[solver]
    rows: list[dict[str, Any]] = []
    for case in _CASES[solver]:
        for seed in seeds:
            where = {**source, "data": str(data / source["data"])}
            scenario = Scenario.load({**where, **_OPEN, "solver": solver, "seed": seed, **case})
            rows.append({"clients": case["clients"], "seed": seed, **figures(train(scenario))})
            tell(str(rows[-1]))
    write_page(
        out,
        f"ml1m-{solver}",
        title=f"MovieLens-1M without privacy: {solver}",
        command=f"python -m simulations.results {solver} --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES[solver],
        rows=rows,
        tables={"Means over seeds": mean_and_spread(rows, ["clients"])},
    )


NETWORKS: Final = {solver: partial(_run, solver) for solver in _CASES}
"""Studies by solver."""

"""Next items in their order, privately: three data sets, ranked among everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

from simulations.dataset import Dataset, load_dataset
from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import figures, train
from simulations.scenario import Scenario

__all__ = ["run_sequences"]

SETS: Final[Mapping[str, str]] = {
    "MovieLens-1M": "ml-1m.zip",
    "Online Retail": "online-retail.parquet",
    "Amazon Beauty": "amazon-beauty-5core.txt",
}
SOLVERS: Final = ("subspace", "transitions", "sequential", "neural")
EPSILONS: Final = (None, 8.0, 4.0, 2.0)
_EVENTS: Final[Mapping[str, int]] = {"MovieLens-1M": 100, "Online Retail": 60, "Amazon Beauty": 20}
"""That a network reads of a user in training: fewer where histories are short."""
_OPEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "sequential": {
        "rounds": 20, "local_steps": 100, "start": "subspace", "negatives": 300,
        "learning_rate": 3e-3,
    },
    "neural": {
        "rounds": 10, "local_steps": 100, "start": "subspace", "negatives": 500,
        "learning_rate": 3e-3, "recent": 5, "pooling": "ridge",
    },
}  # fmt: skip
_PRIVATE: Final[Mapping[str, Mapping[str, Any]]] = {
    "sequential": {},
    "neural": {
        "recent": 5,
        "pooling": "ridge",
        "start_share": 0.9,
        "rounds": 4,
        "learning_rate": 1e-3,
    },
}


_NOTES: Final = """
Protocol `full`: the last event of each user is held out and ranked among all items that the user
has no training event on, ties against it; HR@10 and NDCG@10, `joint` serving, one client. ε is
user-level (add/remove one user), by PLD, mode `local`, which with one client is central noise;
δ is the number of users to the power of -1.1. Noise comes from the operating system, so a
repetition gives other digits. Settings of `subspace` and `transitions` are their defaults, as are
those of `sequential` with privacy, where it is the network `recency`; without privacy it is
attention, 2,000 steps of about 64 users. `neural` reads the latest 5 events by ridge; without
privacy it takes 1,000 such steps, with privacy 4 of all users on a tenth of the budget. Both
networks are given the latest 100, 60 and 20 events of a user in training (MovieLens-1M, Online
Retail, Amazon Beauty). All that differs from a default was chosen on validation events of
MovieLens-1M, nothing on test events.
`subspace` does not know the order of events: it is what a private model had to beat. `popularity`
is exact, `noised-popularity` has the whole budget to itself. Baskets of Online Retail have one
time, so the order inside a basket is arbitrary. Exact figures of a simulation, not a private
release.
"""


def run_sequences(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """All cases; writes `sequences.md` and `.json`."""
    rows: list[dict[str, Any]] = []
    for name, seed in product(SETS, seeds):
        known: Dataset | None = None
        for solver, epsilon in product(SOLVERS, EPSILONS):
            scenario = _scenario(data / SETS[name], solver, epsilon, seed, _EVENTS[name])
            known = known or load_dataset(scenario.checked())
            shown = "none" if epsilon is None else epsilon
            row = {"data": name, "solver": solver, "epsilon": shown, "seed": seed}
            rows.append({**row, **figures(train(scenario, known))})
            tell(str(rows[-1]))
    write_page(
        out,
        "sequences",
        title="Next items, privately: with and without the order of events",
        command=f"python -m simulations.results sequences --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={"Means over seeds": mean_and_spread(rows, ["data", "solver", "epsilon"])},
    )


def _scenario(path: Path, solver: str, epsilon: float | None, seed: int, events: int) -> Scenario:
    privacy: dict[str, Any] = {"epsilon": epsilon}
    if epsilon is None:
        privacy = {"mode": "none", "no_privacy": True}
    asked = dict((_OPEN if epsilon is None else _PRIVATE).get(solver, {}))
    if solver in _OPEN:
        asked["length"] = events
    source = {"data": str(path), "protocol": "full", "partition": "hash", "clients": 1}
    return Scenario.load({**source, **privacy, "solver": solver, "settings": asked, "seed": seed})

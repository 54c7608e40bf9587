"""Ratings, privately: the two towers beside means that cost the same budget, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from common.arrays import Floats, Histories
from common.evaluation.ratings import MeanRatings, RatingModel, evaluate_ratings, item_means
from common.job import Job
from common.privacy.contributions import SparseRows
from common.privacy.mechanisms import mechanism_for
from common.privacy.plan import ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.stream import NoiseSource
from simulations.rating_quality import measure_ratings
from simulations.results.pages import mean_and_spread, write_page
from simulations.results.training import train
from simulations.scenario import Scenario

__all__ = ["MeanAndOffset", "noised_means", "run_ratings"]

CASES: Final[Sequence[tuple[str, str, float | None]]] = (
    ("MovieLens-100K", "ml-100k.zip", None),
    ("MovieLens-100K", "ml-100k.zip", 8.0),
    ("MovieLens-1M", "ml-1m.zip", 8.0),
)
"""Name and file of the data, and ε."""
MEAN: Final = 3.6
SCALE: Final = 1.1
_REACH: Final = 2.5
"""Scales from the mean to the lowest rating, about."""
_STRENGTH: Final = 5.0
_BOTH: Final[Mapping[str, Any]] = {
    "loss": "explicit",
    "rating_mean": MEAN,
    "rating_scale": SCALE,
    "recent": 2048,
    "head": 0,
}
OPEN: Final[Mapping[str, Any]] = {
    **_BOTH,
    "embedding_dim": 32,
    "rounds": 5,
    "local_steps": 60,
    "learning_rate": 0.005,
}
PRIVATE: Final[Mapping[str, Any]] = {
    **_BOTH,
    "embedding_dim": 8,
    "blocks": 0,
    "train_items": True,
    "start": "random",
    "start_share": 0.05,
    "init_stddev": 0.01,
    "rounds": 20,
    "learning_rate": 0.02,
}

_NOTES: Final = """
Protocol `full`: the last rating of each user in time is held out; RMSE and MAE of what is predicted
for it from their other ratings. One client, `neural` with `loss = "explicit"`; ε is user-level
(add/remove one user), by PLD, mode `local`, which with one client is central noise; δ is the
declared number of users to the power of -1.1. `global mean` is exact. `item means` are exact and
shrunk towards the global mean without privacy; at ε they are one clipped sum of everybody's ratings
and their number by item, with the whole budget, shrunk towards the declared mean. `item means and
own offset` adds what a shopper's own ratings are above them, which is computed where they are and
costs nothing: it is what a model has to beat. Settings were chosen on validation events, seed 0, a
handful of trainings. Noise comes from the operating system, so a repetition gives other digits.
Exact figures of a simulation, not a private release.
"""


@dataclass(frozen=True)
class MeanAndOffset:
    """Item means, and by how much a shopper rates above them.

    Attributes:
        means: of items.
    """

    means: MeanRatings

    def fold_in(self, histories: Histories) -> Floats:
        """The mean of what is above the items' means, as with five more of 0, `[users, 1]`."""
        above = histories.weights - self.means.by_item[histories.items]
        sums = np.bincount(histories.user_of_event, above, minlength=histories.n_users)
        return np.asarray(sums / (histories.lengths + _STRENGTH))[:, None]

    def ratings(self, user_vectors: Floats) -> Floats:
        """Means plus offsets, `[users, items]`."""
        return self.means.by_item + user_vectors


def noised_means(rated: Histories, job: Job, noise: NoiseSource) -> MeanRatings:
    """Item means by one clipped sum at the job's ε and δ.

    Each user contributes (z, 1) / √(2n) on each of their n items, z the rating on a scale from
    -1 to 1: norm 1 at most. A mean is the ratio of the two sums, shrunk as by users who rate at
    the declared mean and weigh as much as the noise.

    Args:
        rated: of the one client, with a rating for every event.
        job: whose guarantee it is.
        noise: of the operating system.
    """
    shape = ReleaseShape(step="ratings.means", rows=rated.n_items, width=2, share=1.0)
    plan = make_plan(
        [shape],
        epsilon=job.epsilon,
        delta=job.delta,
        unit=job.unit,
        mode=job.mode,
        population=job.population,
    )
    mechanism = mechanism_for(plan, 0, noise)
    users = np.arange(rated.n_users, dtype=np.int64)
    steps = np.clip((rated.weights - MEAN) / (SCALE * _REACH), -1.0, 1.0)
    size = np.sqrt(2.0 * rated.lengths)[rated.user_of_event]
    values = np.stack([steps, np.ones(len(steps))], axis=1) / size[:, None]
    total = mechanism.sum([SparseRows(users, rated.indptr, rated.items, values)])
    found = total[:, 0] / (np.maximum(total[:, 1], 0.0) + mechanism.noise_std)
    return MeanRatings(MEAN + SCALE * _REACH * np.clip(found, -1.0, 1.0))


def run_ratings(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[str], None]) -> None:
    """All cases; writes `ratings.md` and `.json`."""
    rows: list[dict[str, Any]] = []
    for name, file, epsilon in CASES:
        for seed in seeds:
            rows += _measured(name, _scenario(data / file, epsilon, seed))
            tell(str(rows[-4:]))
    write_page(
        out,
        "ratings",
        title="Ratings, with and without privacy",
        command=f"python -m simulations.results ratings --seeds {' '.join(map(str, seeds))}",
        notes=_NOTES,
        rows=rows,
        tables={"Means over seeds": mean_and_spread(rows, ["data", "epsilon", "predicted by"])},
    )


def _scenario(path: Path, epsilon: float | None, seed: int) -> Scenario:
    privacy: dict[str, Any] = {"epsilon": epsilon, "settings": PRIVATE}
    if epsilon is None:
        privacy = {"mode": "none", "no_privacy": True, "settings": OPEN}
    asked = {"data": str(path), "protocol": "full", "partition": "hash", "clients": 1}
    return Scenario.load({**asked, **privacy, "solver": "neural", "seed": seed})


def _measured(name: str, scenario: Scenario) -> list[dict[str, Any]]:
    trained = train(scenario)
    split = trained.dataset.split
    known, epsilon = split.histories, scenario.target_epsilon
    found = measure_ratings(trained.model, split)
    means = item_means(known)
    if epsilon is not None:
        means = noised_means(known, trained.job, NoiseSource.system())
    others: dict[str, RatingModel] = {
        "item means": means,
        "item means and own offset": MeanAndOffset(means),
    }
    errors = {"neural": found["joint"], "global mean": found["global-mean"]}
    errors |= {key: evaluate_ratings(model, known, split.relevant) for key, model in others.items()}
    case = {"data": name, "epsilon": "none" if epsilon is None else epsilon, "seed": scenario.seed}
    return [
        {**case, "predicted by": key, "rmse": round(e.rmse, 5), "mae": round(e.mae, 5)}
        for key, e in errors.items()
    ]

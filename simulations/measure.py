"""What each way of recommending reached. The lab sees all the data: not a private release."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from common.arrays import Floats, Histories, Ints
from common.evaluation.baselines import PopularityScorer, RandomScorer, popularity_counts
from common.evaluation.evaluate import Evaluation, evaluate
from common.evaluation.protocols import Split
from common.evaluation.scorers import GroupScorer, JointScorer, Scorer
from common.evaluation.totals import RatingTotals
from common.interactions.partition import Partition
from common.models.base import Model
from common.models.refit import RefitSettings, ShopModel, refit_beside_alone
from simulations.rating_quality import measure_ratings

__all__ = ["METHODS", "Measured", "Shop", "measure", "shops_of"]

METHODS = ("joint", "shop", "alone", "popularity", "noised-popularity", "random")
"""In order of display."""


@dataclass(frozen=True)
class Shop:
    """One shop's users. Sensitive.

    Attributes:
        name: of the client.
        users: positions of its users in the split.
        histories: their training events, row by row, with their ratings for weights.
        times: `[events]`, when each was last met, None if the data do not say.
    """

    name: str
    users: Ints
    histories: Histories
    times: Ints | None = None


@dataclass(frozen=True)
class Measured:
    """Evaluations by method, on the same users.

    Attributes:
        evaluations: one of each of `METHODS`; noised popularity only under a guarantee.
        choices: which candidate each shop's own validation chose for `shop` serving.
        client_of: client of every user id.
        ratings: errors on held-out ratings, of `measure_ratings`.
    """

    evaluations: dict[str, Evaluation]
    choices: dict[str, str]
    client_of: dict[str, str]
    ratings: Mapping[str, RatingTotals] = field(default_factory=dict)

    def per_user(self) -> pd.DataFrame:
        """All values of all methods, long: a row for each user and method."""
        frames = [e.per_user.assign(method=name) for name, e in self.evaluations.items()]
        table = pd.concat(frames, ignore_index=True)
        return table.assign(client=table["user_id"].map(self.client_of))


def shops_of(split: Split, partition: Partition) -> list[Shop]:
    """Every client of the partition with its users' training events."""
    histories, times = split.histories, _last_times(split)
    shops = []
    for name in partition.names:
        users = split.users.get_indexer(pd.Index(partition.users(name), dtype="str"))
        rows = np.sort(users).astype(np.int64)
        own = np.isin(histories.user_of_event, rows)
        shops.append(Shop(name, rows, histories.take(rows), None if times is None else times[own]))
    return shops


def _last_times(split: Split) -> Ints | None:
    """Time of the last event of each entry of the histories; None if all are equal."""
    times = split.train["datetime"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    if len(times) == 0 or (times == times[0]).all():
        return None
    users = split.users.get_indexer(pd.Index(split.train["user_id"]))
    items = split.items.get_indexer(pd.Index(split.train["item_id"]))
    entry = users.astype(np.int64) * len(split.items) + items
    order = np.lexsort((times, entry))
    last = np.append(entry[order][1:] != entry[order][:-1], True)
    return np.asarray(times[order][last], dtype=np.int64)


def measure(
    model: Model,
    split: Split,
    shops: Sequence[Shop],
    *,
    seed: int,
    noised_popularity: Floats | None,
    central: bool,
    progress: Callable[[str], None],
) -> Measured:
    """Evaluate every method on the split.

    Args:
        model: the finished model.
        split: who is judged by what.
        shops: who owns which user; every user belongs to one.
        seed: of choices within shops and of random scores.
        noised_popularity: `[items]`, the control under a guarantee; None without.
        central: every user weighs the same in the shared model (exact sums, or one release
            for everybody); else shops weigh in by size, as their noise makes it best.
        progress: told what is being done, a word or two at a time.
    """
    histories = split.histories
    scorers: dict[str, Scorer] = {"joint": JointScorer(model, histories)}
    # a held-out item has 99 rivals and ten places under `ncf`: that is to beat ten of them
    settings = RefitSettings(rivals=10.0 if split.protocol == "ncf" else None)
    shares = _own_shares(shops, central=central)
    tuned = [settings.model_copy(update={"own_share": share}) for share in shares]
    served, alone, choices = _by_shop(model, shops, tuned, seed, progress)
    groups = np.full(len(split.users), -1, dtype=np.int64)
    for number, shop in enumerate(shops):
        groups[shop.users] = number
    for name, models in (("shop", served), ("alone", alone)):
        own = [JointScorer(one, histories) for one in models]
        scorers[name] = GroupScorer(own, groups, len(split.items))
    scorers["popularity"] = PopularityScorer(popularity_counts(histories))
    if noised_popularity is not None:
        scorers["noised-popularity"] = PopularityScorer(noised_popularity)
    scorers["random"] = RandomScorer(len(split.items), seed)
    evaluations = {}
    for name in METHODS:
        if name in scorers:
            progress(f"evaluate {name}")
            evaluations[name] = evaluate(scorers[name], split, item_vectors=model.item_vectors)
    client_of = {split.users[user]: shop.name for shop in shops for user in shop.users}
    return Measured(evaluations, choices, client_of, measure_ratings(model, split))


def _by_shop(
    model: Model,
    shops: Sequence[Shop],
    settings: Sequence[RefitSettings],
    seed: int,
    progress: Callable[[str], None],
) -> tuple[list[ShopModel], list[ShopModel], dict[str, str]]:
    """What each shop serves by itself: with the shared model, and without it."""
    served: list[ShopModel] = []
    alone: list[ShopModel] = []
    choices: dict[str, str] = {}
    for number, shop in enumerate(shops):
        progress(f"refit {number + 1}/{len(shops)}")
        rng = np.random.default_rng([seed, 2, number])
        chosen, own = refit_beside_alone(model, shop.histories, settings[number], rng, shop.times)
        served.append(chosen)
        alone.append(own)
        choices[shop.name] = chosen.choice.name
    return served, alone, choices


def _own_shares(shops: Sequence[Shop], *, central: bool) -> list[float]:
    """Each shop's share of the signal in the shared model."""
    sizes = np.array([len(shop.users) for shop in shops], dtype=np.float64)
    signal = sizes if central else sizes**2
    return [float(share) for share in signal / signal.sum()]

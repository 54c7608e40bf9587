"""Items that training never sees, and how well somebody ranks them afterwards.

Protocol `new items`: a seeded tenth of the catalogue is hidden with all its events; everything
else trains. A user is judged who has an event on a hidden item and one in training. Their
relevant set R is all of their hidden items. They are ranked, once among all hidden items and
once among all items that the user has no training event on; ties count against them.
HR@k: 1 if an item of R is in the list of k. NDCG@k: as everywhere, divided by the best possible
for min(k, |R|) hits. Percentile: (rank - 1) / (candidates - 1), mean over R, 0 is the top and
chance is 0.5 (Hu, Koren, Volinsky 2008, section 6, for one item). All are means over users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.catalogue import Catalogue
from common.evaluation import metrics
from common.evaluation.indexing import index_events, to_histories
from common.evaluation.protocols import LeftOut, Split
from common.evaluation.ranking import rank_of
from common.evaluation.scorers import Scorer
from common.interactions.partition import by_hash
from simulations.dataset import Dataset

__all__ = ["HiddenItems", "hide_items", "ranked", "training_data"]

_STREAM: Final = 17
"""Beside the seed, so that other draws from it are others."""
_BATCH: Final = 256
_NONE: Final[Ints] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class HiddenItems:
    """What trains and what is hidden. Sensitive.

    Attributes:
        catalogue: all items.
        fresh: `[items]`, True for those that are hidden.
        train: events on the others.
        histories: `[users]`, training events by position in the whole catalogue.
        relevant: `[users]`, hidden items of each user, the same.
        left_out: users with hidden items only, or with none.
    """

    catalogue: Catalogue
    fresh: NDArray[np.bool_]
    train: pd.DataFrame
    histories: Histories
    relevant: Histories
    left_out: LeftOut

    @property
    def known(self) -> Ints:
        """Positions of the items that train, increasing."""
        return np.flatnonzero(~self.fresh).astype(np.int64)

    @property
    def hidden(self) -> Ints:
        """Positions of the items that are hidden, increasing."""
        return np.flatnonzero(self.fresh).astype(np.int64)

    @property
    def judged(self) -> Ints:
        """Users with a training event and a hidden item, increasing."""
        return np.flatnonzero(self.relevant.lengths).astype(np.int64)

    def sample(self, most: int, seed: int) -> Ints:
        """At most so many of `judged`, drawn at random, increasing."""
        rng = np.random.default_rng([seed, _STREAM, 1])
        judged = self.judged
        return np.sort(rng.permutation(judged)[:most]) if len(judged) > most else judged


def hide_items(
    events: pd.DataFrame, catalogue: Catalogue, seed: int, *, share: float = 0.1
) -> HiddenItems:
    """Hide a share of the items with all their events.

    Args:
        events: an event table.
        catalogue: all items.
        seed: decides which items.
        share: how many of them.
    """
    order = np.random.default_rng([seed, _STREAM]).permutation(len(catalogue))
    fresh = np.zeros(len(catalogue), dtype=bool)
    fresh[order[: round(share * len(catalogue))]] = True
    table = index_events(events, pd.Index(catalogue.item_ids, dtype="str"))
    held = fresh[table.items]
    trains = np.bincount(table.users_of_row[~held], minlength=len(table.users)) > 0
    rows = np.where(trains, np.cumsum(trains) - 1, -1)[table.users_of_row]
    size = (int(trains.sum()), len(catalogue))
    relevant = to_histories(table, rows, held & (rows >= 0), *size)
    return HiddenItems(
        catalogue,
        fresh,
        events[~held].reset_index(drop=True),
        to_histories(table, rows, ~held, *size),
        relevant,
        LeftOut(int((relevant.lengths == 0).sum()), int((~trains).sum())),
    )


def training_data(hidden: HiddenItems, name: str) -> Dataset:
    """What a federation of one client gets to see: a catalogue without the hidden items."""
    known = hidden.known
    columns = {
        name: tuple(values[place] for place in known)
        for name, values in hidden.catalogue.metadata.items()
    }
    item_ids = tuple(hidden.catalogue.item_ids[place] for place in known)
    catalogue = replace(hidden.catalogue, item_ids=item_ids, metadata=columns)
    items = pd.Index(item_ids, dtype="str")
    table = index_events(hidden.train, items)
    everything = np.ones(len(hidden.train), dtype=bool)
    size = (len(table.users), len(items))
    split = Split(
        protocol="full",
        users=table.users,
        items=items,
        train=hidden.train,
        heldout=hidden.train.iloc[:0],
        histories=to_histories(table, table.users_of_row, everything, *size),
        relevant=to_histories(table, table.users_of_row, ~everything, *size),
        negatives=None,
        left_out=LeftOut(size[0], 0),
        train_share=1.0,
    )
    return Dataset(name, catalogue, split, by_hash(hidden.train, 1), None, ())


def ranked(
    scorer: Scorer, hidden: HiddenItems, judged: Ints, *, top_k: int = 10
) -> dict[str, float]:
    """The figures of one scorer on the users `judged`, by pool (`hidden`, `all`) and metric."""
    found: dict[str, list[Floats]] = {}
    places = np.full(len(hidden.catalogue), -1, dtype=np.int64)
    places[hidden.hidden] = np.arange(len(hidden.hidden))
    for start in range(0, len(judged), _BATCH):
        users = judged[start : start + _BATCH]
        scores = scorer.scores(users)
        relevant, seen = hidden.relevant.take(users), hidden.histories.take(users)
        among = replace(relevant, items=places[relevant.items], n_items=len(hidden.hidden))
        nothing = Histories(0 * among.indptr, _NONE, np.zeros(0), among.n_items)
        pools = {
            "hidden": (scores[:, hidden.hidden], among, nothing),
            "all": (scores, relevant, seen),
        }
        for pool, (values, wanted, excluded) in pools.items():
            ranks = rank_of(values, wanted, excluded)
            candidates = values.shape[1] - excluded.lengths
            for name, column in _figures(ranks, wanted, candidates, top_k).items():
                found.setdefault(f"{pool}_{name}", []).append(column)
    return {name: float(np.concatenate(parts).mean()) for name, parts in found.items()}


def _figures(ranks: Ints, relevant: Histories, candidates: Ints, top_k: int) -> dict[str, Floats]:
    """Values of each user by metric, `[users]` each."""
    width = np.maximum(candidates - 1, 1)[relevant.user_of_event]
    sums = np.bincount(relevant.user_of_event, (ranks - 1) / width, minlength=relevant.n_users)
    return {
        f"hr@{top_k}": metrics.hit_rate(ranks, relevant.indptr, top_k),
        f"ndcg@{top_k}": metrics.ndcg(ranks, relevant.indptr, top_k),
        "percentile": sums / relevant.lengths,
    }

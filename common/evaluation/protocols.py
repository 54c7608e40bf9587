"""Protocols: which events train, which are held out, and what they are ranked against.

- `full`: the last event in time is held out and ranked among all items that the user has
  no training event on.
- `ncf`: the same event against 99 sampled negatives (He et al. 2017, section 4.1); to
  compare with papers only (Krichene, Rendle 2020: the order of methods can turn round).
- `temporal`: events from a moment on are held out; training holds no event of the future.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.arrays import Histories, Ints
from common.errors import Code, ConfigError, DataError
from common.evaluation.indexing import Indexed, index_events, to_histories, union
from common.interactions.raw import PublishedSplit
from common.models.negatives import sample_negatives

__all__ = [
    "LeftOut",
    "ProtocolName",
    "Split",
    "from_published",
    "leave_one_out",
    "ncf",
    "published",
    "temporal",
    "validation_split",
]

ProtocolName: TypeAlias = Literal["full", "ncf", "temporal"]


@dataclass(frozen=True)
class LeftOut:
    """Users who are in the data and not in the figures.

    Attributes:
        no_heldout: in training, without a held-out item.
        no_train: without a training event; in neither.
    """

    no_heldout: int
    no_train: int

    @property
    def total(self) -> int:
        """Users left out for whichever reason."""
        return self.no_heldout + self.no_train


@dataclass(frozen=True, eq=False)
class Split:
    """Events to train on and events to be judged by. Sensitive.

    Attributes:
        protocol: how held-out items are ranked.
        users: user_id of every position; all users with a training event.
        items: item_id of every position: the catalogue.
        train: training events, columns as given.
        heldout: held-out events of users in `users`, by user position and time.
        histories: `train` by position, `[users]`.
        relevant: `heldout` by position, `[users]`; empty for users without one; no item
            is in the same user's `histories`.
        negatives: `[users, n]`, -1 for none; only under `ncf`.
        left_out: users in the data and not in the figures.
        train_share: training events / (training and held-out events); `temporal` cuts
            training itself at this share to make a validation split.
    """

    protocol: ProtocolName
    users: pd.Index[Any]
    items: pd.Index[Any]
    train: pd.DataFrame
    heldout: pd.DataFrame
    histories: Histories
    relevant: Histories
    negatives: Ints | None
    left_out: LeftOut
    train_share: float

    @property
    def heldout_item(self) -> Ints:
        """The first held-out item in time of each user, -1 for none, `[users]`."""
        first = self.heldout.drop_duplicates("user_id")
        items = np.full(len(self.users), -1, dtype=np.int64)
        items[self.users.get_indexer(pd.Index(first["user_id"]))] = self.items.get_indexer(
            pd.Index(first["item_id"])
        )
        return items

    @property
    def evaluated(self) -> Ints:
        """Positions of the users with a held-out item, increasing."""
        return np.flatnonzero(self.relevant.lengths).astype(np.int64)


def leave_one_out(events: pd.DataFrame, items: pd.Index[Any]) -> Split:
    """Hold out each user's last event in time; protocol `full`.

    A repeated item counts when it was first met, and is held out with all its events: an
    item that stays in training could not be ranked. Equal times are ordered by a hash of
    user_id and item_id: neither row order nor the other users in the table matter, so a
    client holds out the same item as a table of all clients would. Users with a single
    item keep it in training.

    Args:
        events: columns `user_id, item_id, weight, datetime`; others are kept.
        items: item_ids of the catalogue, in order.

    Raises:
        DataError: `data-empty`; `catalogue-mismatch`, an item outside the catalogue.
    """
    table = index_events(events, items)
    last = table.last_items()
    has_two = np.bincount(table.first_users(), minlength=len(table.users)) > 1
    last = np.where(has_two, last, -1)
    held = table.items == last[table.users_of_row]
    return _split("full", events, table, items, held)


def ncf(
    events: pd.DataFrame,
    items: pd.Index[Any],
    rng: np.random.Generator,
    n_negatives: int = 99,
) -> Split:
    """Hold out as `leave_one_out` does, and sample negatives; protocol `ncf`.

    Negatives are distinct, uniform over the items that the user has neither a training
    nor a held-out event on; fewer than `n_negatives` (-1 behind them) where fewer exist.

    Raises:
        DataError: as `leave_one_out`.
    """
    return _with_negatives(leave_one_out(events, items), rng, n_negatives)


def published(
    train: pd.DataFrame,
    heldout: pd.DataFrame,
    negatives: NDArray[Any],
    items: pd.Index[Any],
) -> Split:
    """Take over a split that was published with its negatives; protocol `ncf`.

    Args:
        train: training events.
        heldout: one event for each user.
        negatives: `[len(heldout), n]` item_ids, row by row as in `heldout`. Repeats and the
            held-out item itself may occur (156 times in the NCF split of MovieLens-1M) and
            stay; ranking counts neither.
        items: item_ids of the catalogue, in order.

    Raises:
        DataError: `data-empty`; `data-format`, a user has two held-out items or trains on
            the held-out one, or rows do not agree; `catalogue-mismatch`.
    """
    if len(negatives) != len(heldout) or heldout["user_id"].duplicated().any():
        raise _inconsistent("needs one held-out event and one row of negatives for each user.")
    events = pd.concat([train, heldout], ignore_index=True)
    table = index_events(events, items)
    held = np.arange(len(events)) >= len(train)
    split = _split("ncf", events, table, items, held)
    if len(split.relevant.items) + split.left_out.no_train != len(heldout):
        raise _inconsistent("a held-out item is among the same user's training events.")
    codes = items.get_indexer(pd.Index(negatives.ravel())).reshape(negatives.shape)
    if (codes < 0).any():
        raise DataError(
            Code.CATALOGUE_MISMATCH, "a negative is not in the catalogue.", where="negatives"
        )
    rows = split.users.get_indexer(pd.Index(heldout["user_id"]))
    aligned = np.full((len(split.users), negatives.shape[1]), -1, dtype=np.int64)
    aligned[rows[rows >= 0]] = codes[rows >= 0]
    return _replace_negatives(split, aligned)


def from_published(events: pd.DataFrame, split: PublishedSplit, items: pd.Index[Any]) -> Split:
    """`published` from what the reader of the NCF split hands over.

    Args:
        events: its event table, training only.
        split: held-out items and negatives beside it.
        items: item_ids of the catalogue, in order.

    Raises:
        DataError: as `published`.
    """
    times = pd.Series(pd.NaT, index=range(len(split.user_ids)), dtype=events["datetime"].dtype)
    heldout = pd.DataFrame(
        {
            "user_id": pd.Series(split.user_ids, dtype="str"),
            "item_id": pd.Series(split.item_ids, dtype="str"),
            "weight": split.weights,
            "datetime": times,
        }
    )
    return published(events, heldout, split.negatives, items)


def temporal(
    events: pd.DataFrame,
    items: pd.Index[Any],
    *,
    at: pd.Timestamp | int | None = None,
    quantile: float = 0.9,
) -> Split:
    """Train on events before a moment; relevant are the user's later new items.

    Args:
        events: as for `leave_one_out`, every row with a time.
        items: item_ids of the catalogue, in order.
        at: first moment held out; default: the time at `quantile` of all events.
        quantile: share of events before the cut, in (0, 1).

    Raises:
        ConfigError: `config-invalid`, the quantile is outside (0, 1).
        DataError: `data-empty`, no event before or no new item after the cut;
            `data-format`, an event without a time; `catalogue-mismatch`.
    """
    if not 0.0 < quantile < 1.0:
        raise ConfigError(
            Code.CONFIG_INVALID, f"{quantile} is not inside (0, 1).", where="quantile"
        )
    if events["datetime"].isna().any():
        raise DataError(
            Code.DATA_FORMAT,
            "an event has no time.",
            where="datetime",
            remedy="Use protocol full, or leave such events out.",
        )
    table = index_events(events, items)
    times = events["datetime"]
    cut = times.sort_values().iloc[int(quantile * len(times))] if at is None else at
    held = (times >= cut).to_numpy()
    return _split("temporal", events, table, items, held)


def validation_split(split: Split, rng: np.random.Generator, n_negatives: int = 99) -> Split:
    """Split training events once more by the same protocol, to choose settings by.

    Under `ncf` negatives come from everything that is not in training, the item held out
    for the test included: leaving it out would tell the settings something about it. The
    published NCF training file carries no times; without them the hash decides which
    event is the last, so join the times of MovieLens-1M first if order matters.

    Args:
        split: its `train` alone is read.
        rng: draws negatives under `ncf`.
        n_negatives: negatives for each user under `ncf`.

    Raises:
        DataError: `data-empty`, nothing is left to train on or to hold out.
    """
    if split.protocol == "temporal":
        return temporal(split.train, split.items, quantile=split.train_share)
    inner = leave_one_out(split.train, split.items)
    return inner if split.protocol == "full" else _with_negatives(inner, rng, n_negatives)


def _split(
    protocol: ProtocolName,
    events: pd.DataFrame,
    table: Indexed,
    items: pd.Index[Any],
    held: NDArray[np.bool_],
) -> Split:
    """Assemble a split; held-out events on items in training are dropped, not moved."""
    trains = np.bincount(table.users_of_row[~held], minlength=len(table.users)) > 0
    users = table.users[trains]
    if not len(users):
        raise _empty("training")
    position = np.where(trains, np.cumsum(trains) - 1, -1)[table.users_of_row]
    histories = to_histories(table, position, ~held, len(users), len(items))
    heldout_rows = np.flatnonzero(held & (position >= 0))
    known = histories.user_of_event * len(items) + histories.items  # increasing
    wanted = position[heldout_rows] * len(items) + table.items[heldout_rows]
    place = np.searchsorted(known, wanted)
    heldout_rows = heldout_rows[known[np.minimum(place, len(known) - 1)] != wanted]
    if not len(heldout_rows):
        raise _empty("held-out")
    order = (table.tie[heldout_rows], table.times[heldout_rows], position[heldout_rows])
    heldout_rows = heldout_rows[np.lexsort(order)]
    kept = np.zeros(len(events), dtype=bool)
    kept[heldout_rows] = True
    relevant = to_histories(table, position, kept, len(users), len(items))
    return Split(
        protocol=protocol,
        users=users,
        items=items,
        train=events[~held].reset_index(drop=True),
        heldout=events.iloc[heldout_rows].reset_index(drop=True),
        histories=histories,
        relevant=relevant,
        negatives=None,
        left_out=LeftOut(int((relevant.lengths == 0).sum()), int((~trains).sum())),
        train_share=float((~held).mean()),
    )


def _with_negatives(split: Split, rng: np.random.Generator, n_negatives: int) -> Split:
    """Sample negatives, apart from training and held-out items."""
    both = union(split.histories, split.relevant)
    negatives = sample_negatives(both, n_negatives, rng)
    negatives[split.relevant.lengths == 0] = -1
    return _replace_negatives(split, negatives)


def _replace_negatives(split: Split, negatives: Ints) -> Split:
    return replace(split, protocol="ncf", negatives=negatives)


def _empty(part: str) -> DataError:
    return DataError(
        Code.DATA_EMPTY,
        f"no {part} event is left after the split.",
        where=part,
        remedy="Give more events per user, or another protocol or cut.",
    )


def _inconsistent(message: str) -> DataError:
    return DataError(
        Code.DATA_FORMAT, message, where="heldout", remedy="Fetch the published split again."
    )

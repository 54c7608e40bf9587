"""Means with intervals for all users and for groups of them: who gains, who does not.

Tables are long: a row for each group and metric, columns `group, least, most, users,
metric, mean, low, high`; `least` and `most` bound what the group was made by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from common.arrays import Floats
from common.errors import Code, DataError
from common.evaluation.bootstrap import Interval, mean_interval
from common.evaluation.evaluate import metric_columns

__all__ = [
    "by_activity",
    "by_client",
    "by_popularity",
    "by_shop_size",
    "intervals",
    "paired_difference",
]

_TERTILES: Final = ("low", "middle", "high")
_SIZE_EDGES: Final = (1, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000)


def intervals(per_user: pd.DataFrame, rng: np.random.Generator) -> dict[str, Interval]:
    """95% interval of the mean of every metric."""
    columns = metric_columns(per_user)
    return {name: mean_interval(per_user[name].to_numpy(), rng) for name in columns}


def by_activity(per_user: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """By tertile of the user's training events."""
    return _by_tertile(per_user, "activity", rng)


def by_popularity(per_user: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """By tertile of the popularity of the held-out items: each holds a third of the users."""
    return _by_tertile(per_user, "popularity", rng)


def by_client(
    per_user: pd.DataFrame, client_of: Mapping[str, str], rng: np.random.Generator
) -> pd.DataFrame:
    """By client; `least` and `most` are both the number of its users in `client_of`.

    Args:
        per_user: of an `Evaluation`.
        client_of: client of every user_id, users without a figure included.
        rng: for the intervals.

    Raises:
        DataError: `data-partition`, an evaluated user has no client.
    """
    clients, sizes = _clients(per_user, client_of)
    return _table(per_user, clients, sizes, sorted(set(clients)), rng)


def by_shop_size(
    per_user: pd.DataFrame, client_of: Mapping[str, str], rng: np.random.Generator
) -> pd.DataFrame:
    """By the number of users of the client, in bins from 1, 10, 30, 100, 300, … users on.

    A column `shops` counts the clients of a bin. Groups are named by their smallest and
    largest client. Arguments and errors as in `by_client`.
    """
    clients, sizes = _clients(per_user, client_of)
    bins = np.searchsorted(_SIZE_EDGES, sizes, side="right")
    names = {b: _span(sizes[bins == b]) for b in np.unique(bins)}
    groups = np.array([names[b] for b in bins], dtype=object)
    table = _table(per_user, groups, sizes, list(names.values()), rng)
    shops = {name: len(set(clients[groups == name])) for name in names.values()}
    table.insert(3, "shops", table["group"].map(shops))
    return table


def paired_difference(
    per_user: pd.DataFrame, other: pd.DataFrame, metric: str, rng: np.random.Generator
) -> Interval:
    """Interval of the mean of `per_user - other` over the users that are in both."""
    both = per_user[["user_id", metric]].merge(other[["user_id", metric]], on="user_id")
    return mean_interval((both[f"{metric}_x"] - both[f"{metric}_y"]).to_numpy(), rng)


def _by_tertile(per_user: pd.DataFrame, column: str, rng: np.random.Generator) -> pd.DataFrame:
    """Equal values stay together, in the lower group; an empty group has no rows."""
    values = per_user[column].to_numpy(dtype=np.float64)
    edges = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    place = np.searchsorted(edges, values, side="left")
    groups = np.array(_TERTILES, dtype=object)[place]
    return _table(per_user, groups, values, list(_TERTILES), rng)


def _clients(
    per_user: pd.DataFrame, client_of: Mapping[str, str]
) -> tuple[np.ndarray[Any, Any], Floats]:
    """Client of each evaluated user, and how many users it has."""
    clients = per_user["user_id"].map(dict(client_of))
    if clients.isna().any():
        user = per_user["user_id"][clients.isna()].iloc[0]
        raise DataError(
            Code.DATA_PARTITION,
            f"user {user!r} belongs to no client.",
            where="client_of",
            remedy="Name a client for every user of the split.",
        )
    sizes = clients.map(Counter(client_of.values())).astype("float64")
    return np.asarray(clients, dtype=object), np.asarray(sizes)


def _span(sizes: Floats) -> str:
    least, most = int(sizes.min()), int(sizes.max())
    return str(least) if least == most else f"{least}–{most}"


def _table(
    per_user: pd.DataFrame,
    groups: np.ndarray[Any, Any],
    values: Floats,
    order: list[str],
    rng: np.random.Generator,
) -> pd.DataFrame:
    rows = []
    for group in order:
        chosen = groups == group
        if not chosen.any():
            continue
        bounds = {"least": values[chosen].min(), "most": values[chosen].max()}
        for metric, interval in intervals(per_user[chosen], rng).items():
            rows.append({"group": group, **bounds, "metric": metric, **vars(interval)})
    columns = ["group", "least", "most", "users", "metric", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)

"""What joining is worth: every method against shops that stay alone, by size of shop."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.evaluation.bootstrap import Interval, mean_interval
from common.evaluation.groups import by_shop_size, paired_difference
from simulations.measure import Measured

__all__ = ["METRIC", "Gain", "gain_by_shop_size", "gain_of_all"]

METRIC = "hr@10"


@dataclass(frozen=True)
class Gain:
    """Quality at shops of about one size, and what their users gained.

    Attributes:
        label: smallest and largest shop, `60–189`; of one size `60`; `all`.
        shops: clients of this size with an evaluated user.
        users: of these clients, evaluated or not.
        means: hit rate at ten by method, every method that was evaluated.
        gains: `joint` and `shop` minus `alone`, over paired users.
    """

    label: str
    shops: int
    users: int
    means: dict[str, Interval]
    gains: dict[str, Interval]

    @property
    def evaluated(self) -> int:
        """Users that the means are over."""
        return self.means["alone"].users


def gain_by_shop_size(measured: Measured, rng: np.random.Generator) -> tuple[Gain, ...]:
    """One `Gain` for each size of shop, small ones first, in the bins of `by_shop_size`.

    Args:
        measured: evaluations of `alone`, `joint` and `shop` at least, on the same users.
        rng: for the intervals.

    Raises:
        DataError: `data-partition`, an evaluated user has no client.
    """
    table = by_shop_size(_values(measured, "alone"), measured.client_of, rng)
    clients = pd.Series(measured.client_of)
    sizes = clients.map(clients.value_counts())
    bins = table.sort_values("least").set_index("group")[["least", "most"]]
    return tuple(
        _gain(measured, str(label), clients[(sizes >= least) & (sizes <= most)], rng)
        for label, (least, most) in zip(bins.index, bins.to_numpy(), strict=True)
    )


def gain_of_all(measured: Measured, rng: np.random.Generator) -> Gain:
    """The same over all shops; the label is `all`."""
    return _gain(measured, "all", pd.Series(measured.client_of), rng)


def _gain(measured: Measured, label: str, clients: pd.Series, rng: np.random.Generator) -> Gain:
    """Of the users in `clients`, the client by user id."""
    everybody = {name: _values(measured, name) for name in measured.evaluations}
    values = {name: _of(frame, set(clients.index)) for name, frame in everybody.items()}
    present = set(clients[clients.index.isin(values["alone"]["user_id"])])
    return Gain(
        label,
        shops=len(present),
        users=int(clients.isin(present).sum()),
        means={n: mean_interval(frame[METRIC].to_numpy(), rng) for n, frame in values.items()},
        gains={
            name: paired_difference(values[name], values["alone"], METRIC, rng)
            for name in ("joint", "shop")
        },
    )


def _values(measured: Measured, method: str) -> pd.DataFrame:
    return measured.evaluations[method].per_user[["user_id", METRIC]]


def _of(per_user: pd.DataFrame, users: Set[str]) -> pd.DataFrame:
    return per_user[per_user["user_id"].isin(users)]

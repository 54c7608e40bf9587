"""What joining is worth, by size of shop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.arrays import Floats
from common.errors import DataError
from common.evaluation.evaluate import Evaluation
from common.evaluation.groups import by_shop_size
from common.evaluation.protocols import LeftOut
from common.evaluation.totals import Totals
from simulations.gains import Gain, gain_by_shop_size, gain_of_all
from simulations.measure import Measured

CLIENTS = {f"big-{n}": "big" for n in range(200)}
CLIENTS |= {f"small-{n}": f"small-{n % 3}" for n in range(120)}
CLIENTS |= {f"silent-{n}": "silent" for n in range(40)}
EVALUATED = [user for user in CLIENTS if not user.startswith("silent") and user != "big-0"]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def evaluation(values: Floats) -> Evaluation:
    frame = pd.DataFrame({"user_id": EVALUATED, "hr@10": values})
    return Evaluation("full", 10, frame, Totals.empty(1), LeftOut(41, 0))


def measured() -> Measured:
    """`shop` is as good as `alone` at the big shop and better at the small ones."""
    small = np.array([user.startswith("small") for user in EVALUATED])
    place = np.arange(len(EVALUATED))
    hits = {
        "joint": place % 4 == 0,
        "shop": (place % 4 == 0) | (small & (place % 4 == 1)),
        "alone": place % 4 == 0,
        "random": place % 10 == 0,
    }
    evaluations = {name: evaluation(values.astype(float)) for name, values in hits.items()}
    return Measured(evaluations, {}, CLIENTS)


def by_label() -> dict[str, Gain]:
    return {group.label: group for group in gain_by_shop_size(measured(), rng())}


def test_small_shops_come_first_and_carry_the_labels_of_the_bins() -> None:
    alone = measured().evaluations["alone"].per_user
    bins = by_shop_size(alone, CLIENTS, rng()).sort_values("least")["group"]
    assert list(by_label()) == list(bins) == ["40", "200"]


def test_shops_and_users_are_counted_beside_evaluated_users() -> None:
    found = {label: (g.shops, g.users, g.evaluated) for label, g in by_label().items()}
    assert found == {"40": (3, 120, 120), "200": (1, 200, 199)}


def test_means_are_over_the_users_of_the_group() -> None:
    everything = measured()
    for label, group in by_label().items():
        for name, evaluation in everything.evaluations.items():
            own = evaluation.per_user["user_id"].str.startswith("small") == (label == "40")
            assert group.means[name].mean == evaluation.per_user.loc[own, "hr@10"].mean()
            assert group.means[name].low <= group.means[name].mean <= group.means[name].high


def test_gains_are_paired() -> None:
    """Where two methods hit the same users the interval is a point, unlike those of the means."""
    small, big = by_label()["40"], by_label()["200"]
    assert small.gains["shop"].mean == pytest.approx(0.25)
    assert 0 < small.gains["shop"].low < 0.25 < small.gains["shop"].high
    assert (big.gains["shop"].low, big.gains["shop"].high) == (0.0, 0.0)
    assert big.means["shop"].low < big.means["shop"].high


def test_all_shops_together() -> None:
    everybody = gain_of_all(measured(), rng())
    assert (everybody.label, everybody.shops, everybody.users) == ("all", 4, 320)
    assert everybody.evaluated == len(EVALUATED)
    assert everybody.gains["shop"].mean == pytest.approx(30 / len(EVALUATED))


def test_a_user_without_a_client_is_an_error() -> None:
    strange = Measured(measured().evaluations, {}, {"big-1": "big"})
    with pytest.raises(DataError):
        gain_by_shop_size(strange, rng())

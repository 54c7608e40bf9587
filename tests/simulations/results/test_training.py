"""Training for the studies: the figures of one run."""

from __future__ import annotations

from typing import Any

import pytest

from simulations.measure import METHODS
from simulations.results.training import figures, train
from simulations.scenario import Scenario

MARKET = {"users": 60, "items": 40, "categories": 4, "shops": 2, "events_per_user": 8.0}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"epsilon": 8.0}, {"joint", "popularity", "noised-popularity"}),
        ({"mode": "none", "no_privacy": True}, {"joint", "popularity"}),
    ],
    ids=["local", "none"],
)
def test_figures_name_methods_as_everything_else_does(
    asked: dict[str, Any], names: set[str]
) -> None:
    small = {"marketplace": MARKET, "rounds": 2, "dim": 4, "min_users": 1, "clients": 2}
    found = figures(train(Scenario.load({**small, **asked})))
    for metric in ("hr@10", "ndcg@10"):
        methods = {k.removesuffix(f"_{metric}") for k in found if k.endswith(f"_{metric}")}
        assert methods == names <= set(METHODS)
        assert all(0 <= found[f"{name}_{metric}"] <= 1 for name in names)
    assert (found["epsilon_spent"] is None) == ("mode" in asked)
    assert found["megabytes"] > 0

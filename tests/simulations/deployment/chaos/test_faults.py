"""What is drawn: the same for the same seed, everything in the end, and within its bounds."""

from __future__ import annotations

import numpy as np

from simulations.deployment.chaos.campaign import Campaign
from simulations.deployment.chaos.faults import PLACES, draw

SHOPS = ("east", "north")


def test_one_to_three_faults_in_order_of_time_within_the_span() -> None:
    for seed in range(200):
        faults = draw(np.random.default_rng(seed), SHOPS, span_seconds=9.0, most_seconds=4.0)
        times = [fault.at_seconds for fault in faults]
        assert 1 <= len(faults) <= 3
        assert times == sorted(times)
        assert all(0 <= time <= 9 for time in times)
        assert all(0 < fault.for_seconds <= 4 for fault in faults)


def test_everything_happens_to_everybody_in_the_end() -> None:
    rng = np.random.default_rng(5)
    many = [f for _ in range(3000) for f in draw(rng, SHOPS, span_seconds=1, most_seconds=1)]
    assert {(f.place, f.kind) for f in many} == {
        (p, k) for p, kinds in PLACES.items() for k in kinds
    }
    of_shops = {place for place in PLACES if place in ("shop", "node", "task", "network")}
    assert {(f.place, f.shop) for f in many if f.shop} == {(p, s) for p in of_shops for s in SHOPS}
    assert all((f.shop is None) == (f.place not in of_shops) for f in many)
    assert all(f.said.startswith(f.kind) for f in many)


def test_a_run_is_the_same_whatever_was_run_before() -> None:
    campaign = Campaign(seed=7)
    assert campaign.faults(3, SHOPS) == campaign.faults(3, SHOPS)
    assert campaign.faults(3, SHOPS) != campaign.faults(4, SHOPS)
    assert campaign.faults(3, SHOPS) != Campaign(seed=8).faults(3, SHOPS)


def test_some_runs_sum_securely() -> None:
    modes = [Campaign(distributed_every=3).mode(run) for run in range(1, 7)]
    assert modes == ["local", "local", "distributed"] * 2
    assert {Campaign(distributed_every=0).mode(run) for run in range(1, 9)} == {"local"}
    assert Campaign().request(5).checked().mode == "distributed"

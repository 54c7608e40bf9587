"""Concentrated DP is looser than PLD wherever PLD has a say, and has one where PLD has none."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.privacy.accounting import epsilon, for_shops
from common.privacy.concentrated import CONCENTRATED, epsilon_by_concentration
from common.privacy.events import DistributedDiscreteGaussianEvent, GaussianSumEvent, NoPrivacyEvent
from common.privacy.gdp import gaussian_epsilon
from common.privacy.guarantees import shops_epsilon

DELTA = 1e-5


def plain(sigma: float = 2.0, **changes: Any) -> GaussianSumEvent:
    values = {
        "sampler": "exact", "sigma_grid": 1 << 26, "clip_grid": round((1 << 26) / sigma),
        "rows": 100, "width": 4, "sampling_rate": 1.0, "steps": 3,
    }  # fmt: skip
    return GaussianSumEvent.load({**values, **changes})


def secure(clip_grid: int = 26_830, **changes: Any) -> DistributedDiscreteGaussianEvent:
    """In words of 32 bits: its grid is coarse."""
    values = {
        "clients": 10, "threshold": 8, "colluders": 1, "share_variance": 762_665_666,
        "clip_grid": clip_grid, "word_bits": 32, "rows": 2000, "width": 34,
    }  # fmt: skip
    return DistributedDiscreteGaussianEvent.load({**values, **changes})


@given(st.floats(0.3, 50.0), st.integers(1, 20))
def test_it_is_above_the_exact_curve_and_not_far(sigma: float, steps: int) -> None:
    mu = math.sqrt(steps) * plain(sigma).noise_multiplier ** -1
    exact = gaussian_epsilon(mu, DELTA)
    found = epsilon_by_concentration([plain(sigma, steps=steps)], DELTA)
    assert exact <= found <= exact + 0.5 + 0.2 * exact


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9])
def test_it_is_the_best_order_that_a_grid_finds(delta: float) -> None:
    """ρ·α + log((α-1)/α) - (log δ + log α)/(α-1), as in the paper."""
    rho = 3 / (2 * plain().noise_multiplier ** 2)
    orders = (1 + 10 ** (k / 500) for k in range(-1500, 1500))
    best = min(
        a * rho + math.log1p(-1 / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders
    )
    assert epsilon_by_concentration([plain()], delta) == pytest.approx(best, rel=1e-4)


def test_sums_add_up_whoever_adds_the_noise() -> None:
    both = epsilon_by_concentration([plain(), secure()], DELTA)
    assert both > max(epsilon_by_concentration([one], DELTA) for one in (plain(), secure()))
    once = epsilon_by_concentration([plain(steps=6)], DELTA)
    assert epsilon_by_concentration([plain(), plain()], DELTA) == pytest.approx(once)


def test_a_secure_sum_is_priced_by_its_honest_shares() -> None:
    alone = epsilon_by_concentration([secure()], DELTA)
    assert epsilon_by_concentration([secure(colluders=3)], DELTA) > 1.1 * alone
    assert epsilon_by_concentration([secure(clip_grid=2 * 26_830)], DELTA) > 1.9 * alone


@pytest.mark.parametrize(
    "event",
    [plain(sampler="fast"), plain(sampling_rate=0.5), NoPrivacyEvent(rows=1, width=1, steps=1)],
    ids=["fast", "sampled", "no noise"],
)
def test_what_is_not_proven_is_infinite(event: Any) -> None:
    assert math.isinf(epsilon_by_concentration([event], DELTA))


def test_nothing_costs_nothing_and_far_too_much_is_infinite() -> None:
    assert epsilon_by_concentration([], DELTA) == 0.0
    assert math.isinf(epsilon_by_concentration([plain(steps=10**9)], DELTA))


def test_several_clients_have_a_figure_where_the_distance_takes_all_of_delta() -> None:
    events = [secure()] * 7
    assert math.isfinite(epsilon(events, DELTA))
    assert math.isinf(epsilon(for_shops(events, 3), DELTA))
    found, how = shops_epsilon(events, 3, DELTA)
    assert how == CONCENTRATED
    mu = 3 * math.sqrt(7) / secure().noise_multiplier
    assert gaussian_epsilon(mu, DELTA) < found < 1.15 * gaussian_epsilon(mu, DELTA)

from __future__ import annotations

import math

import numpy as np
import pytest

from common.evaluation import bootstrap
from common.evaluation.bootstrap import mean_interval


def slow_interval(values: np.ndarray, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    means = [np.mean(rng.choice(values, len(values))) for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("few", [True, False])
def test_both_ways_agree_with_drawing_users_one_by_one(few: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, 300) / 4.0 if few else rng.random(300)
    fast = mean_interval(values, np.random.default_rng(1), draws=4000)
    low, high = slow_interval(values, np.random.default_rng(2), 4000)
    width = high - low
    assert abs(fast.low - low) < 0.08 * width
    assert abs(fast.high - high) < 0.08 * width
    assert fast.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("few", [True, False])
def test_the_interval_covers_the_mean_as_often_as_it_says(few: bool) -> None:
    rng, covered, repeats = np.random.default_rng(3), 0, 400
    for _ in range(repeats):
        sample = rng.random(150)
        values = (sample < 0.4).astype(float) if few else sample
        interval = mean_interval(values, rng, draws=400)
        covered += interval.low <= (0.4 if few else 0.5) <= interval.high
    assert 0.92 <= covered / repeats <= 0.98


def test_users_without_a_value_are_left_out() -> None:
    interval = mean_interval(np.array([1.0, math.nan, 1.0]), np.random.default_rng(0))
    assert vars(interval) == {"mean": 1.0, "low": 1.0, "high": 1.0, "users": 2}
    nobody = mean_interval(np.array([math.nan]), np.random.default_rng(0))
    assert nobody.users == 0
    assert math.isnan(nobody.mean)


def test_blocks_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).random(200)
    whole = mean_interval(values, np.random.default_rng(6), draws=50)
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 7 * 200)
    assert mean_interval(values, np.random.default_rng(6), draws=50) == whole

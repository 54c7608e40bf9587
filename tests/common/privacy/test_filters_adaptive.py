"""A server that chooses what it asks for next by what it has seen gains nothing by it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from common.privacy.accounting import epsilon as pld_epsilon
from common.privacy.events import Event, GaussianSumEvent
from common.privacy.filters import (
    SLACK_SHARE,
    Cap,
    Filter,
    GdpFilter,
    RenyiFilter,
    best_order,
    total_cost,
)
from common.privacy.gdp import gaussian_delta


def gaussian(sigma: float, rate: float = 1.0, steps: int = 1, rows: int = 1) -> GaussianSumEvent:
    return GaussianSumEvent(
        sampler="exact",
        sigma_grid=2**26,
        clip_grid=int(2**26 / sigma),
        rows=rows,
        width=1,
        sampling_rate=rate,
        steps=steps,
    )


CAPS = st.builds(
    lambda epsilon, power: Cap(epsilon=epsilon, delta=10.0**power),
    st.floats(0.3, 10),
    st.floats(-9, -3),
)
SIGMAS = st.floats(-0.3, 2.5).map(lambda power: 10.0**power)
PLAIN = st.builds(gaussian, SIGMAS, steps=st.integers(1, 50), rows=st.integers(1, 10**5))
RARE = st.builds(gaussian, SIGMAS, st.floats(1e-4, 0.5), st.integers(1, 500))
FILTERS = st.one_of(
    CAPS.map(GdpFilter), CAPS.map(lambda cap: RenyiFilter(cap, best_order(cap)))
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    FILTERS,
    st.lists(st.one_of(PLAIN, RARE), min_size=1, max_size=10),
    st.lists(st.floats(1.05, 4), min_size=10, max_size=10),
)
def test_a_greedy_server_never_gets_past_the_cap(
    chosen: Filter, wishes: list[GaussianSumEvent], patience: list[float]
) -> None:
    """It takes what it can get, and asks for a little less after every refusal.

    The accountant is pessimistic by its grid: too much to tell at ε below 0.3, or where
    hundreds of sums are sampled at rates that hardly differ from 1.
    """
    got: list[Event] = []
    for wish, factor in zip(wishes, patience, strict=False):
        for asks in range(40):
            clip = max(1, int(wish.clip_grid / factor**asks))
            asked = wish.model_copy(update={"clip_grid": clip})
            if chosen.admits(total_cost(chosen, [*got, asked])):
                got.append(asked)
                break
    spent = total_cost(chosen, got)
    assert chosen.epsilon(spent) <= chosen.cap.epsilon * (1 + 1e-12)
    assert pld_epsilon(got, chosen.cap.delta) <= chosen.cap.epsilon


Loss = NDArray[np.float64]


def hockey_stick(mu: Loss, epsilon: Loss) -> Loss:
    """δ of N(μ, 1) against N(0, 1) at any ε, below 0 too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = ndtr(-epsilon / mu + mu / 2) - np.exp(epsilon) * ndtr(-epsilon / mu - mu / 2)
    return np.where(mu > 1e-9, found, np.maximum(0.0, -np.expm1(epsilon)))


def adaptive_delta(first: float, second: Callable[[Loss], Loss], epsilon: float) -> float:
    """δ(ε) of a release of μ = `first`, then one whose μ is chosen after seeing it.

    ∫ p(y) δ_{second(y)}(ε - loss(y)) dy: given the first output, the second release still
    has ε less what the first has already lost.
    """
    y, step = np.linspace(-12.0, first + 12.0, 200_001, retstep=True)
    density = np.exp(-((y - first) ** 2) / 2) / math.sqrt(2 * math.pi)
    lost = first * y - first**2 / 2
    return float(np.sum(density * hockey_stick(second(y), epsilon - lost)) * step)


@pytest.mark.parametrize("epsilon", [0.5, 4.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("quantile", [-3.0, 0.0, 2.0, 4.0])
def test_choosing_by_what_was_seen_gains_nothing(
    epsilon: float, share: float, quantile: float
) -> None:
    """The exact δ of fully adaptive servers that use a filter up, or stop.

    After a first release of `share` of the budget they go on if what they saw is above (or
    below) a threshold. Going on always is the worst they can do, and is what is paid for:
    to the last digit by the GDP filter, with something to spare by the Rényi filter.
    """
    cap = Cap(epsilon=epsilon, delta=1e-4)
    order = best_order(cap)
    promised = (1 - SLACK_SHARE) * cap.delta
    for budget in (GdpFilter(cap).bound, RenyiFilter(cap, order).bound * 2 / order):
        first, rest = math.sqrt(share * budget), math.sqrt((1 - share) * budget)
        worst = adaptive_delta(first, lambda y, mu=rest: np.full_like(y, mu), epsilon)
        assert worst <= promised * (1 + 1e-9)
        if budget == GdpFilter(cap).bound:
            assert worst == pytest.approx(promised, rel=1e-6)
        for sign in (1, -1):

            def goes_on(y: Loss, sign: int = sign, mu: float = rest) -> Loss:
                return np.where(sign * (y - quantile) > 0, mu, 0.0)

            assert adaptive_delta(first, goes_on, epsilon) <= worst * (1 + 1e-9)


def test_a_cap_on_what_one_looks_back_at_is_no_filter() -> None:
    """Why the bounds are fixed in advance: a server that tops up by the realised loss.

    It stops once the loss is far above ε, and else buys as much again. Its δ is beyond what
    the filter of its first purchase promises: the test above has the power to see that.
    """
    chosen = GdpFilter(Cap(epsilon=1.0, delta=1e-4))
    mu = math.sqrt(chosen.bound)
    topped_up = adaptive_delta(mu, lambda y: np.where(mu * y - mu**2 / 2 < 1.0, mu, 0.0), 1.0)
    assert topped_up > 2 * gaussian_delta(mu, 1.0)

"""Filters: what adds up, what is admitted, what the server's cleverness cannot change."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from common.errors import Code, LedgerError, PlanError
from common.privacy.accounting import epsilon as pld_epsilon
from common.privacy.accounting import rdp_epsilon, slack
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    GaussianSumEvent,
    NoPrivacyEvent,
)
from common.privacy.filters import (
    ORDERS,
    SLACK_SHARE,
    Cap,
    Cost,
    Filter,
    GdpFilter,
    RenyiFilter,
    best_order,
    how_many,
    make_filter,
    releases_left,
    total_cost,
)

CAP = Cap(epsilon=4.0, delta=1e-5)
BARE = NoPrivacyEvent(rows=1, width=1, steps=1)


def gaussian(
    sigma: float, rate: float = 1.0, steps: int = 1, *, rows: int = 1, sampler: str = "exact"
) -> GaussianSumEvent:
    grid = 2**26 if sampler == "exact" else 2**12
    return GaussianSumEvent(
        sampler=sampler,
        sigma_grid=grid,
        clip_grid=max(1, int(grid / sigma)),
        rows=rows,
        width=1,
        sampling_rate=rate,
        steps=steps,
    )


def secure(sigma: float, honest: int = 3, rows: int = 1) -> DistributedDiscreteGaussianEvent:
    return DistributedDiscreteGaussianEvent(
        clients=honest + 1,
        threshold=honest + 1,
        colluders=1,
        share_variance=2**50 // honest,
        clip_grid=min(max(1, int(2**25 / sigma)), 2**30),
        word_bits=64,
        rows=rows,
        width=1,
    )


CAPS = st.builds(
    lambda epsilon, power: Cap(epsilon=epsilon, delta=10.0**power),
    st.floats(0.05, 10),
    st.floats(-9, -3),
)
SIGMAS = st.floats(-0.3, 2.5).map(lambda power: 10.0**power)
PLAIN = st.builds(gaussian, SIGMAS, steps=st.integers(1, 50), rows=st.integers(1, 10**5))
SECURE = st.builds(secure, SIGMAS, st.integers(1, 100), st.integers(1, 10**5))
SAMPLED = st.builds(gaussian, SIGMAS, st.floats(1e-4, 1), st.integers(1, 500))
FILTERS = st.one_of(
    CAPS.map(GdpFilter), CAPS.map(lambda cap: RenyiFilter(cap, best_order(cap)))
)  # fmt: skip


@pytest.fixture(params=["gdp", "renyi"])
def chosen(request: pytest.FixtureRequest) -> Filter:
    return make_filter(CAP, None if request.param == "gdp" else best_order(CAP))


# what a release costs


@settings(max_examples=50, deadline=None)
@given(FILTERS, st.lists(st.one_of(PLAIN, SAMPLED, SECURE), max_size=6), st.integers(0, 6))
def test_costs_add_up_in_any_order(chosen: Filter, events: list[Event], cut: int) -> None:
    total = total_cost(chosen, events)
    assert total == total_cost(chosen, events[::-1])
    parts = total_cost(chosen, events[:cut]) + total_cost(chosen, events[cut:])
    assert parts.divergence == pytest.approx(total.divergence, rel=1e-14)
    assert parts.distance == pytest.approx(total.distance, rel=1e-14)


@settings(max_examples=50, deadline=None)
@given(FILTERS, SAMPLED, st.integers(1, 1000))
def test_steps_of_one_event_cost_as_much_as_events_of_one_step(
    chosen: Filter, event: GaussianSumEvent, count: int
) -> None:
    one = chosen.cost(event.model_copy(update={"steps": 1}))
    many = chosen.cost(event.model_copy(update={"steps": count}))
    assert many.divergence == pytest.approx(one.times(count).divergence, rel=1e-14)
    assert 0 < many.distance <= one.times(count).distance * (1 + 1e-9)


def test_the_gdp_filter_charges_sampled_sums_as_if_everybody_took_part() -> None:
    chosen = GdpFilter(CAP)
    event = gaussian(2.0, 0.01, 10)
    assert chosen.cost(event) == chosen.cost(gaussian(2.0, 1.0, 10))
    assert chosen.cost(event).divergence == pytest.approx(10 / 4, rel=1e-7)


def test_what_has_no_mechanism_is_never_admitted(chosen: Filter) -> None:
    cost = chosen.cost(BARE)
    assert cost.divergence == math.inf
    assert not chosen.admits(cost)
    assert chosen.epsilon(cost) == math.inf
    assert not chosen.admits(total_cost(chosen, [gaussian(100.0), BARE]))


@pytest.mark.parametrize(
    "changes",
    [{"steps": 10**400}, {"rows": 10**400}, {"steps": 10**300, "rows": 10**300}],
)
def test_more_than_a_float_can_count_is_never_admitted(
    chosen: Filter, changes: dict[str, int]
) -> None:
    cost = chosen.cost(gaussian(1e4).model_copy(update=changes))
    assert not chosen.admits(cost)
    assert chosen.epsilon(cost) == math.inf


def test_what_is_not_a_number_is_never_admitted(chosen: Filter) -> None:
    for cost in (Cost(math.nan, 0.0), Cost(0.0, math.nan), Cost(math.inf, 0.0)):
        assert not chosen.admits(cost)
        assert chosen.epsilon(cost) == math.inf


def test_a_count_gives_nothing_back() -> None:
    assert Cost(math.inf).times(0) == Cost()
    assert Cost(0.5, 0.25).times(2) == Cost(1.0, 0.5)
    with pytest.raises(LedgerError) as caught:
        Cost(1.0).times(-1)
    assert caught.value.code is Code.LEDGER_BROKEN


# what is admitted


def test_nothing_costs_nothing(chosen: Filter) -> None:
    assert chosen.admits(Cost())
    assert chosen.epsilon(Cost()) == 0.0


@settings(max_examples=100, deadline=None)
@given(FILTERS, st.floats(0, 3), st.floats(0, 1.1))
@example(GdpFilter(CAP), 1.0, 1.0)
@example(RenyiFilter(CAP, 6), 1.0, 1.0)
def test_admitted_is_what_costs_no_more_than_the_cap(
    chosen: Filter, part: float, distance_part: float
) -> None:
    total = Cost(part * chosen.bound, distance_part * chosen.distance_bound)
    found = chosen.epsilon(total)
    if chosen.admits(total):
        assert found <= chosen.cap.epsilon * (1 + 1e-12)
    elif total.distance <= chosen.distance_bound:
        assert found > chosen.cap.epsilon * (1 - 1e-12)


@settings(max_examples=100, deadline=None)
@given(FILTERS, st.floats(0, 3), st.floats(0, 0.5), st.floats(1, 2))
def test_epsilon_grows_with_the_cost_and_a_filter_for_it_admits(
    chosen: Filter, part: float, distance_part: float, more: float
) -> None:
    total = Cost(part * chosen.bound, distance_part * chosen.distance_bound)
    found = chosen.epsilon(total)
    assert chosen.epsilon(Cost(total.divergence * more, total.distance)) >= found
    assert chosen.epsilon(Cost(total.divergence, total.distance * more)) >= found
    assume(1e-3 < found < math.inf)
    wider = Cap(epsilon=found * (1 + 1e-8), delta=chosen.cap.delta)
    order = chosen.order if isinstance(chosen, RenyiFilter) else None
    assume(total.distance < 0.99 * make_filter(wider, order).distance_bound)
    assert make_filter(wider, order).admits(total)


@settings(max_examples=25, deadline=None)
@given(CAPS, st.lists(st.one_of(PLAIN, SECURE), min_size=1, max_size=5))
def test_the_gdp_filter_is_the_accountant_at_nine_tenths_of_delta(
    cap: Cap, events: list[Event]
) -> None:
    found = GdpFilter(cap).epsilon(total_cost(GdpFilter(cap), events))
    assume(found < 12)
    assert found >= pld_epsilon(events, cap.delta) - 2e-3  # PLD itself is pessimistic by that
    short = pld_epsilon(events, (1 - SLACK_SHARE) * cap.delta)
    assert found == pytest.approx(short, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("rate", "steps"), [(0.01, 500), (0.2, 60), (1.0, 3)])
def test_the_renyi_filter_lies_between_the_accountant_and_the_whole_of_delta(
    rate: float, steps: int
) -> None:
    event = gaussian(1.5 if rate < 1 else 3.0, rate, steps)
    cap = Cap(epsilon=8.0, delta=1e-5)
    best = min(
        RenyiFilter(cap, order).epsilon(RenyiFilter(cap, order).cost(event))
        for order in range(3, 64)
    )
    assert best >= pld_epsilon([event], cap.delta)
    assert best >= rdp_epsilon([event], (1 - SLACK_SHARE) * cap.delta) * (1 - 1e-9)
    assert best <= rdp_epsilon([event], (1 - SLACK_SHARE) * cap.delta) * 1.05  # integer orders


def test_the_share_of_the_samplers_is_held(chosen: Filter) -> None:
    """A sum so large that (1 + e^ε)·τ is over a tenth of δ is refused whatever its noise."""
    coarse = gaussian(1e3, rows=10**11, sampler="fast")
    cost = chosen.cost(coarse)
    assert cost.divergence < chosen.bound / 1000
    assert slack(cost.distance, CAP.epsilon) > SLACK_SHARE * CAP.delta
    assert not chosen.admits(cost)
    fine = Cost(0.0, chosen.distance_bound)
    assert slack(fine.distance, CAP.epsilon) <= SLACK_SHARE * CAP.delta
    assert chosen.admits(fine)


def test_all_of_delta_is_the_sum_of_both_parts(chosen: Filter) -> None:
    assert (1 - SLACK_SHARE) * CAP.delta + slack(chosen.distance_bound, CAP.epsilon) <= CAP.delta


# bounds that admit nothing


@pytest.mark.parametrize(
    ("cap", "order"),
    [
        (Cap(epsilon=1e-300, delta=1e-9), None),
        (Cap(epsilon=1e9, delta=1e-5), None),
        (Cap(epsilon=50.0, delta=1e-5), None),
        (Cap(epsilon=8.0, delta=5e-324), None),
        (Cap(epsilon=50.0, delta=1e-5), 2),
        (Cap(epsilon=1.0, delta=1e-5), 2),
        (Cap(epsilon=0.001, delta=1e-5), 1024),
    ],
)
def test_a_filter_that_admits_nothing_is_not_made(cap: Cap, order: int | None) -> None:
    with pytest.raises(PlanError) as caught:
        make_filter(cap, order)
    assert caught.value.code is Code.PLAN_UNREACHABLE


def test_an_order_that_costs_everything_is_told_a_better_one() -> None:
    with pytest.raises(PlanError, match=r"order 2 .* about 18"):
        RenyiFilter(Cap(epsilon=1.0, delta=1e-5), 2)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5])
def test_the_best_order_admits_most(epsilon: float, delta: float) -> None:
    cap = Cap(epsilon=epsilon, delta=delta)
    event = gaussian(1e3)

    def admitted(order: int) -> float:
        try:
            chosen = RenyiFilter(cap, order)
        except PlanError:
            return 0.0
        return chosen.bound / chosen.cost(event).divergence

    assert best_order(cap) == max(ORDERS, key=admitted)


# how much still fits


@settings(max_examples=100, deadline=None)
@given(FILTERS, st.lists(SAMPLED, min_size=1, max_size=4), st.floats(0, 1.2))
def test_how_many_is_exact(chosen: Filter, events: list[Event], spent: float) -> None:
    total = Cost(spent * chosen.bound, 0.0)
    count = how_many(chosen, total, events)
    one = total_cost(chosen, events)
    assert count == 0 or chosen.admits(total + one.times(count))
    assert not chosen.admits(total + one.times(count + 1))


@settings(max_examples=50, deadline=None)
@given(FILTERS, st.lists(st.one_of(PLAIN, SECURE), min_size=1, max_size=4))
def test_what_still_fits_is_what_fits_one_by_one(chosen: Filter, events: list[Event]) -> None:
    assume(how_many(chosen, Cost(), events) < 50)
    done: list[Event] = []
    for event in itertools.cycle(events):
        if not chosen.admits(total_cost(chosen, [*done, event])):
            break
        done.append(event)
    assert releases_left(chosen, Cost(), events) == len(done)
    assert how_many(chosen, Cost(), events) == len(done) // len(events)


def test_nothing_more_fits_what_is_overdrawn(chosen: Filter) -> None:
    events = [gaussian(100.0)]
    for total in (Cost(2 * chosen.bound), Cost(0.0, 2 * chosen.distance_bound), Cost(math.inf)):
        assert how_many(chosen, total, events) == 0
        assert releases_left(chosen, total, events) == 0
    assert how_many(chosen, Cost(), [BARE]) == 0


def test_no_releases_have_no_number(chosen: Filter) -> None:
    with pytest.raises(PlanError, match="nothing is released"):
        how_many(chosen, Cost(), [])

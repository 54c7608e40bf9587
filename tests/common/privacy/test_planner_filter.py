"""A plan made for (ε, δ) is admitted by a fresh filter for (ε, δ), whole and in parts."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, PlanError
from common.privacy.accounting import epsilon as pld_epsilon
from common.privacy.events import Event, event_of
from common.privacy.filters import (
    Cap,
    Cost,
    Filter,
    best_order,
    how_many,
    make_filter,
    releases_left,
    total_cost,
)
from common.privacy.plan import PrivacyPlan, ReleaseShape
from common.privacy.planner import epsilon_of, make_plan
from common.privacy.spending import cost_of

CAPS = st.builds(
    lambda epsilon, power: Cap(epsilon=epsilon, delta=10.0**power),
    st.floats(0.05, 8),
    st.floats(-8, -3),
)


def shapes_of(*, sampled: bool) -> st.SearchStrategy[list[ReleaseShape]]:
    one = st.fixed_dictionaries(
        {
            "rows": st.integers(1, 10**5),
            "width": st.integers(1, 64),
            "share": st.floats(0.01, 1),
            "steps": st.integers(1, 30),
            "sampling_rate": st.floats(0.01, 1) if sampled else st.just(1.0),
        }
    )
    return st.lists(one, min_size=1, max_size=4).map(
        lambda parts: [ReleaseShape(step=f"s.{i}", **part) for i, part in enumerate(parts)]
    )


def planned(shapes: list[ReleaseShape], cap: Cap, order: int | None = None) -> PrivacyPlan:
    return make_plan(
        shapes,
        epsilon=cap.epsilon,
        delta=cap.delta,
        unit="user",
        mode="local",
        population=2,
        renyi_order=order,
    )


def events_of(plan: PrivacyPlan) -> list[Event]:
    return [event_of(release) for release in plan.releases]


def assert_admitted(chosen: Filter, events: list[Event]) -> None:
    """Whole; release by release, in both orders; and as a client's index counts them."""
    assert chosen.admits(total_cost(chosen, events))
    for listed in (events, events[::-1]):
        spent = Cost()
        for event in listed:
            spent = spent + chosen.cost(event)
            assert chosen.admits(spent)
    tally: dict[str, int] = {}
    for event in events:
        text = event.model_dump_json()
        tally[text] = tally.get(text, 0) + 1
        assert chosen.admits(cost_of(chosen, tally))


def assert_aimed(chosen: Filter, events: list[Event]) -> None:
    """The larger ε of filter and accountant is the target, or just below it."""
    target, delta = chosen.cap.epsilon, chosen.cap.delta
    found = max(chosen.epsilon(total_cost(chosen, events)), pld_epsilon(events, delta))
    assert target * (1 - 1e-3) <= found <= target


@settings(max_examples=60, deadline=None)
@given(CAPS, shapes_of(sampled=False))
def test_a_fresh_gdp_filter_admits_the_plan(cap: Cap, shapes: list[ReleaseShape]) -> None:
    events = events_of(planned(shapes, cap))
    chosen = make_filter(cap)
    assert_admitted(chosen, events)
    assert_aimed(chosen, events)


@settings(max_examples=20, deadline=None)
@given(CAPS, shapes_of(sampled=True), st.integers(-3, 6))
def test_a_fresh_renyi_filter_admits_the_plan(
    cap: Cap, shapes: list[ReleaseShape], beside: int
) -> None:
    order = max(2, best_order(cap) + beside)
    try:
        chosen = make_filter(cap, order)
    except PlanError:
        with pytest.raises(PlanError):
            planned(shapes, cap, order)
        return
    try:
        events = events_of(planned(shapes, cap, order))
    except PlanError as error:  # rarely sampled sums may need less noise than a grid can say
        assert "next to no noise" in str(error)  # noqa: PT017
        return
    assert_admitted(chosen, events)
    assert_aimed(chosen, events)


@pytest.mark.parametrize("sampler", ["exact", "fast"])
@pytest.mark.parametrize("order", [None, 6])
def test_a_plan_uses_the_filter_up(sampler: Any, order: int | None) -> None:
    cap = Cap(epsilon=4.0, delta=1e-5)
    shapes = [
        ReleaseShape(step=f"s.{i}", rows=1000, width=8, share=1.0, sampler=sampler)
        for i in range(3)
    ]
    events, chosen = events_of(planned(shapes, cap, order)), make_filter(cap, order)
    assert how_many(chosen, Cost(), events) == 1
    assert releases_left(chosen, Cost(), events) == 3
    left = chosen.bound - total_cost(chosen, events).divergence
    # the exact grid is fine; multipliers of the fast one come in steps of some 2^-12
    assert left < chosen.bound * (1e-5 if sampler == "exact" else 1e-3)


def test_what_the_share_of_the_samplers_refuses_is_not_planned() -> None:
    """At the edge of the tenth of δ, planner and filter draw the same line."""
    shape = ReleaseShape(step="s.a", rows=1, width=1, share=1.0, sampler="fast")
    cap = Cap(epsilon=4.0, delta=1e-7)
    chosen = make_filter(cap)
    planned_rows = []
    for power in range(10, 40, 2):
        wide = shape.model_copy(update={"rows": 2**power})
        with contextlib.suppress(PlanError):
            assert chosen.admits(total_cost(chosen, events_of(planned([wide], cap))))
            planned_rows.append(power)
    assert 3 < len(planned_rows) < 15
    with pytest.raises(PlanError, match="tenth of δ"):
        planned([shape.model_copy(update={"rows": 2 ** (planned_rows[-1] + 2)})], cap)


def test_sampling_without_an_order_is_planned_by_the_accountant_alone() -> None:
    """Such a plan costs more at a client with a GDP filter, which does not see sampling."""
    cap = Cap(epsilon=2.0, delta=1e-5)
    shapes = [ReleaseShape(step="d.a", rows=100, width=4, share=1.0, steps=50, sampling_rate=0.1)]
    plan = planned(shapes, cap)
    assert cap.epsilon * (1 - 1.5e-4) <= epsilon_of(plan, cap.delta) <= cap.epsilon
    assert not make_filter(cap).admits(total_cost(make_filter(cap), events_of(plan)))


def test_an_order_takes_less_noise_where_users_are_sampled() -> None:
    """A GDP filter would need the noise of a plan without sampling."""
    cap = Cap(epsilon=2.0, delta=1e-5)
    sampled = ReleaseShape(step="d.a", rows=100, width=4, share=1.0, steps=50, sampling_rate=0.1)
    whole = sampled.model_copy(update={"sampling_rate": 1.0})
    renyi = planned([sampled], cap, best_order(cap)).releases[0].noise_multiplier
    gdp = planned([whole], cap).releases[0].noise_multiplier
    accountant = planned([sampled], cap).releases[0].noise_multiplier
    assert accountant < renyi < 1.15 * accountant < gdp / 3


@pytest.mark.parametrize(
    ("rate", "steps", "epsilon", "ratio"),
    [
        (0.2, 60, 0.5, 1.098),
        (0.2, 60, 4.0, 1.082),
        (0.05, 100, 1.0, 1.093),
        (0.05, 100, 4.0, 1.124),
    ],
)
def test_what_a_renyi_filter_costs_in_noise(
    rate: float, steps: int, epsilon: float, ratio: float
) -> None:
    """Figures of decision 0025: σ against that of a plan made by the accountant alone."""
    cap = Cap(epsilon=epsilon, delta=1e-5)
    shape = ReleaseShape(
        step="d", rows=3706, width=17, share=1.0, steps=steps, sampling_rate=rate, sampler="fast"
    )
    renyi = planned([shape], cap, best_order(cap)).releases[0].noise_multiplier
    accountant = planned([shape], cap).releases[0].noise_multiplier
    assert renyi / accountant == pytest.approx(ratio, abs=2e-3)


@pytest.mark.parametrize(("epsilon", "order"), [(1.0, 2), (0.001, 1024), (50.0, 4)])
def test_an_order_at_which_nothing_fits_is_not_planned(epsilon: float, order: int) -> None:
    shapes = [ReleaseShape(step="s.a", rows=10, width=1, share=1.0)]
    with pytest.raises(PlanError) as caught:
        planned(shapes, Cap(epsilon=epsilon, delta=1e-5), order)
    assert caught.value.code is Code.PLAN_UNREACHABLE


def test_without_privacy_the_order_says_nothing() -> None:
    shapes = [ReleaseShape(step="s.a", rows=10, width=1, share=1.0)]
    plan = make_plan(
        shapes, epsilon=None, delta=0.0, unit="user", mode="none", population=1, renyi_order=2
    )
    assert epsilon_of(plan, 1e-5) == math.inf

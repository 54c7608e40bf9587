"""What a filter charges for counted events, as a client's index keeps them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, LedgerError
from common.privacy.events import Event, GaussianSumEvent, NoPrivacyEvent
from common.privacy.filters import Cap, Cost, Filter, make_filter, total_cost
from common.privacy.spending import cost_of

CAP = Cap(epsilon=4.0, delta=1e-5)
EVENTS: list[Event] = [
    GaussianSumEvent(
        sampler="exact",
        sigma_grid=2**26,
        clip_grid=2**power,
        rows=power,
        width=2,
        sampling_rate=rate,
        steps=power,
    )
    for power in range(15, 25)
    for rate in (0.1, 1.0)
]


def text_of(event: Event) -> str:
    return json.dumps(event.model_dump(mode="json"), sort_keys=True)


@pytest.fixture(params=[None, 6])
def chosen(request: pytest.FixtureRequest) -> Filter:
    return make_filter(CAP, request.param)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=len(EVENTS)), st.sampled_from([None, 6]))
def test_counted_events_cost_what_they_cost_one_by_one(
    counts: list[int], order: int | None
) -> None:
    chosen = make_filter(CAP, order)
    pairs = list(zip(EVENTS, counts, strict=False))
    found = cost_of(chosen, {text_of(event): count for event, count in pairs})
    slow = total_cost(chosen, [event for event, count in pairs for _ in range(count)])
    assert found.divergence == pytest.approx(slow.divergence, rel=1e-12)
    assert found.distance == pytest.approx(slow.distance, rel=1e-12)
    backwards = {text_of(event): count for event, count in reversed(pairs)}
    assert cost_of(chosen, backwards) == found


def test_filters_do_not_share_what_they_remember() -> None:
    counts = {text_of(EVENTS[0]): 1}
    costs = {cost_of(make_filter(CAP, order), counts).divergence for order in (None, 6, 7)}
    assert len(costs) == 3


def test_nothing_costs_nothing(chosen: Filter) -> None:
    assert cost_of(chosen, {}) == Cost()
    bare = text_of(NoPrivacyEvent(rows=1, width=1, steps=1))
    assert cost_of(chosen, {text_of(EVENTS[0]): 0, bare: 0}) == Cost()


def test_one_release_without_a_mechanism_spoils_everything(chosen: Filter) -> None:
    bare = text_of(NoPrivacyEvent(rows=1, width=1, steps=1))
    assert not chosen.admits(cost_of(chosen, {text_of(EVENTS[0]): 1, bare: 1}))


@pytest.mark.parametrize(
    "counts",
    [
        {text_of(EVENTS[0]): -1},
        {"": 1},
        {"[]": 1},
        {"{}": 1},
        {'{"kind": "laplace"}': 1},
        {"[" * 100_000: 1},
        {text_of(EVENTS[0]).replace('"steps": 15', '"steps": -15'): 1},
        {text_of(EVENTS[0]).replace('"sampling_rate": 0.1', '"sampling_rate": NaN'): 1},
    ],
)
def test_what_is_no_event_or_no_count_is_a_broken_ledger(
    chosen: Filter, counts: dict[str, int]
) -> None:
    with pytest.raises(LedgerError) as caught:
        cost_of(chosen, counts)
    assert caught.value.code is Code.LEDGER_BROKEN

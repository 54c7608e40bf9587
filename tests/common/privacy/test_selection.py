"""What a choice of rows is charged as: one Gaussian mechanism of counts and values."""

import json
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm

from common.audit.recompute import recompute
from common.errors import Code, LedgerError, PlanError
from common.privacy.accounting import epsilon, for_shops, rdp_epsilon
from common.privacy.concentrated import epsilon_by_concentration
from common.privacy.events import (
    GaussianSumEvent,
    NoPrivacyEvent,
    SelectedSumEvent,
    event_of,
    read_event,
)
from common.privacy.filters import Cap, GdpFilter, RenyiFilter, total_cost
from common.privacy.plan import NoiseShares, PrivacyPlan, Release, ReleaseShape, RowSelection
from common.privacy.planner import epsilon_of, make_plan
from common.privacy.roster import Terms
from common.privacy.selection import halves

DELTA = 1e-6
CHOICE = RowSelection(share=0.2, clip_norm=3.0, threshold=5.0, dense_rows=4)
SHAPES = [
    ReleaseShape(step="s.count", rows=300, width=1, share=0.1),
    ReleaseShape(step="s.steps", rows=304, width=8, share=0.9, steps=5, selection=CHOICE),
]
SAMPLED = [SHAPES[0], SHAPES[1].model_copy(update={"sampling_rate": 0.2, "steps": 20})]


def release(**changes):
    values = {"step": "s.a", "rows": 50, "width": 3, "share": 1.0, "noise_multiplier": 1.5}
    return Release(**{**values, "selection": CHOICE, **changes})


def event(counts=2.0, values=1.0, **changes):
    """σ over clip norm of both halves, about."""
    fields = {
        "sampler": "exact",
        "sigma_grid": 2**26,
        "clip_grid": round(2**26 / values),
        "count_sigma_grid": 2**26,
        "count_clip_grid": round(2**26 / counts),
        "rows": 50,
        "width": 3,
        "dense_rows": 4,
        "sampling_rate": 1.0,
        "steps": 1,
    }
    return SelectedSumEvent(**{**fields, **changes})


def plain(sigma, **changes):
    fields = {"sampler": "exact", "sigma_grid": 2**26, "clip_grid": round(2**26 / sigma)}
    shape = {"rows": 50, "width": 3, "sampling_rate": 1.0, "steps": 1}
    return GaussianSumEvent(**{**fields, **shape, **changes})


# sizes


@settings(max_examples=100, deadline=None)
@given(st.floats(0.3, 20), st.floats(0.02, 0.98), st.sampled_from(["exact", "fast"]))
def test_both_halves_together_never_have_less_noise_than_planned(multiplier, share, sampler):
    choice = CHOICE.model_copy(update={"share": share})
    made = event_of(release(noise_multiplier=multiplier, selection=choice, sampler=sampler))
    counts = Fraction(made.count_clip_grid, made.count_sigma_grid) ** 2
    values = Fraction(made.clip_grid, made.sigma_grid) ** 2
    assert 1 / (counts + values) >= Fraction(multiplier) ** 2
    assert multiplier <= made.noise_multiplier <= multiplier * (1 + 2**-9)
    assert float(counts / (counts + values)) == pytest.approx(share, rel=2**-8)


@settings(max_examples=200, deadline=None)
@given(*4 * [st.integers(1, 2**30)])
def test_the_multiplier_is_the_largest_float_not_above_the_exact_one(s1, c1, s2, c2):
    found = event(sigma_grid=s2, clip_grid=c2, count_sigma_grid=s1, count_clip_grid=c1)
    precision = Fraction(c1, s1) ** 2 + Fraction(c2, s2) ** 2
    up = math.nextafter(found.noise_multiplier, math.inf)
    assert Fraction(found.noise_multiplier) ** 2 * precision <= 1 < Fraction(up) ** 2 * precision


def test_halves_have_their_shares():
    counts, values = halves(CHOICE, 2.0)
    assert 1 / counts**2 == pytest.approx(0.2 / 4)
    assert 1 / values**2 == pytest.approx(0.8 / 4)
    planned = release(clip_norm=0.5, noise_multiplier=2.0)
    assert planned.noise_std == pytest.approx(values * 0.5)
    assert planned.count_noise_std == pytest.approx(counts * CHOICE.clip_norm)
    assert release(selection=None).noise_std == 1.5
    assert release(selection=None).count_noise_std == 0


def test_all_noise_counts_even_what_is_seldom_drawn():
    made = event(steps=7)
    assert made.count_draws == 46 * 7
    assert made.value_draws == 150 * 7
    assert made.draws == 196 * 7
    apart = [
        plain(1.0, rows=46, width=1, steps=7).total_variation,
        plain(1.0, steps=7).total_variation,
    ]
    assert made.total_variation == pytest.approx(sum(apart), rel=1e-12)


def test_noise_without_a_grid_is_refused():
    for wrong in ({"noise_multiplier": 1e-9}, {"noise_multiplier": 60.0, "sampler": "fast"}):
        with pytest.raises(PlanError) as refused:
            event_of(release(**wrong))
        assert refused.value.code == Code.PLAN_UNREACHABLE


# stored form


def test_the_stored_form_stays():
    text = (
        '{"kind": "selected-gaussian-sum", "sampler": "exact", "sigma_grid": 300, '
        '"clip_grid": 200, "count_sigma_grid": 400, "count_clip_grid": 150, "rows": 10, '
        '"width": 4, "dense_rows": 2, "sampling_rate": 0.5, "steps": 3}'
    )
    found = read_event(json.loads(text))
    assert isinstance(found, SelectedSumEvent)
    assert found.noise_multiplier == pytest.approx(1 / math.hypot(200 / 300, 150 / 400))
    assert json.dumps(found.model_dump(mode="json")) == text


@pytest.mark.parametrize(
    "change",
    [
        {"dense_rows": 50}, {"dense_rows": -1}, {"clip_grid": 2**31}, {"count_clip_grid": 2**31},
        {"count_sigma_grid": 0}, {"sampling_rate": 0.0}, {"steps": 0}, {"threshold": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_bad_fields_are_refused(change):
    values = {**event().model_dump(mode="json"), **change}
    with pytest.raises(LedgerError) as refused:
        read_event(values)
    assert refused.value.code == Code.LEDGER_BROKEN


def test_what_has_no_choice_is_written_as_before_there_was_any():
    bare = release(selection=None)
    assert json.loads(bare.model_dump_json()).keys() == bare.model_dump().keys()
    assert bare.model_dump_json() == (
        '{"step":"s.a","rows":50,"width":3,"share":1.0,"clip_norm":1.0,"sampling_rate":1.0,'
        '"steps":1,"sampler":"exact","noise_multiplier":1.5,"shares":null}'
    )
    assert Release.load(bare.model_dump()) == bare
    chosen = release()
    assert Release.load(chosen.model_dump(mode="json")) == chosen


# price


def test_unsampled_halves_cost_what_they_cost_apart():
    """Gaussian mechanisms on everybody: one joint release is two in a row."""
    together, apart = [event(2.0, 1.0)], [plain(2.0), plain(1.0)]
    assert epsilon(together, DELTA) == pytest.approx(epsilon(apart, DELTA), abs=1e-6)
    assert recompute(together, DELTA).closed == pytest.approx(
        recompute(apart, DELTA).closed, abs=1e-6
    )


def test_halves_of_one_sample_cost_more_than_halves_of_two():
    """Whoever is in the counts is in the values: the coin is thrown once, and seen twice."""
    sampled = {"sampling_rate": 0.1, "steps": 40}
    together = [event(1.0, 1.0, **sampled)]
    apart = [plain(1.0, **sampled), plain(1.0, **sampled)]
    assert epsilon(together, DELTA) > 1.1 * epsilon(apart, DELTA)


@pytest.mark.parametrize("sampled", [{}, {"sampling_rate": 0.05, "steps": 30}], ids=str)
def test_every_accountant_prices_it(sampled):
    one = event(3.0, 1.2, **sampled)
    same = plain(1 / math.hypot(1 / 3, 1 / 1.2), **sampled)
    found, other = recompute([one], DELTA), recompute([same], DELTA)
    assert found.agrees
    assert found.pld == pytest.approx(other.pld, abs=1e-4)
    assert found.prv == pytest.approx(other.prv, abs=1e-4)
    assert (found.closed is None) == bool(sampled)
    assert found.sums == one.steps
    assert rdp_epsilon([one], DELTA) == pytest.approx(rdp_epsilon([same], DELTA), rel=1e-4)
    cap = Cap(epsilon=20.0, delta=DELTA)
    for chosen in (GdpFilter(cap), RenyiFilter(cap, 6)):
        cost, like = chosen.cost(one), chosen.cost(same)
        assert cost.divergence == pytest.approx(like.divergence, rel=1e-6)
        assert cost.distance == one.total_variation
    assert [e.steps for e in for_shops([one], 3)] == [3 * one.steps]


def test_concentrated_dp_adds_up_both_halves():
    together, apart = [event(2.0, 1.0)], [plain(2.0), plain(1.0)]
    found = epsilon_by_concentration(together, DELTA)
    assert found == pytest.approx(epsilon_by_concentration(apart, DELTA), rel=1e-6)
    assert found > epsilon(together, DELTA)
    for unproven in ({"sampler": "fast", "sigma_grid": 2**12}, {"sampling_rate": 0.5}):
        assert math.isinf(epsilon_by_concentration([event(**unproven)], DELTA))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 10**400}, {"steps": 10**30}, {"sigma_grid": 1}, {"count_sigma_grid": 3},
        {"sigma_grid": 10**300}, {"count_sigma_grid": 10**400, "sigma_grid": 10**400},
        {"steps": 10**15, "sampling_rate": 0.5}, {"rows": 10**400},
    ],
    ids=lambda change: ", ".join(change),
)  # fmt: skip
def test_numbers_that_nobody_planned_with_are_infinite_or_right(change):
    found = recompute([event(**change)], DELTA)
    assert math.isinf(found.pld) or found.agrees


# the promise itself, for one row of one column, by integration


def outputs(one, tau, rate):
    """Law of what leaves with and without one user: the chance of nothing, and a density."""
    grid = np.linspace(-9, 10, 40_001)
    laws = []
    for inside in (0.0, rate):
        parts = []
        for shift, weight in ((0.0, 1 - inside), (1.0, inside)):
            kept = norm.sf((tau - shift) * one.count_clip_grid / one.count_sigma_grid)
            sigma = one.sigma_grid / one.clip_grid
            density = kept * norm.pdf(grid, shift, sigma) * (grid[1] - grid[0])
            parts.append(weight * np.concatenate([[1 - kept], density]))
        laws.append(sum(parts))
    return laws


def hockey_stick(p, q, epsilon):
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("tau", [-8.0, 0.5, 1.5])
@pytest.mark.parametrize(("counts", "values"), [(1.0, 1.0), (0.7, 3.0), (3.0, 0.8)])
def test_what_leaves_is_within_what_is_charged(counts, values, tau, rate):
    one = event(counts, values, rows=1, width=1, dense_rows=0, sampling_rate=rate)
    without, having = outputs(one, tau, rate)
    for delta in (1e-4, 1e-2, 0.1):
        at = epsilon([one], delta)
        assert hockey_stick(having, without, at) <= delta
        assert hockey_stick(without, having, at) <= delta


def test_the_counts_are_not_free():
    """Charged for its values alone, the same release breaks its promise."""
    one = event(0.7, 3.0, rows=1, width=1, dense_rows=0)
    without, having = outputs(one, 0.5, 1.0)
    at = epsilon([plain(3.0)], 1e-2)
    assert hockey_stick(having, without, at) > 0.1


# plans

plan = partial(make_plan, delta=DELTA, unit="user", mode="local", population=10_000)


@pytest.mark.parametrize("target", [0.5, 2.0, 8.0])
def test_a_plan_meets_its_target_by_filter_accountant_and_recompute(target):
    found = plan(SHAPES, epsilon=target)
    events = [event_of(one) for one in found.releases]
    assert {one.kind for one in events} == {"gaussian-sum", "selected-gaussian-sum"}
    chosen = GdpFilter(Cap(epsilon=target, delta=DELTA))
    assert target * (1 - 1e-5) <= chosen.epsilon(total_cost(chosen, events)) <= target
    again = recompute(events, DELTA)
    assert again.agrees
    assert target * 0.97 <= again.pld <= target
    assert PrivacyPlan.load(found.model_dump(mode="json")) == found


@pytest.mark.parametrize("order", [None, 12])
def test_a_sampled_plan_meets_its_target(order):
    found = plan(SAMPLED, epsilon=2.0, renyi_order=order)
    events = [event_of(one) for one in found.releases]
    assert epsilon_of(found, DELTA) <= 2.0
    assert recompute(events, DELTA).agrees
    if order is None:
        assert epsilon_of(found, DELTA) >= 2.0 * (1 - 2e-4)
    else:
        chosen = RenyiFilter(Cap(epsilon=2.0, delta=DELTA), order)
        assert chosen.admits(total_cost(chosen, events))


def test_a_choice_takes_its_share_and_no_more():
    """The values have √(1/(1 - share)) times the noise that they would have without."""
    bare = [SHAPES[0], SHAPES[1].model_copy(update={"selection": None})]
    chosen, without = plan(SHAPES, epsilon=2.0).releases[1], plan(bare, epsilon=2.0).releases[1]
    assert chosen.noise_multiplier == pytest.approx(without.noise_multiplier, rel=1e-4)
    assert chosen.noise_std == pytest.approx(without.noise_std / math.sqrt(0.8), rel=1e-4)


def test_without_privacy_there_is_nothing_to_charge():
    found = plan(SHAPES, epsilon=None, mode="none", delta=0.0)
    assert event_of(found.releases[1]) == NoPrivacyEvent(rows=304, width=8, steps=5)


def test_where_no_choice_is_proven_it_is_refused():
    single = [SHAPES[1].model_copy(update={"steps": 1})]
    with pytest.raises(PlanError, match="choice of rows") as refused:
        plan(single, epsilon=2.0, mode="distributed", terms=Terms(5, 4, 1))
    assert refused.value.code == Code.PLAN_MODE
    with pytest.raises(PlanError) as refused:
        plan(SHAPES, epsilon=2.0, unit="interaction")
    assert refused.value.code == Code.PLAN_UNIT
    made = plan(SHAPES, epsilon=2.0)
    with pytest.raises(ValidationError, match="unit `user` only"):
        PrivacyPlan.model_validate({**made.model_dump(), "unit": "interaction"})
    shares = NoiseShares(clients=10, threshold=8, colluders=3, population=500, word_bits=64)
    with pytest.raises(ValidationError, match="noise is shared"):
        release(shares=shares)
    with pytest.raises(ValidationError, match="nothing to choose among"):
        release(rows=4)

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, PlanError
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.accounting import rdp_epsilon
from common.privacy.events import event_of
from common.privacy.filters import Cap, GdpFilter, total_cost
from common.privacy.plan import ReleaseShape
from common.privacy.planner import epsilon_of, guarantee_of, make_plan

DELTA = 6040**-1.1


def shape(step="subspace.round", **changes):
    values = {"step": step, "rows": 3706, "width": 16, "share": 1.0}
    return ReleaseShape(**{**values, **changes})


def plan_for(shapes, epsilon=4.0, **changes):
    values = {"delta": DELTA, "unit": "user", "mode": "local", "population": 6040}
    return make_plan(shapes, epsilon=epsilon, **{**values, **changes})


SUBSPACE = [shape("s.popularity", width=1, share=0.05), shape("s.one", share=0.4), shape("s.two")]
GRADIENT = [shape("d.steps", width=17, steps=60, sampling_rate=0.2, sampler="fast")]
MIXED = [shape("s.start"), shape("d.steps", steps=60, sampling_rate=0.2), shape("s.end", steps=3)]


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_plans_meet_the_target_of_the_filter_and_hardly_undershoot(epsilon):
    plan = plan_for(SUBSPACE, epsilon)
    chosen = GdpFilter(Cap(epsilon=epsilon, delta=DELTA))
    found = chosen.epsilon(total_cost(chosen, [event_of(release) for release in plan.releases]))
    assert epsilon * (1 - 1e-5) <= found <= epsilon


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_the_accountant_s_epsilon_is_about_a_percent_lower(epsilon):
    """By the tenth of δ that the filter sets aside: the figures of decision 0024."""
    plan = plan_for(SUBSPACE, epsilon)
    assert epsilon * 0.985 <= epsilon_of(plan, plan.delta) <= epsilon * 0.997


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0, 4.0, 8.0, 16.0])
def test_sampled_plans_without_an_order_meet_the_target_of_the_accountant(epsilon):
    plan = plan_for(MIXED, epsilon)
    found = epsilon_of(plan, plan.delta)
    assert epsilon * (1 - 1.5e-4) <= found <= epsilon


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_gradient_plans_meet_the_target(epsilon):
    plan = plan_for(GRADIENT, epsilon)
    # the multipliers of the fast grid are 1/4096 apart
    assert epsilon * (1 - 5e-4) <= epsilon_of(plan, plan.delta) <= epsilon
    assert rdp_epsilon([event_of(release) for release in plan.releases], plan.delta) >= epsilon


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.05, 8),
    st.floats(1e-8, 1e-5),
    st.lists(st.tuples(st.floats(0.01, 1), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_an_enforcing_accountant_never_refuses_a_plan_made_for_its_cap(epsilon, delta, parts):
    shapes = [shape(f"s.{i}", share=share, steps=n) for i, (share, n) in enumerate(parts)]
    plan = plan_for(shapes, epsilon, delta=delta)
    events = [event_of(release) for release in plan.releases]
    assert epsilon_of_events(events, delta) <= epsilon


def test_shares_are_shares_of_the_precision():
    plan = plan_for([shape("s.a", share=1.0), shape("s.b", share=3.0, steps=2)])
    precisions = [r.steps / r.noise_multiplier**2 for r in plan.releases]
    assert precisions[1] / precisions[0] == pytest.approx(3, rel=1e-3)
    scaled = plan_for([shape("s.a", share=10.0), shape("s.b", share=30.0, steps=2)])
    assert [r.noise_multiplier for r in scaled.releases] == [
        r.noise_multiplier for r in plan.releases
    ]


def test_more_privacy_takes_more_noise():
    noise = [plan_for(MIXED, eps).releases[1].noise_multiplier for eps in (8.0, 4.0, 2.0, 1.0)]
    assert noise == sorted(noise)


def test_planning_twice_gives_the_same_plan():
    assert plan_for(MIXED) == plan_for(MIXED)


def test_clip_norm_does_not_change_the_multiplier():
    plain, scaled = plan_for([shape()]), plan_for([shape(clip_norm=20.0)])
    assert plain.releases[0].noise_multiplier == scaled.releases[0].noise_multiplier


def test_a_plan_keeps_what_was_asked():
    plan = plan_for(MIXED)
    for asked, planned in zip(MIXED, plan.releases, strict=True):
        kept = planned.model_dump(exclude={"noise_multiplier", "shares"})
        assert kept == asked.model_dump()


def test_guarantee_names_everything():
    guarantee = guarantee_of(plan_for(SUBSPACE))
    assert guarantee.epsilon == epsilon_of(plan_for(SUBSPACE), DELTA)
    assert (guarantee.delta, guarantee.unit, guarantee.mode) == (DELTA, "user", "local")
    assert not guarantee.reproducible_noise
    assert guarantee_of(plan_for(SUBSPACE), reproducible_noise=True).reproducible_noise


def test_without_privacy_there_is_no_noise_and_no_epsilon():
    plan = plan_for(SUBSPACE, None, mode="none", delta=0.0)
    assert plan.epsilon is None
    assert {release.noise_multiplier for release in plan.releases} == {0.0}
    assert epsilon_of(plan, 1e-5) == math.inf


REFUSED = [
    (Code.PLAN_EPSILON, {"epsilon": 0.0}),
    (Code.PLAN_EPSILON, {"epsilon": -1.0}),
    (Code.PLAN_EPSILON, {"epsilon": math.inf}),
    (Code.PLAN_EPSILON, {"epsilon": math.nan}),
    (Code.PLAN_DELTA, {"delta": 0.0}),
    (Code.PLAN_DELTA, {"delta": -1e-5}),
    (Code.PLAN_DELTA, {"delta": 1 / 6040}),
    (Code.PLAN_DELTA, {"delta": math.nan}),
    (Code.PLAN_DELTA, {"population": 0}),
    (Code.PLAN_UNIT, {"unit": "interaction"}),
    (Code.PLAN_MODE, {"mode": "none"}),
    (Code.PLAN_MODE, {"epsilon": None}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 200.0}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 1e-9}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 1e-300}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 1e9}),
    (Code.PLAN_UNREACHABLE, {"delta": 5e-324}),
    (Code.PLAN_UNREACHABLE, {"shapes": []}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(rows=10**400)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(steps=10**400)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(sampling_rate=1e-200)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(sampling_rate=5e-324, steps=10**300)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape("s.a"), shape("s.b", share=1e-200)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(sampling_rate=5e-324)], "renyi_order": 6}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_what_cannot_be_planned_is_refused_with_a_code(code, changes):
    values = {"shapes": SUBSPACE, "epsilon": 4.0, **changes}
    with pytest.raises(PlanError) as refused:
        plan_for(**values)
    assert refused.value.code == code


def test_few_sums_of_few_users_are_planned_with_the_little_noise_that_they_need():
    """Where 1/rate² as a first guess is beyond the grid."""
    plan = plan_for([shape(sampling_rate=1 / 64)], 1.0, delta=1e-4, renyi_order=10)
    assert epsilon_of(plan, plan.delta) <= 1.0
    assert 0.5 < plan.releases[0].noise_multiplier < 1.5


def test_interaction_is_refused_by_the_solver_s_name():
    with pytest.raises(PlanError, match="subspace"):
        plan_for([shape("subspace.round")], unit="interaction")


def test_a_sampler_too_coarse_for_delta_is_refused():
    shapes = [shape(rows=10**6, width=64, steps=1000, sampler="fast")]
    with pytest.raises(PlanError, match="tenth of δ"):
        plan_for(shapes, 8.0)
    assert plan_for([shapes[0].model_copy(update={"sampler": "exact"})], 8.0)


def test_the_limit_of_the_exact_grid_is_refused_not_ignored():
    with pytest.raises(PlanError, match="tenth of δ"):
        plan_for(SUBSPACE, 12.0, delta=1e-10)

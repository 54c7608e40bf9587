"""Plans whose noise clients share: any terms, any ε, any population, or a reason why not."""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, PlanError, PolicyError
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    event_of,
    read_event,
)
from common.privacy.filters import Cap, GdpFilter, how_many, make_filter, total_cost
from common.privacy.plan import PrivacyPlan, ReleaseShape
from common.privacy.planner import epsilon_of, guarantee_of, make_plan
from common.privacy.roster import Terms
from tests.common.privacy.wrapping import chance_of_wrapping

TERMS = Terms(clients=10, threshold=8, colluders=1)
DELTA = 6040**-1.1


def shape(step="subspace.round", **changes):
    values = {"step": step, "rows": 3706, "width": 16, "share": 1.0}
    return ReleaseShape(**{**values, **changes})


SUBSPACE = [shape("s.popularity", width=1, share=0.05), shape("s.one", share=0.4), shape("s.two")]


def plan_for(shapes=SUBSPACE, epsilon=4.0, **changes):
    values = {"delta": DELTA, "unit": "user", "mode": "distributed", "population": 6040}
    return make_plan(shapes, epsilon=epsilon, **{**values, "terms": TERMS, **changes})


def events_of(plan):
    return [event_of(release) for release in plan.releases]


@st.composite
def safe_terms(draw: st.DrawFn) -> Terms:
    """Any that `Terms.check` lets pass."""
    clients = draw(st.integers(2, 2000))
    colluders = draw(st.integers(1, clients - 1))
    fewest = max((clients + colluders) // 2 + 1, colluders + 1)
    if fewest > clients:
        colluders, fewest = 1, (clients + 1) // 2 + 1
    return Terms(clients, draw(st.integers(min(fewest, clients), clients)), colluders)


def found_plan(shapes, epsilon, **changes):
    """A plan, or none because no noise or no grid would do."""
    try:
        return plan_for(shapes, epsilon, **changes)
    except PlanError as error:
        if error.code != Code.PLAN_UNREACHABLE:
            raise
        return None


@settings(max_examples=60, deadline=None)
@given(
    safe_terms(),
    st.floats(0.05, 14),
    st.integers(2, 10**8),
    st.floats(1.05, 1.5),
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(1, 32), st.floats(0.01, 1)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([None, None, 8]),
)
def test_every_wish_is_a_plan_that_its_filter_admits_or_is_refused(
    terms, epsilon, population, power, sizes, order
):
    shapes = [
        shape(f"s.{number}", rows=rows, width=width, share=share)
        for number, (rows, width, share) in enumerate(sizes)
    ]
    cap = Cap(epsilon=epsilon, delta=population**-power)
    plan = found_plan(
        shapes, epsilon, delta=cap.delta, population=population, terms=terms, renyi_order=order
    )
    if plan is None:
        return
    events = events_of(plan)
    chosen = make_filter(cap, order)
    assert how_many(chosen, total_cost(chosen, []), events) == 1
    for ordered in itertools.islice(itertools.permutations(events), 6):
        for done in range(len(ordered) + 1):
            assert chosen.admits(total_cost(chosen, ordered[:done]))
    assert epsilon_of(plan, plan.delta) <= epsilon
    assert PrivacyPlan.load(plan.model_dump(mode="json")) == plan
    for release, event in zip(plan.releases, events, strict=True):
        assert isinstance(event, DistributedDiscreteGaussianEvent)
        assert event.noise_multiplier >= release.noise_multiplier * (1 - 1e-15)
        assert Terms(event.clients, event.threshold, event.colluders) == terms
        assert read_event(json.loads(event.model_dump_json())) == event
        assert (
            chance_of_wrapping(release.shares, event.share_variance, event.clip_grid, event.draws)
            < 1e-20
        )


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0, 8.0, 16.0])
def test_plans_meet_the_target_of_the_filter_and_hardly_undershoot(epsilon):
    plan = plan_for(epsilon=epsilon)
    chosen = GdpFilter(Cap(epsilon=epsilon, delta=DELTA))
    assert epsilon * (1 - 1e-5) <= chosen.epsilon(total_cost(chosen, events_of(plan))) <= epsilon
    assert epsilon * 0.985 <= epsilon_of(plan, plan.delta) <= epsilon * 0.997


@pytest.mark.parametrize("epsilon", [0.5, 4.0, 12.0])
@pytest.mark.parametrize("terms", [TERMS, Terms(2, 2, 1), Terms(100, 80, 30), Terms(1000, 999, 9)])
def test_shares_together_have_the_noise_of_one_party(terms, epsilon):
    """Whatever the terms: what differs is the noise of everybody else, on top."""
    shared = plan_for(epsilon=epsilon, terms=terms)
    alone = make_plan(
        SUBSPACE, epsilon=epsilon, delta=DELTA, unit="user", mode="local", population=6040
    )
    for one, other in zip(shared.releases, alone.releases, strict=True):
        assert one.noise_multiplier == pytest.approx(other.noise_multiplier, rel=3e-4)


def test_words_are_short_where_that_takes_no_more_noise():
    """Few users leave room for a fine grid; a large ε, or many values, ask for a finer one."""
    sizes = {
        (population, epsilon): {event.word_bits for event in events_of(plan_for(
            epsilon=epsilon, population=population, delta=population**-1.1
        ))}
        for population in (500, 6040, 10**5, 10**7)
        for epsilon in (1.0, 8.0)
    }  # fmt: skip
    assert sizes[500, 1.0] == sizes[500, 8.0] == sizes[6040, 1.0] == {32}
    assert sizes[10**7, 1.0] == sizes[10**7, 8.0] == sizes[10**5, 8.0] == {64}


def test_short_words_never_mean_more_noise():
    for epsilon in (0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        few = plan_for(epsilon=epsilon, population=500)
        many = plan_for(epsilon=epsilon, population=9000)
        for one, other in zip(few.releases, many.releases, strict=True):
            assert one.noise_multiplier == other.noise_multiplier


def test_all_words_of_a_plan_have_one_size():
    for population in (6040, 50_000, 10**6):
        plan = plan_for(epsilon=4.0, population=population, delta=population**-1.1)
        assert len({release.shares.word_bits for release in plan.releases}) == 1


def test_multipliers_are_the_same_on_every_machine():
    """24 binary digits: what machines do to the last ones is rounded away."""
    for release in plan_for().releases:
        assert math.ldexp(math.frexp(release.noise_multiplier)[0], 24) % 1 == 0


def test_the_fast_sampler_is_never_used_for_shares():
    fast = [one.model_copy(update={"sampler": "fast"}) for one in SUBSPACE]
    assert events_of(plan_for(fast)) == events_of(plan_for())
    assert plan_for(fast).releases[0].sampler == "fast"  # what was asked stays as it was


def test_a_plan_keeps_what_was_asked():
    plan = plan_for()
    for asked, planned in zip(SUBSPACE, plan.releases, strict=True):
        assert planned.model_dump(exclude={"noise_multiplier", "shares"}) == asked.model_dump()
        assert (planned.shares.clients, planned.shares.honest) == (10, 7)
        assert planned.shares.population == 6040


def test_the_guarantee_names_whom_it_holds_against():
    guarantee = guarantee_of(plan_for())
    assert (guarantee.mode, guarantee.terms) == ("distributed", TERMS)
    assert "up to 1 colluding client" in str(guarantee)


REFUSED = [
    (Code.PLAN_MODE, {"shapes": [shape("d.steps", steps=60)]}),
    (Code.PLAN_MODE, {"shapes": [shape(), shape("d.steps", sampling_rate=0.2)]}),
    (Code.PLAN_MODE, {"terms": None}),
    (Code.PLAN_MODE, {"mode": "local"}),
    (Code.PLAN_MODE, {"mode": "none", "epsilon": None}),
    (Code.PLAN_MODE, {"epsilon": None}),
    (Code.PLAN_DELTA, {"delta": 1 / 6040}),
    (Code.PLAN_UNIT, {"unit": "interaction"}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 200.0}),
    (Code.PLAN_UNREACHABLE, {"epsilon": 1e-9}),
    (Code.PLAN_UNREACHABLE, {"population": 10**16, "delta": 1e-20}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape(rows=10**400)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": [shape("s.a"), shape("s.b", share=1e-200)]}),
    (Code.PLAN_UNREACHABLE, {"shapes": []}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_what_cannot_be_planned_is_refused_with_a_code(code, changes):
    with pytest.raises(PlanError) as refused:
        plan_for(**changes)
    assert refused.value.code == code


def test_local_steps_are_refused_by_the_release_s_name():
    with pytest.raises(PlanError, match=r"(?s)several local steps between sums.*d\.steps|d\.steps"):
        plan_for([shape(), shape("d.steps", steps=60)])


@pytest.mark.parametrize(
    "terms", [Terms(10, 5, 1), Terms(10, 8, 0), Terms(10, 8, 6), Terms(10, 11, 1), Terms(1, 1, 1)]
)
def test_terms_that_are_not_safe_are_refused(terms):
    with pytest.raises(PolicyError) as refused:
        plan_for(terms=terms)
    assert refused.value.code == Code.POLICY_THRESHOLD

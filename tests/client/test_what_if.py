"""What-if goes both ways: from ε to noise and from noise to ε, each the other's inverse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.what_if import Asked, WhatIf, main_release, what_if
from common.errors import Code, ConfigError, PlanError
from common.privacy.accounting import epsilon
from common.privacy.filters import Cap, make_filter, total_cost
from common.schedule import schedule_of

SAMPLED = {"rounds": 2, "local_steps": 3, "sampling_rate": 0.2}


def asked(**changes: Any) -> WhatIf:
    values = {"items": 200, "population": 2000, "delta": 1e-5, **changes}
    return what_if(Asked.load(values))


@pytest.mark.parametrize(
    "job",
    [
        {"solver": "subspace"},
        {"solver": "subspace", "settings": {"rounds": 2, "embedding_dim": 4}},
        {"solver": "subspace", "clients": 8, "evaluation_share": 0.1},
        {"solver": "popularity"},
        {"solver": "dpsgd", "settings": {"rounds": 2}},
        {"solver": "dpsgd", "settings": SAMPLED},
        {"solver": "dpsgd", "settings": SAMPLED, "renyi_order": 12},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", [1.0, 6.0])
def test_both_ways_are_inverse_to_each_other(job: dict[str, Any], target: float) -> None:
    there = asked(epsilon=target, **job)
    back = asked(noise_multiplier=there.noise_multiplier, **job)
    assert back.epsilon == pytest.approx(there.epsilon, rel=2e-3)
    assert there.epsilon == pytest.approx(target, rel=2e-3)
    again = asked(epsilon=back.epsilon, **job)
    assert again.noise_multiplier == pytest.approx(there.noise_multiplier, rel=2e-3)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.7, 20.0))
def test_the_noise_asked_for_is_the_noise_of_the_main_release(multiplier: float) -> None:
    found = asked(noise_multiplier=multiplier, settings={"rounds": 2, "embedding_dim": 4})
    assert found.noise_multiplier == pytest.approx(multiplier, rel=1e-4)
    assert found.noise_multiplier >= multiplier * (1 - 1e-12)


def test_more_noise_costs_less() -> None:
    costs = [asked(noise_multiplier=s).epsilon for s in (1.0, 2.0, 4.0, 8.0)]
    assert costs == sorted(costs, reverse=True)


def test_the_plan_is_that_of_the_job() -> None:
    found = asked(epsilon=4.0, settings={"rounds": 2})
    assert found.plan.releases == schedule_of(found.job).plan.releases
    assert found.pld == pytest.approx(epsilon(found.events, 1e-5))
    chosen = make_filter(Cap(epsilon=4.0, delta=1e-5))
    assert found.by_filter == pytest.approx(chosen.epsilon(total_cost(chosen, found.events)))
    assert chosen.admits(total_cost(chosen, found.events))


def test_a_sampled_plan_is_held_by_a_renyi_filter() -> None:
    assert "Rényi" in asked(epsilon=4.0, solver="dpsgd", settings=SAMPLED).filter.name
    assert asked(epsilon=4.0).filter.name == "GDP filter"


def test_the_main_release_has_the_largest_share() -> None:
    releases = asked(epsilon=4.0, settings={"rounds": 3}).plan.releases
    assert main_release(releases) == releases[-1]
    assert main_release(releases).share > releases[0].share


@pytest.mark.parametrize("given_", [{}, {"epsilon": 1.0, "noise_multiplier": 1.0}])
def test_one_of_both_must_be_given(given_: dict[str, float]) -> None:
    with pytest.raises(ConfigError) as raised:
        asked(**given_)
    assert raised.value.code is Code.CONFIG_INVALID


def test_noise_that_hides_nothing_has_no_epsilon() -> None:
    with pytest.raises(PlanError) as raised:
        asked(noise_multiplier=0.1)
    assert raised.value.code is Code.PLAN_UNREACHABLE


def test_an_unknown_solver_is_named() -> None:
    with pytest.raises(ConfigError):
        asked(epsilon=1.0, solver="magic")

"""What-if goes both ways: from ε to noise and from noise to ε, each the other's inverse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.what_if import Asked, WhatIf, main_release, total_noise, what_if
from common.errors import Code, ConfigError, PlanError, PolicyError
from common.privacy.accounting import epsilon
from common.privacy.events import DistributedDiscreteGaussianEvent
from common.privacy.filters import Cap, make_filter, total_cost
from common.privacy.roster import Terms
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
        {"solver": "dpsgd", "settings": {"rounds": 2, "row_selection": {"threshold": 9.0}}},
        {"solver": "subspace", "mode": "distributed", "clients": 10, "settings": {"rounds": 2}},
        {"solver": "dpsgd", "mode": "distributed", "clients": 5, "settings": {"rounds": 2}},
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


SECURE = {"mode": "distributed", "clients": 10, "settings": {"rounds": 2, "embedding_dim": 4}}


def test_a_plan_of_secure_sums_has_terms_and_one_sum_per_release() -> None:
    found = asked(epsilon=4.0, **SECURE)
    assert found.job.terms == Terms(10, 8, 1)
    assert found.plan.mode == "distributed"
    assert all(isinstance(event, DistributedDiscreteGaussianEvent) for event in found.events)
    assert found.pld <= 4.0
    assert found.plan.releases == schedule_of(found.job).plan.releases
    chosen = asked(epsilon=4.0, threshold=9, colluders=3, **SECURE)
    assert chosen.job.terms == Terms(10, 9, 3)


def test_a_user_of_several_clients_loses_by_the_mode() -> None:
    """Three releases add up to √3 times μ; one sum that moves by three clips is three times μ."""
    plain = {"clients": 10, "settings": SECURE["settings"]}
    one, local, secure = (
        asked(epsilon=2.0, **values).for_shops[0]
        for values in (plain, {**plain, "shops": 3}, {**SECURE, "shops": 3})
    )
    assert one == pytest.approx(2.0, rel=0.02)
    assert 1.7 * one < local < 2.5 * one
    assert secure > 1.5 * local


def test_signal_is_what_the_noise_of_a_total_leaves() -> None:
    secure, local = asked(epsilon=4.0, **SECURE).job, asked(epsilon=4.0, clients=10).job
    assert secure.signal == pytest.approx(2000 * (7 / 10) ** 0.5)
    assert local.signal == pytest.approx(2000 / 10**0.5)
    assert total_noise(10, Terms(10, 8, 1)) == pytest.approx((10 / 7) ** 0.5)
    assert total_noise(10, None) == pytest.approx(10**0.5)


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "distributed"},
        {"mode": "distributed", "clients": 10, "threshold": 5},
        {"mode": "distributed", "clients": 10, "colluders": 7},
    ],
    ids=["one client", "low threshold", "many colluders"],
)
def test_terms_that_are_not_safe_have_no_plan(values: dict[str, Any]) -> None:
    with pytest.raises(PolicyError) as raised:
        asked(epsilon=4.0, **values)
    assert raised.value.code is Code.POLICY_THRESHOLD


@pytest.mark.parametrize(
    "values", [{"threshold": 3}, {"colluders": 1}, {"mode": "none"}], ids=["t", "c", "none"]
)
def test_terms_without_secure_sums_are_no_plan(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        asked(epsilon=4.0, clients=5, **values)
    assert raised.value.code is Code.PLAN_MODE


def test_what_a_solver_cannot_do_in_secure_sums_is_said() -> None:
    with pytest.raises(PlanError) as raised:
        asked(epsilon=4.0, solver="dpsgd", mode="distributed", clients=5, settings=SAMPLED)
    assert raised.value.code is Code.PLAN_MODE

"""How updates are to be combined: what may be asked, of how many clients, in which steps."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from common.errors import Code, ConfigError, PlanError
from common.job import Job
from common.privacy.plan import ReleaseShape
from common.schedule import Schedule, facts_of
from common.solvers.aggregation import SERVER_STATE, Aggregation, Rule
from common.solvers.base import ArraySpec, Step
from common.solvers.dpsgd_settings import DpSgdSettings
from common.solvers.registry import make_solver

RULES: tuple[Rule, ...] = get_args(Rule)
ROBUST = {"krum", "multi-krum", "median", "trimmed-mean"}
SMALL = {"rounds": 2, "local_steps": 2, "embedding_dim": 3, "negatives": 5}


def job(clients: int = 7, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": "0" * 32, "catalogue_version": "c", "n_items": 40, "clients": clients,
        "population": 100 * clients, "signal": 260.0, "epsilon": 8.0, "delta": 1e-5,
        "solver": "dpsgd",
    }  # fmt: skip
    settings = {**SMALL, **changes.pop("settings", {})}
    return Job.load({**values, "settings": settings, **changes})


@pytest.mark.parametrize("rule", RULES)
def test_what_a_step_holds_are_these_settings_and_no_others(rule: Rule) -> None:
    chosen = DpSgdSettings(aggregation=rule, rounds=3)
    assert chosen.robust == (rule in ROBUST)
    assert chosen.moves == (rule in {"fedavgm", "fedadam"})
    if rule == "fedavg":
        assert chosen.combine is None
        return
    assert type(chosen.combine) is Aggregation
    assert chosen.combine == Aggregation(aggregation=rule)
    assert Aggregation.load(chosen.combine.model_dump(exclude_unset=True)) == chosen.combine


def test_given_values_reach_the_step() -> None:
    chosen = DpSgdSettings.load({"aggregation": "multi-krum", "byzantine": 2, "averaged": 4})
    assert chosen.combine == Aggregation(aggregation="multi-krum", byzantine=2, averaged=4)


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [
        ("fedavg", "byzantine", 2),
        ("fedavg", "server_learning_rate", 0.5),
        ("krum", "averaged", 3),
        ("median", "server_beta_1", 0.5),
        ("fedavgm", "server_tau", 0.5),
        ("fedadam", "byzantine", 2),
    ],
)
def test_a_value_that_would_be_ignored_is_refused(rule: str, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{rule!r} has no use for {name}") as caught:
        DpSgdSettings.load({"aggregation": rule, name: value})
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize(
    ("values", "least"),
    [
        ({}, 1),
        ({"aggregation": "fedadam"}, 1),
        ({"aggregation": "median"}, 3),
        ({"aggregation": "trimmed-mean", "byzantine": 3}, 7),
        ({"aggregation": "krum"}, 5),
        ({"aggregation": "krum", "byzantine": 2}, 7),
        ({"aggregation": "multi-krum", "byzantine": 2}, 7),
        ({"aggregation": "multi-krum", "byzantine": 2, "averaged": 5}, 9),
    ],
)
def test_too_few_clients_are_an_error_before_the_job_starts(
    values: dict[str, Any], least: int
) -> None:
    assert Aggregation.load(values).least_clients == least
    Schedule(job(least, settings=values))
    if least == 1:
        return
    with pytest.raises(ConfigError, match=f"takes {least} clients at least") as caught:
        Schedule(job(least - 1, settings=values))
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "fedavg"])
def test_secure_sums_hide_what_any_rule_but_the_average_looks_at(rule: Rule) -> None:
    secure = {"mode": "distributed", "roster": "0" * 64, "threshold": 6, "colluders": 1}
    with pytest.raises(PlanError, match="mode `distributed`") as caught:
        Schedule(job(settings={"aggregation": rule, "local_steps": 1}, **secure))
    assert caught.value.code is Code.PLAN_MODE


@pytest.mark.parametrize("kind", ["sum", "count"])
def test_sums_and_counts_are_not_combined_by_a_rule(kind: Any) -> None:
    shape = ReleaseShape(step="s", rows=4, width=1, share=1.0)
    with pytest.raises(PlanError, match=f"kind `{kind}`") as caught:
        Step(shape, {}, kind, combine=Aggregation(aggregation="median"))
    assert caught.value.code is Code.PLAN_MODE


@pytest.mark.parametrize("bound", [{"positive": True}, {"orthonormal": True}])
def test_an_optimiser_does_not_move_what_has_bounds_that_it_would_leave(bound: Any) -> None:
    shape, inputs = ReleaseShape(step="s", rows=4, width=1, share=1.0), {"a": ArraySpec((4,))}
    for rule in ("fedadam", "median"):
        Step(shape, inputs, "average", combine=Aggregation(aggregation=rule))  # type: ignore[arg-type]
    bounded = {"a": ArraySpec((4,), **bound)}
    Step(shape, bounded, "average", combine=Aggregation(aggregation="median"))
    with pytest.raises(PlanError, match="leave the bounds of a"):
        Step(shape, bounded, "average", combine=Aggregation(aggregation="fedadam"))


@pytest.mark.parametrize("rule", RULES)
def test_every_average_of_the_solver_has_the_rule_and_costs_the_same(rule: Rule) -> None:
    schedule, plain = Schedule(job(settings={"aggregation": rule})), Schedule(job())
    averages = [step for step in schedule.steps if step.aggregate == "average"]
    assert {step.combine for step in averages} == {DpSgdSettings(aggregation=rule).combine}
    assert (schedule.steps[0] in averages) == (rule in ROBUST)  # popularity too
    assert schedule.plan == plain.plan


@pytest.mark.parametrize("solver", ["neural", "sequential"])
def test_networks_are_combined_by_the_rule_too(solver: str) -> None:
    """Without privacy, so that nothing has to be planned."""
    plain = {"mode": "none", "epsilon": None, "delta": 0.0, "signal": 1.0, "settings": {}}
    facts = facts_of(job().model_copy(update=plain))
    steps = make_solver(solver, {"aggregation": "fedadam", "server_tau": 0.5}, facts).steps
    averages = {step.combine for step in steps if step.aggregate == "average"}
    assert averages == {Aggregation(aggregation="fedadam", server_tau=0.5)}
    with pytest.raises(ConfigError, match="takes 19 clients at least"):
        make_solver(solver, {"aggregation": "median", "byzantine": 9}, facts)


@pytest.mark.parametrize("solver", ["subspace", "ials", "popularity"])
def test_solvers_of_sums_know_no_aggregation(solver: str) -> None:
    with pytest.raises(ConfigError, match="aggregation") as caught:
        make_solver(solver, {"aggregation": "median"}, facts_of(job()))
    assert caught.value.code is Code.CONFIG_UNKNOWN_KEY


@pytest.mark.parametrize("rule", RULES)
def test_no_client_is_sent_what_the_server_keeps(rule: Rule) -> None:
    steps = Schedule(job(settings={"aggregation": rule}, evaluation_share=0.1)).steps
    assert not [name for step in steps for name in step.inputs if name.startswith(SERVER_STATE)]

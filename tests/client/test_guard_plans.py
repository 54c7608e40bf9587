"""Jobs that nobody can mean: a code, at once, and nothing reserved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common import schedule as schedule_module
from common.errors import Code
from common.protocol import OK, Reply, Task


def test_a_plan_of_too_many_releases_is_refused_before_it_is_made(
    shop: Any, monkeypatch: Any
) -> None:
    task, made = shop.task(), len(shop.schedule.steps)
    shop.allow(max_releases=made - 1)

    def planned(*_: Any, **__: Any) -> None:
        raise AssertionError("planned")

    with monkeypatch.context() as patch:
        schedule_module._cached.cache_clear()
        patch.setattr(schedule_module, "make_plan", planned)
        assert shop.ask(task) == Reply(str(Code.POLICY_PLAN))
    (row,) = shop.rows("refuse")
    assert row.body["detail"] == (
        f"the server asks for a plan of {made} releases, the owner allows at most {made - 1} "
        "(`max_releases`)."
    )
    shop.allow(max_releases=made)
    assert shop.ask(task).code == OK


def test_ten_thousand_rounds_are_too_many_by_default(shop: Any) -> None:
    huge = shop.variant(solver="dpsgd", settings={"rounds": 10_000, "local_steps": 1})
    shop.allow(solvers=("dpsgd",))
    assert huge.ask(Task(huge.job, 0, {})) == Reply(str(Code.POLICY_PLAN))


ABSURD: dict[str, dict[str, Any]] = {
    "hardly anybody": {"settings": {"sampling_rate": 5e-324}},
    "few, and one ε": {"settings": {"sampling_rate": 1e-9}},
    "few, for ever": {"settings": {"sampling_rate": 1e-6, "local_steps": 2000}, "renyi_order": 64},
    "ε": {"epsilon": 1e300},
    "hardly any ε": {"epsilon": 5e-324},
    "hardly any δ": {"delta": 5e-324},
    "all at once": {"settings": {"sampling_rate": 1e-300}, "epsilon": 1e300, "delta": 1e-300},
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("accountant_fails", [False, True])
def test_what_no_accountant_can_count_is_a_code_and_costs_nothing(
    shop: Any, monkeypatch: Any, name: str, accountant_fails: bool
) -> None:
    shop.allow(solvers=("dpsgd",))
    fields = {"solver": "dpsgd", **ABSURD[name]}
    fields["settings"] = {"rounds": 1, **fields.get("settings", {})}
    asked = shop.variant(**fields)
    if accountant_fails:  # as dp-accounting does: no error of ours
        schedule_module._cached.cache_clear()
        monkeypatch.setattr("common.privacy.planner.least_noise", failing(ValueError("nan")))
    reply = asked.ask(Task(asked.job, 0, {}))
    assert reply == Reply(reply.code)
    assert reply.code in set(Code)
    assert shop.kinds() == ["open", "refuse"]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail

"""Each rule of a policy: what it lets through, what it refuses, what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from client.guard import rules
from client.store import ClientSettings
from common.errors import Code, PolicyError
from common.job import Job
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.policy import Policy
from common.privacy.signing import SigningKey
from common.protocol import Task

ONE, TWO = SigningKey.create(), SigningKey.create()
JOB = Job(
    job_id="ab" * 16,
    catalogue_version="v",
    n_items=5,
    clients=3,
    population=120,
    signal=70.0,
    epsilon=1.0,
    delta=1e-6,
    solver="subspace",
)
BARE = JOB.model_copy(update={"mode": "none", "epsilon": None, "delta": 0.0})
SETTINGS = ClientSettings(name="s", dataset_id="0" * 32, population=40, catalogue="c.json")


def policy(**changes: Any) -> Policy:
    return Policy.load({"lifetime": {"epsilon": 4.0, "delta": 1e-6}, **changes})


def job(**changes: Any) -> Job:
    return JOB.model_copy(update=changes)


def refused(code: Code, *said: str, check: Callable[[], None]) -> None:
    with pytest.raises(PolicyError) as caught:
        check()
    assert caught.value.code is code
    for text in said:
        assert text in caught.value.message


def test_a_job_within_all_limits_passes() -> None:
    rules.check_job(policy(), JOB, SETTINGS)
    rules.check_job(policy(servers=(ONE.public,)), JOB, SETTINGS)
    bare = SETTINGS.model_copy(update={"no_privacy": True})
    rules.check_job(policy(modes=("none",)), BARE, bare)


@pytest.mark.parametrize(
    ("changes", "asked", "code", "said"),
    [
        ({}, {"unit": "interaction"}, Code.POLICY_UNIT, ["`interaction`", "`user`", "`unit`"]),
        ({"unit": "interaction"}, {}, Code.POLICY_UNIT, ["`user`", "`interaction`"]),
        ({}, {"mode": "none"}, Code.POLICY_MODE, ["`none`", "`local`", "`modes`"]),
        ({"modes": ("none",)}, {}, Code.POLICY_MODE, ["`local`", "`none`"]),
        ({"modes": ()}, {}, Code.POLICY_MODE, ["none at all"]),
        ({"modes": ("local", "none")}, {"mode": "none"}, Code.POLICY_MODE, ["`no_privacy`"]),
        ({}, {"solver": "ials"}, Code.POLICY_MODEL, ["'ials'", "subspace, dpsgd", "`solvers`"]),
        ({"solvers": ()}, {}, Code.POLICY_MODEL, ["none at all"]),
        ({}, {"solver": "os:system"}, Code.POLICY_MODEL, ["'os:system'"]),
        ({"min_population": 121}, {}, Code.POLICY_POPULATION, ["120", "121"]),
        ({}, {"delta": 2e-6}, Code.POLICY_DELTA, ["2e-06", "at most 1e-06", "`lifetime.delta`"]),
        (
            {"lifetime": {"epsilon": 4.0, "delta": 0.5}},
            {"delta": 1 / 40},
            Code.POLICY_DELTA,
            ["0.025", "less than 1/40"],
        ),
    ],
)
def test_a_rule_that_is_broken_says_what_was_asked_and_what_is_allowed(
    changes: dict[str, Any], asked: dict[str, Any], code: Code, said: list[str]
) -> None:
    refused(code, *said, check=lambda: rules.check_job(policy(**changes), job(**asked), SETTINGS))


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"min_population": 120}, {}),
        ({}, {"delta": 1e-6}),
        ({}, {"delta": 1e-9}),
        ({}, {"epsilon": 100.0}),  # what that costs is the budget's question
    ],
)
def test_the_limit_itself_is_allowed(changes: dict[str, Any], asked: dict[str, Any]) -> None:
    rules.check_job(policy(**changes), job(**asked), SETTINGS)


def plan(*rates: float) -> PrivacyPlan:
    releases = tuple(
        Release(step=f"s.{n}", rows=1, width=1, share=1.0, sampling_rate=rate, noise_multiplier=1.0)
        for n, rate in enumerate(rates)
    )
    return PrivacyPlan(unit="user", mode="local", delta=1e-6, epsilon=1.0, releases=releases)


def test_a_plan_may_have_so_many_releases() -> None:
    rules.check_plan(policy(), 1000)
    rules.check_plan(policy(max_releases=3), 3)
    refused(
        Code.POLICY_PLAN,
        "a plan of 4 releases",
        "at most 3",
        "`max_releases`",
        check=lambda: rules.check_plan(policy(max_releases=3), 4),
    )


def test_the_highest_sampling_rate_of_a_plan_counts() -> None:
    rules.check_sampling(policy(), plan(0.1, 1.0))
    rules.check_sampling(policy(max_sampling_rate=0.2), plan(0.1, 0.2))
    refused(
        Code.POLICY_SAMPLING,
        "0.3",
        "at most 0.2",
        check=lambda: rules.check_sampling(policy(max_sampling_rate=0.2), plan(0.1, 0.3)),
    )


def test_a_task_is_signed_by_a_server_that_the_policy_knows() -> None:
    known = policy(servers=(ONE.public,))
    task = Task(job(server=ONE.public), 0, {}).signed(ONE)
    rules.check_server(known, task)
    rules.check_server(policy(), task)
    rules.check_server(policy(), Task(JOB, 0, {}))
    for bad in (
        Task(JOB, 0, {}),  # names nobody
        Task(job(server=TWO.public), 0, {}).signed(TWO),  # somebody else, well signed
        Task(job(server=ONE.public), 0, {}).signed(TWO),
        replace(task, signature=""),
        replace(task, signature="zz"),
        replace(task, step=1),  # what is signed is the request
        replace(task, inputs={"a": np.ones(1)}),
        replace(task, job=job(server=ONE.public, epsilon=2.0)),
        replace(task, session=1),
    ):
        refused(Code.POLICY_SERVER, check=lambda bad=bad: rules.check_server(known, bad))


def test_even_where_any_server_may_ask_it_signs_what_names_it() -> None:
    task = Task(job(server=ONE.public), 0, {}).signed(TWO)
    refused(Code.POLICY_SERVER, check=lambda: rules.check_server(policy(), task))


def message(size: int) -> RecordDict:
    return RecordDict({"a": ArrayRecord({"b": Array(np.zeros(size, np.uint8))})})


def test_a_message_is_as_large_as_everything_in_it() -> None:
    array = Array(np.ones((2, 3), np.float32))
    records = RecordDict(
        {
            "task": ConfigRecord({"text": "äb", "bytes": b"123", "n": 7, "list": ["x", "yz"]}),
            "more": MetricRecord({"m": 1.0, "l": [1.0, 2.0]}),
            "arrays": ArrayRecord({"w": array}),
        }
    )
    task = 4 + (4 + 3) + (5 + 3) + (1 + 8) + (4 + 3)
    more = 4 + (1 + 8) + (1 + 16)
    arrays = 6 + 1 + len(array.data) + len("float32") + len("numpy.ndarray") + 2 * 8
    assert rules.message_bytes(records) == task + more + arrays
    assert rules.message_bytes(RecordDict()) == 0


def test_a_message_beyond_the_limit_is_not_looked_into() -> None:
    size = rules.message_bytes(message(1000))
    rules.check_message(policy(max_message_bytes=size), message(1000))
    refused(
        Code.POLICY_MESSAGE,
        f"{size + 1} bytes",
        f"at most {size}",
        check=lambda: rules.check_message(policy(max_message_bytes=size), message(1001)),
    )


def test_strings_that_no_utf8_can_write_are_measured_too() -> None:
    records = RecordDict({"task": ConfigRecord({"job": "\ud800" * 10})})
    assert rules.message_bytes(records) == 4 + 3 + 30

"""With whom a client sums, and how many must be honest: its own policy says, no server."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import Code
from common.privacy.roster import Roster
from common.privacy.signing import SigningKey
from common.protocol import OK
from hushrec import command_line
from tests.client.summing import Session

ME = "shop-1"
OTHER = SigningKey.create().public


def say_keys(session: Session, **job: Any) -> str:
    """With every shop's policy naming what the job names, unless a test changed it."""
    changed = session.first.job.model_copy(update=job)
    return session.say(ME, "keys", job=changed).code


def pin(session: Session, **changes: str | None) -> str:
    """Change who stands on the roster of this client alone; its digest."""
    shop = session.shops[ME]
    named = {name.replace("_", "-"): key for name, key in changes.items()}
    keys = {name: key for name, key in {**shop.policy.roster, **named}.items() if key is not None}
    shop.allow(roster=keys)
    return Roster.of(keys).digest


def test_the_roster_that_all_pin_is_answered(session: Session) -> None:
    assert say_keys(session) == OK


@pytest.mark.parametrize(
    "changes",
    [{"shop_2": OTHER}, {"shop_9": OTHER}, {"shop_5": None}, {"shop_1": OTHER}],
    ids=["another key", "one more", "one less", "another key of its own"],
)
def test_another_roster_than_the_policy_pins_is_refused(
    session: Session, changes: dict[str, str | None]
) -> None:
    pin(session, **changes)
    assert say_keys(session) == Code.POLICY_ROSTER


def test_no_roster_at_all_is_refused(session: Session) -> None:
    session.shops[ME].allow(roster={})
    assert say_keys(session) == Code.POLICY_ROSTER


def test_a_roster_without_this_client_or_with_another_key_of_it_is_refused(
    session: Session,
) -> None:
    """Even if the job names just that roster: the words would be under masks of others."""
    digest = pin(session, shop_1=None, shop_9=OTHER)
    assert say_keys(session, roster=digest) == Code.POLICY_ROSTER
    digest = pin(session, shop_9=None, shop_1=OTHER)
    assert say_keys(session, roster=digest) == Code.POLICY_ROSTER


def test_another_number_of_clients_than_the_roster_has_is_refused(session: Session) -> None:
    """A job of fewer clients would deal at other places, and take a smaller threshold."""
    assert say_keys(session, clients=4) == Code.POLICY_ROSTER
    assert say_keys(session, clients=6, threshold=5) == Code.POLICY_ROSTER


def test_a_client_without_its_key_is_refused(session: Session) -> None:
    (session.shops[ME].folder / "roster_key.pem").unlink()
    assert say_keys(session) == Code.POLICY_ROSTER


@pytest.mark.parametrize(
    ("threshold", "colluders"), [(3, 1), (4, 3), (4, 4), (5, 5), (6, 1), (1, 1)]
)
def test_terms_that_are_not_safe_are_refused(
    session: Session, threshold: int, colluders: int
) -> None:
    code = say_keys(session, threshold=threshold, colluders=colluders)
    assert code == Code.POLICY_THRESHOLD


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_a_job_that_withstands_fewer_than_the_owner_wants_is_refused(
    session: Session, wanted: int
) -> None:
    session.shops[ME].allow(colluders=wanted)
    assert (say_keys(session, threshold=5, colluders=2) == OK) is (wanted <= 2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"modes": ("local",)}, Code.POLICY_MODE),
        ({"solvers": ("popularity",)}, Code.POLICY_MODEL),
        ({"min_population": 10**6}, Code.POLICY_POPULATION),
        ({"max_releases": 1}, Code.POLICY_PLAN),
        ({"max_sampling_rate": 0.5}, Code.POLICY_SAMPLING),
    ],
    ids=lambda value: str(value),
)
def test_the_rules_of_every_job_hold_for_sums_too(
    session: Session, changes: dict[str, Any], code: Code
) -> None:
    session.shops[ME].allow(**changes)
    assert say_keys(session) == code
    assert session.shops[ME].kinds() == ["open", "refuse"]


def test_a_rule_that_changes_under_way_holds_from_then_on(session: Session) -> None:
    session.go("keys", "shares", "masked")
    session.shops[ME].allow(modes=("local",))
    assert session.say(ME, "survivors", session.survivors).code == Code.POLICY_MODE
    session.shops[ME].allow(modes=("distributed",))
    pin(session, shop_2=OTHER)
    assert session.say(ME, "survivors", session.survivors).code == Code.POLICY_ROSTER
    assert session.shops[ME].rows("agree") == []


def test_a_step_that_no_plan_has_and_another_catalogue_are_refused(session: Session) -> None:
    steps = len(session.first.schedule.steps)
    assert session.say(ME, "keys", step=steps).code == Code.PROTOCOL_INVALID
    assert say_keys(session, n_items=61) == Code.CATALOGUE_MISMATCH


def test_the_budget_of_an_owner_can_be_read_with_sums_in_the_ledger(session: Session) -> None:
    session.go("keys", "shares", "masked", "survivors", "reveal")
    folder = session.shops[ME].folder
    for command in (
        ["budget", str(folder), "--format", "json"],
        ["budget", str(folder)],
        ["audit", "recompute", str(folder), "--format", "json"],
        ["audit", "export", str(folder), "--out", str(folder / "export.jsonl")],
        ["audit", "verify", str(folder / "export.jsonl")],
    ):
        done = CliRunner().invoke(command_line(), command)
        assert done.exit_code == 0, (command, done.output)

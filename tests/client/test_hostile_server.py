"""A server that asks in every way it can never gets a client past its cap; and alarms that ring.

The study is `python -m simulations.attacks.hostile`; here it runs smaller, with threads alone.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.guard.budget import Budget
from client.guard.guard import Guard
from client.ledger_store import LedgerStore
from common.errors import Code
from common.privacy.policy import Policy
from common.protocol import Reply
from simulations.attacks.hostile_server import HONEST
from simulations.attacks.hostile_siege import Siege, besiege
from simulations.attacks.hostile_ways import WAYS

REQUESTS = 1000
FEW = 120


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Siege:
    return besiege(tmp_path_factory.mktemp("siege") / "run", REQUESTS, seed=3)


def test_nothing_gets_past_a_cap_and_nothing_undeclared_leaves(siege: Siege) -> None:
    assert siege.tried >= REQUESTS
    for verdict in siege.verdicts:
        assert verdict.got_through == 0, verdict
        assert verdict.epsilon_pld <= verdict.cap
    assert siege.got_through == 0


def test_the_budget_was_really_used_up(siege: Siege) -> None:
    gdp, renyi, closed = siege.verdicts
    for verdict in (gdp, renyi):
        assert verdict.epsilon_held > 0.95 * verdict.cap
        assert verdict.epsilon_filter > 0.5 * verdict.cap
        assert verdict.reserved == verdict.sent >= 20  # copies at once are charged once
    assert closed.reserved == 0


def test_every_way_was_tried_and_refused_by_the_rule_that_it_breaks(siege: Siege) -> None:
    kinds = {row["tried"]: row for row in siege.kinds()}
    assert set(kinds) == {HONEST, *WAYS}
    assert all(row["messages"] for row in kinds.values())
    for kind, code in {
        HONEST: Code.BUDGET_LIFETIME,
        "bigger ε": Code.BUDGET_LIFETIME,
        "bigger δ": Code.POLICY_DELTA,
        "more rounds": Code.POLICY_PLAN,
        "another unit": Code.POLICY_UNIT,
        "mode none": Code.POLICY_MODE,
        "another solver": Code.POLICY_MODEL,
        "another catalogue": Code.CATALOGUE_MISMATCH,
        "a step again, changed": Code.REPLAY_CONFLICT,
        "another session": Code.PROTOCOL_INVALID,
        "the other server's job": Code.REPLAY_CONFLICT,
        "a server that nobody knows": Code.POLICY_SERVER,
        "not signed, or badly": Code.POLICY_SERVER,
        "poisoned arrays": Code.INBOUND_ARRAY,
        "garbage": Code.PROTOCOL_INVALID,
        "a huge message": Code.POLICY_MESSAGE,
        "a forged receipt": Code.LEDGER_SIGNATURE,
        "many jobs at once": Code.BUDGET_LIFETIME,
    }.items():
        assert kinds[kind]["codes"].get(str(code)), kind
    for kind in ("poisoned arrays", "garbage", "mode none", "a huge message", "a forged receipt"):
        assert kinds[kind]["answered"] == 0, kind
    assert kinds["a step again, the same"]["answered"] > 0


def test_every_private_solver_was_asked_and_released_something(siege: Siege) -> None:
    rows = {row["solver"]: row for row in siege.solvers()}
    assert set(rows) == set(Policy.model_fields["solvers"].default)
    assert all(row["messages"] > row["steps released"] > 0 for row in rows.values()), rows


def small(tmp_path: Path) -> Siege:
    return besiege(tmp_path / "run", FEW, seed=5)


def test_the_verdict_sees_a_cap_that_nobody_holds(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Budget, "hold", lambda *_: None)
    found = small(tmp_path).verdicts[0]
    assert found.over_lifetime
    assert found.over_period


def test_the_verdict_sees_a_field_that_nothing_declares(tmp_path: Path, monkeypatch: Any) -> None:
    to_records = Reply.to_records

    def leaky(self: Reply) -> Any:
        records = to_records(self)
        records["reply"]["loss"] = 0.5
        return records

    monkeypatch.setattr(Reply, "to_records", leaky)
    assert small(tmp_path).verdicts[0].undeclared > 20


def forgetful(self: Any, _key: Any, _request: str, payload: bytes, *_: Any, kept: bytes) -> Any:
    return SimpleNamespace(payload=payload, head=self._ledger.signed_head())


def test_the_verdict_sees_a_release_that_is_made_anew(tmp_path: Path, monkeypatch: Any) -> None:
    """A client that forgets what it sent answers a step with noise drawn anew."""
    monkeypatch.setattr(LedgerStore, "find", lambda *_: None)
    monkeypatch.setattr(Guard, "_commit", forgetful)
    found = small(tmp_path).verdicts[0]
    assert found.two_answers
    assert found.uncharged

"""What costs nothing is bounded, and disturbs nobody: strangers' sessions, secrets, old ones."""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from client.app import make_app
from client.guard import Guard
from client.guard.releasing import key_of
from client.sum_store import FARTHEST, LONGEST, MOST_OPEN, Begun, Kept, SumStore
from common.errors import Code, PolicyError
from common.protocol import OK, SumCall, Task
from common.secure_sum.messages import STAGES
from tests.client.summing import Session

ME = "shop-1"


def other_job(session: Session, **changes: Any) -> SumCall:
    """Keys of a job that nobody signed."""
    job = session.first.job.model_copy(update={"server": None, **changes})
    return SumCall.of(Task(job, 0, session.first.inputs(0)), "ab" * 32, "keys")


def secrets_on_disk(shop: Any) -> int:
    """Stages that hold any."""
    with sqlite3.connect(shop.folder / "sums.sqlite") as file:
        query = "SELECT count(*) FROM stage WHERE state <> ''"
        return int(file.execute(query).fetchone()[0])


@pytest.mark.parametrize("done", [["keys"], ["keys", "shares"], ["keys", "shares", "masked"]])
def test_a_stranger_with_a_jobs_id_ends_no_session_of_it(session: Session, done: list[Any]) -> None:
    """The job is not in the ledger before its words are: its id is taken all the same."""
    session.shops[ME].allow(servers=())
    session.go(*done)
    for number in (0, 1, FARTHEST, 2**31 - 1):
        call = replace(other_job(session, seed=99), session=number)
        assert session.ask(ME, call).code == Code.REPLAY_CONFLICT
    session.go(*STAGES[len(done) :])
    assert Session(session.shops, number=1).say(ME, "keys").code == OK


def test_a_session_is_not_far_ahead_of_the_newest(session: Session) -> None:
    """After number 2^31 - 1 no other could begin."""
    for number in (FARTHEST, 2**31 - 1):
        far = Session(session.shops, number=number)
        assert far.say(ME, "keys").code == Code.SUM_SESSION
    Session(session.shops, number=FARTHEST - 1).go("keys")
    Session(session.shops, number=2 * FARTHEST - 1).go("keys")
    assert Session(session.shops, number=3 * FARTHEST).say(ME, "keys").code == Code.SUM_SESSION


def test_jobs_that_only_begin_leave_a_bounded_number_of_secrets(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys cost nothing: whoever asks for those of ever new jobs pushes out the oldest."""
    monkeypatch.setattr("client.sum_store.MOST_OPEN", 4)
    shop = session.shops[ME]
    shop.allow(servers=())
    shop.allow(lifetime={**shop.policy.lifetime.model_dump(), "epsilon": 16.0})
    session.go("keys", "shares", "masked")
    for number in range(9):
        reply = session.ask(ME, other_job(session, job_id=f"{number:032x}"))
        assert reply.code == OK
    assert secrets_on_disk(shop) == 3 + 4
    for number in (0, 4):  # pushed out: its number is used
        call = other_job(session, job_id=f"{number:032x}")
        assert session.ask(ME, replace(call, context="cd" * 32)).code == Code.SUM_STAGE
    session.go("survivors", "reveal")  # what has cost something stays


def test_closing_a_job_erases_its_secrets_and_keeps_its_answers(session: Session) -> None:
    session.go("keys", "shares", "masked")
    shop, job_id = session.shops[ME], session.first.job.job_id
    assert secrets_on_disk(shop) == 3
    with Guard.open(shop.store) as guard:
        guard.close_job(job_id)
        assert secrets_on_disk(shop) == 0
        with pytest.raises(PolicyError):
            guard.close_job(job_id)
    again = session.say(ME, "masked", session.shares_for(ME))
    assert again.words is not None
    assert (again.words == session.words[ME]).all()
    assert session.say(ME, "survivors", session.survivors).code == Code.JOB_CLOSED
    assert session.say(ME, "reveal", session.signed).code == Code.JOB_CLOSED


def test_closing_what_was_never_admitted_erases_its_keys(session: Session) -> None:
    session.go("keys", "shares")
    shop = session.shops[ME]
    with Guard.open(shop.store) as guard, pytest.raises(PolicyError):
        guard.close_job(session.first.job.job_id)
    assert secrets_on_disk(shop) == 0


def test_a_week_later_nothing_is_left_and_numbers_of_words_stay_used(session: Session) -> None:
    session.go("keys", "shares", "masked")
    shop = session.shops[ME]
    later = datetime.now(UTC) + LONGEST + timedelta(hours=1)
    session.shops[ME] = replace(shop, app=make_app(simulation=True, clock=lambda: later))
    assert session.say(ME, "survivors", session.survivors).code == Code.SUM_SESSION
    assert secrets_on_disk(shop) == 0
    assert session.say(ME, "keys").code == Code.SUM_SESSION
    Session(session.shops, number=1).go("keys", names=[ME])


def test_a_damaged_state_is_told_without_its_secrets(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """What a validator says quotes its input."""
    session.go("keys")
    shop = session.shops[ME]
    with SumStore.open(shop.folder) as states:
        kept = states.find(key_of(session.task), "keys")
    assert kept is not None
    values = json.loads(kept.state)
    secret = values["masking"]
    values["masking"] += "0"
    with sqlite3.connect(shop.folder / "sums.sqlite") as file:
        file.execute("UPDATE stage SET state = ?", (json.dumps(values),))
    with caplog.at_level(logging.DEBUG):
        assert session.say(ME, "shares", session.peers).code == Code.SUM_STAGE
    assert caplog.records
    assert secret[:20] not in caplog.text
    assert secret[:20] not in json.dumps([row.body for row in shop.rows()])


def test_a_damaged_answer_is_told_without_its_text(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    session.go(*STAGES)
    shop, secret = session.shops[ME], next(iter(session.reveals[ME].seeds.values()))
    with sqlite3.connect(shop.folder / "sums.sqlite") as file:
        file.execute("UPDATE stage SET reply = replace(reply, 'seeds', 'weeds')")
    with caplog.at_level(logging.DEBUG):
        assert session.say(ME, "reveal", session.signed).code == Code.SUM_STAGE
    assert secret not in caplog.text


def test_the_limits_leave_room_for_honest_servers() -> None:
    assert MOST_OPEN >= 16
    assert FARTHEST >= 100
    assert timedelta(days=1) <= LONGEST <= timedelta(days=30)
    assert "secret" not in repr(Kept("request", "a secret", "another secret"))
    assert Begun("f", "c") != Begun("c", "f")

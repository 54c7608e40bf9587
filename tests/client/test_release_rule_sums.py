"""What leaves a client in a secure sum: a code, or what the stage says. Nothing of its data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from client import release
from common.errors import Code, DataError, ReleaseError
from common.privacy.heads import SignedHead
from common.protocol import OK, SUM, Reply, SumReply
from common.secure_sum.messages import STAGES, Stage
from tests.client.summing import Session
from tests.client.test_release_rule import (
    BLOCKED,
    ERRORS,
    GARBAGE,
    HEAVY,
    SECRET,
    assert_code_only,
    fields,
    raising,
    wire,
)

ROOT = Path(__file__).parents[2]
ME = "shop-1"
PHASES: list[tuple[Stage, str, str]] = [
    ("keys", "client.app.resolve_home", "resolve home"),
    ("keys", "client.store.ClientStore.open", "open store"),
    ("keys", "client.guard.SumGuard.open", "open ledger"),
    ("keys", "common.protocol.SumCall.from_records", "read call"),
    ("keys", "client.guard.sums.load_roster_key", "read key"),
    ("keys", "client.guard.sums.party_of", "rules"),
    ("keys", "client.guard.guard.schedule_of", "plan"),
    ("keys", "client.ledger_store.LedgerStore.append", "look at the budget"),
    ("keys", "common.secure_sum.party.Party.offer", "offer"),
    ("keys", "client.sum_store.SumStore.begin", "keep"),
    ("shares", "client.sum_store.SumStore.open", "open states"),
    ("shares", "common.secure_sum.party.Party.deal", "deal"),
    ("shares", "client.sum_store.SumStore.keep", "keep"),
    ("masked", "client.ledger_store.LedgerStore.find", "look for a replay"),
    ("masked", "client.training.check_arrays", "check arrays"),
    ("masked", "common.secure_sum.party.Party.open", "open shares"),
    ("masked", "client.sum_store.SumStore.keep", "keep"),
    ("masked", "client.ledger_store.LedgerStore.append", "reserve"),
    ("masked", "common.privacy.shared_noise.SharedSum.sample", "sample"),
    ("masked", "common.privacy.shared_noise.SharedSum.words", "sum"),
    ("masked", "client.training.declared_words", "declare"),
    ("masked", "common.secure_sum.states.Masking.apply", "mask"),
    ("masked", "client.guard.sums.arrays_to_bytes", "serialise"),
    ("masked", "client.ledger_store.LedgerStore.commit_release", "commit"),
    ("masked", "client.guard.sums.arrays_from_bytes", "read back"),
    ("survivors", "common.secure_sum.party.Party.agree", "agree"),
    ("survivors", "client.ledger_store.LedgerStore.agreed", "look for a list"),
    ("survivors", "client.ledger_store.LedgerStore.append", "write the list"),
    ("survivors", "client.sum_store.SumStore.keep", "keep"),
    ("reveal", "common.secure_sum.party.Party.reveal", "reveal"),
    ("reveal", "client.sum_store.SumStore.keep", "keep"),
    ("reveal", "client.app.answer_sum", "build reply"),
    ("reveal", "client.ledger_store.LedgerStore.close", "close ledger"),
]
AFTER_DATA = {"sample", "sum", "declare", "mask", "serialise", "commit"}


def begun(session: Session, stage: Stage) -> RecordDict:
    """The message of a stage, after all stages before it; with room for many failures."""
    shop = session.shops[ME]
    shop.allow(lifetime={**shop.policy.lifetime.model_dump(), "epsilon": 20.0})
    session.go(*STAGES[: STAGES.index(stage)])
    return session.call(stage, session.body(ME, stage)).to_records()


@pytest.mark.parametrize(("stage", "target", "phase"), PHASES)
def test_an_exception_in_any_phase_of_any_stage_leaves_as_a_code(
    session: Session, monkeypatch: pytest.MonkeyPatch, stage: Stage, target: str, phase: str
) -> None:
    records, shop = begun(session, stage), session.shops[ME]
    for error in ERRORS:
        unready = phase == "open store" and isinstance(error, Exception)
        with monkeypatch.context() as patch:
            patch.setattr(target, raising(error))
            code = Code.CLIENT_UNREADY if unready else Code.INTERNAL
            assert_code_only(shop.send(records, SUM), code)
    own = DataError(Code.CATALOGUE_MISMATCH, SECRET, where=SECRET, remedy=SECRET)
    with monkeypatch.context() as patch:
        patch.setattr(target, raising(own))
        code = Code.CLIENT_UNREADY if phase == "open store" else Code.CATALOGUE_MISMATCH
        assert_code_only(shop.send(records, SUM), code)
    if phase in AFTER_DATA:
        details = {row.body["detail"] for row in shop.rows("refuse")}
        assert not [detail for detail in details if "4711" in detail]


def test_every_field_of_a_sum_is_accounted_for(session: Session) -> None:
    seen: dict[Stage, dict[str, Any]] = {}
    for stage in STAGES:
        records = begun_once(session, stage)
        message = session.shops[ME].send(records, SUM)
        assert not message.has_error()
        seen[stage] = fields(message)
        store = session.shops[ME].store
        for quoted in (store.snapshot, store.settings.dataset_id, str(session.shops[ME].folder)):
            assert quoted.encode() not in wire(message)
        session.take(ME, stage, SumReply.from_records(message.content, stage))
        session.go(stage, names=[name for name in session.shops if name != ME])
    header = {"reply", "reply.code", "reply.head", "reply.body", "release"}
    for stage, found in seen.items():
        assert set(found) == (header | {"release.words"} if stage == "masked" else header)
        assert found["reply.code"] == OK
        assert (found["reply.body"] == "") == (stage == "masked")
        assert (found["reply.head"] == "") == (stage != "masked")
    SignedHead.model_validate_json(seen["masked"]["reply.head"]).check()
    release_ = session.first.schedule.plan.releases[0]
    assert seen["masked"]["release.words"].shape == (release_.rows, release_.width)
    assert seen["masked"]["release.words"].dtype == f"uint{release_.shares.word_bits}"


def begun_once(session: Session, stage: Stage) -> RecordDict:
    return session.call(stage, session.body(ME, stage)).to_records()


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "masked"])
def test_what_is_no_release_does_not_depend_on_data(
    session: Session, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    """Only `masked` looks at the log; everything else is said by a client without one, too."""
    records = begun(session, stage)
    monkeypatch.setattr("common.schedule.Schedule.contribute", raising(ValueError(SECRET)))
    monkeypatch.setattr("client.training.prepared_words", raising(ValueError(SECRET)))
    assert fields(session.shops[ME].send(records, SUM))["reply.code"] == OK


@pytest.mark.parametrize("name", [*GARBAGE, "a task", "a receipt"])
def test_garbage_is_answered_with_a_code_and_recorded(session: Session, name: str) -> None:
    shop = session.shops[ME]
    if name == "a task":
        records = session.task.to_records()
    elif name == "a receipt":
        records = RecordDict({"sum": ConfigRecord({"receipt": "{}"}), "inputs": ArrayRecord()})
    else:
        given = list(GARBAGE[name].values())
        records = RecordDict({"sum": given[0]} if given else {})
    assert_code_only(shop.send(records, SUM), Code.PROTOCOL_INVALID)
    assert shop.kinds() == ["open", "refuse"]


def message() -> Message:
    asked = Message(RecordDict(), dst_node_id=5, message_type=SUM, group_id="g")
    asked.metadata.__dict__["_message_id"] = "m"
    return asked


def test_a_stage_says_what_it_says_and_nothing_else(session: Session) -> None:
    session.go(*STAGES)
    words = session.words[ME]
    head = session.say(ME, "masked", session.shares_for(ME)).head
    said: dict[Stage, SumReply] = {
        "keys": SumReply(OK, session.offers[ME]),
        "shares": SumReply(OK, session.deals[ME]),
        "masked": SumReply(OK, words=words, head=head),
        "survivors": SumReply(OK, session.agreements[ME]),
        "reveal": SumReply(OK, session.reveals[ME]),
    }
    for stage in STAGES:
        for other, reply in said.items():
            if stage == other:
                assert release.answer_sum(message(), stage, reply).content is not None
            else:
                with pytest.raises(ReleaseError) as caught:
                    release.answer_sum(message(), stage, reply)
                assert caught.value.code is Code.RELEASE_UNDECLARED
    for undeclared in (
        SumReply(OK, words=words),  # without the head of a charge
        SumReply(OK, session.offers[ME], words=words, head=head),
        SumReply(OK, head=head),
        SumReply("fine", words=words, head=head),
    ):
        with pytest.raises(ReleaseError):
            release.answer_sum(message(), "masked", undeclared)


def test_only_words_that_the_plan_has_room_for_pass_the_gate(session: Session) -> None:
    planned = session.first.schedule.plan.releases[0]
    good = np.zeros((planned.rows, planned.width), np.uint32)
    assert release.declared_words(good, planned) is good
    for words in (good[:-1], good.T, good.ravel(), good.astype(np.uint64), good.astype(np.int32)):
        with pytest.raises(ReleaseError) as caught:
            release.declared_words(words, planned)
        assert caught.value.code is Code.RELEASE_UNDECLARED


@pytest.mark.parametrize("error", [KeyboardInterrupt(SECRET), SystemExit(SECRET)])
def test_being_told_to_stop_sends_nothing_at_all(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    records = begun(session, "masked")
    with monkeypatch.context() as patch:
        patch.setattr("common.schedule.Schedule.contribute", raising(error))
        with pytest.raises(type(error)):
            session.shops[ME].send(records, SUM)
    session.go("masked", "survivors", "reveal")


def test_an_import_that_fails_leaves_as_a_code(summing_run: Any) -> None:
    home = summing_run.path / "clients" / ME
    script = BLOCKED.format(blocked=HEAVY, secret=SECRET, kind=SUM, home=home)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'reply': {'code': 'internal', 'head': ''}, 'release': {}}"


def test_the_code_of_a_refusal_reads_as_that_of_any_reply(session: Session) -> None:
    message = session.shops[ME].send(session.call("reveal", session.signed).to_records(), SUM)
    assert Reply.from_records(message.content) == Reply(str(Code.SUM_STAGE))

"""Calls and replies of secure sums: what goes in comes out, each stage takes its own alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Code, HushRecError, PolicyError, ProtocolError
from common.job import Job
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import OK, CallBody, Reply, ReplyBody, SumCall, SumReply, Task
from common.secure_sum.messages import (
    STAGES,
    Agreement,
    AgreementList,
    KeyList,
    KeyOffer,
    Reveal,
    SealedShares,
    ShareList,
    ShareOffer,
    Stage,
    SurvivorList,
)

SERVER, LEDGER, ROSTER = SigningKey.create(), SigningKey.create(), SigningKey.create()
JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=3, clients=3, population=10, signal=7.0,
    mode="distributed", epsilon=8.0, delta=0.01, solver="subspace", server=SERVER.public,
    roster="d" * 64, threshold=3, colluders=1,
)  # fmt: skip
HEAD = SignedHead.sign(LEDGER, "shop-1", 7, "0" * 64)
RECEIPT = Receipt.sign(SERVER, HEAD, "2026-01-01T00:00:00.000+00:00")
SIGNATURE = ROSTER.sign("x", {})
OFFER = KeyOffer(name="a", sharing_key="1" * 64, masking_key="2" * 64, signature=SIGNATURE)
SEALED = SealedShares(sender="a", recipient="b", sealed="00" * 90)
AGREEMENT = Agreement(name="a", signature=SIGNATURE)
ASKS: dict[Stage, CallBody | None] = {
    "keys": None,
    "shares": KeyList(offers=(OFFER,)),
    "masked": ShareList(shares=(SEALED,)),
    "survivors": SurvivorList(survivors=("a", "b")),
    "reveal": AgreementList(agreements=(AGREEMENT,)),
}
SAYS: dict[Stage, ReplyBody | None] = {
    "keys": OFFER,
    "shares": ShareOffer(name="a", seed_digest="3" * 64, shares=(SEALED,)),
    "masked": None,
    "survivors": AGREEMENT,
    "reveal": Reveal(name="a", seeds={"b": "4" * 66}, keys={"c": "5" * 66}),
}
WORDS = np.arange(6, dtype=np.uint32).reshape(3, 2)
CONTEXT = "9" * 64
TASK = Task(JOB, 1, {"basis": np.ones((3, 2), np.float32)}, session=4)


def call(stage: Stage = "survivors", **fields: Any) -> SumCall:
    return replace(SumCall.of(TASK, CONTEXT, stage, ASKS[stage]), **fields)


def said(stage: Stage) -> SumReply:
    masked = {"words": WORDS, "head": HEAD} if stage == "masked" else {}
    return SumReply(OK, SAYS[stage], **masked)


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_round_trips(stage: Stage) -> None:
    sent = replace(call(stage), receipt=RECEIPT).signed(SERVER)
    found = SumCall.from_records(sent.to_records())
    assert replace(found, inputs={}) == replace(sent, inputs={})
    assert found.request_hash == sent.request_hash
    found.check_signature()
    assert found.context == CONTEXT
    if stage == "masked":
        assert found.task.request_hash == TASK.request_hash
    else:
        assert not found.inputs


@pytest.mark.parametrize("stage", STAGES)
def test_a_reply_round_trips(stage: Stage) -> None:
    sent = said(stage)
    found = SumReply.from_records(sent.to_records(), stage)
    assert (found.code, found.body, found.head) == (OK, sent.body, sent.head)
    assert (found.words is None) == (stage != "masked")
    if found.words is not None:
        assert found.words.dtype == np.uint32
        np.testing.assert_array_equal(found.words, WORDS)


def test_words_of_64_bits_round_trip() -> None:
    words = np.array([[1 << 63, 0]], np.uint64)
    found = SumReply.from_records(SumReply(OK, words=words, head=HEAD).to_records(), "masked")
    assert found.words is not None
    assert found.words.dtype == np.uint64
    assert found.words.tolist() == [[1 << 63, 0]]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("code", [Code.SUM_STAGE, Code.INTERNAL])
def test_a_refusal_is_the_same_message_as_of_any_task(stage: Stage, code: Code) -> None:
    assert SumReply.from_records(Reply(str(code)).to_records(), stage) == SumReply(str(code))
    assert SumReply.from_records(SumReply(str(code)).to_records(), stage) == SumReply(str(code))
    assert Reply.from_records(SumReply(str(code)).to_records()) == Reply(str(code))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("other", STAGES)
def test_no_stage_takes_the_body_of_another(stage: Stage, other: Stage) -> None:
    if stage == other:
        return
    with pytest.raises(ProtocolError):
        SumReply.from_records(said(stage).to_records(), other)
    with pytest.raises(ProtocolError):
        SumCall.from_records(call(stage, body=ASKS[other]).to_records())


def test_the_hash_of_a_call_is_of_everything_that_the_answer_depends_on() -> None:
    calls = [
        *(call(stage) for stage in STAGES),
        call(step=2),
        call(session=5),
        call(context="0" * 64),
        call(job=JOB.model_copy(update={"threshold": 2})),
        call(body=SurvivorList(survivors=("a", "b", "c"))),
        call(body=SurvivorList(survivors=("b", "a"))),
    ]
    assert len({one.request_hash for one in calls}) == len(calls)
    assert call(receipt=RECEIPT, signature="x").request_hash == call().request_hash


ALTERED: dict[str, dict[str, Any]] = {
    "nothing signed": {"signature": ""},
    "signed as a task": {"signature": SERVER.sign("task", {"request": call().request_hash})},
    "another stage": {"stage": "reveal", "body": ASKS["reveal"]},
    "another list": {"body": SurvivorList(survivors=("a",))},
    "another session": {"session": 5},
    "another step": {"step": 0},
    "another context": {"context": "0" * 64},
    "another job": {"job": JOB.model_copy(update={"colluders": 2})},
    "another server": {"job": JOB.model_copy(update={"server": SigningKey.create().public})},
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_call_that_its_server_did_not_sign_is_refused(name: str) -> None:
    signed = call().signed(SERVER)
    signed.check_signature()
    with pytest.raises(PolicyError) as caught:
        replace(signed, **ALTERED[name]).check_signature()
    assert caught.value.code is Code.POLICY_SERVER


def test_copies_share_their_arrays_and_are_signed_each_for_its_body() -> None:
    other = ShareList(shares=())
    sent = SumCall.of(TASK, CONTEXT, "masked")
    to = [(ASKS["masked"], None), (ASKS["masked"], RECEIPT), (other, None)]
    copies = list(sent.copies(to, SERVER))
    assert all(copy["inputs"] is copies[0]["inputs"] for copy in copies)
    found = [SumCall.from_records(copy) for copy in copies]
    assert [(one.body, one.receipt) for one in found] == to
    for one in found:
        one.check_signature()
        assert one.task.request_hash == TASK.request_hash
    assert found[0].signature == found[1].signature != found[2].signature
    (unsigned,) = sent.copies(to[:1], None)
    assert SumCall.from_records(unsigned).signature == ""


def header(**fields: Any) -> RecordDict:
    records = call().to_records()
    values = {**dict(records["sum"]), **fields}  # type: ignore[arg-type]
    kept = {name: value for name, value in values.items() if value is not None}
    return RecordDict({"sum": ConfigRecord(kept), "inputs": ArrayRecord()})


BAD_CALLS = {
    "empty": RecordDict(),
    "a task": TASK.to_records(),
    "no inputs": RecordDict({"sum": header()["sum"]}),
    "no job": header(job=None),
    "job is long": header(job="[" * 64_001),
    "job misses the roster": header(job=JOB.model_dump_json().replace('"threshold":3,', "")),
    "step is a truth": header(step=True),
    "session is negative": header(session=-1),
    "session is huge": header(session=1 << 31),
    "stage is unknown": header(stage="more"),
    "context is short": header(context="0" * 63),
    "context ends in a new line": header(context="0" * 64 + "\n"),
    "body is no JSON": header(body="{"),
    "body is deep": header(body="[" * 100_000),
    "body is empty": header(body=""),
    "body is long": header(body=" " * 10_000_001),
    "body has more fields": header(body='{"survivors":[],"x":1}'),
    "a name is a path": header(body='{"survivors":["../x"]}'),
    "a name is a surrogate": header(body='{"survivors":["\\ud800"]}'),
    "too many names": header(body='{"survivors":[' + ",".join(['"a"'] * 10_001) + "]}"),
    "arrays before their stage": RecordDict(
        {
            "sum": header()["sum"],
            "inputs": SumCall.of(TASK, CONTEXT, "masked").to_records()["inputs"],
        }
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_what_is_no_call_is_refused(name: str) -> None:
    with pytest.raises(HushRecError) as caught:
        SumCall.from_records(BAD_CALLS[name])
    assert caught.value.code in {Code.PROTOCOL_INVALID, Code.CONFIG_INVALID}


BAD_WORDS = {
    "none": {},
    "signed": {"words": WORDS.astype(np.int32)},
    "short": {"words": WORDS.astype(np.uint16)},
    "big-endian": {"words": WORDS.astype(">u4")},
    "fractions": {"words": WORDS.astype(np.float32)},
    "flat": {"words": WORDS.ravel()},
    "more": {"words": WORDS, "loss": WORDS},
    "another name": {"sum": WORDS},
}


@pytest.mark.parametrize("name", BAD_WORDS)
def test_what_are_no_masked_words_is_refused(name: str) -> None:
    records = Reply(OK, BAD_WORDS[name], HEAD).to_records()
    records["reply"]["body"] = ""  # type: ignore[index]
    with pytest.raises(ProtocolError):
        SumReply.from_records(records, "masked")


@given(st.text(max_size=60), st.sampled_from(STAGES))
def test_no_text_breaks_the_reader_of_bodies(text: str, stage: Stage) -> None:
    if text == "" and stage == "keys":
        return
    with pytest.raises(ProtocolError):
        SumCall.from_records(header(stage=stage, body=text))

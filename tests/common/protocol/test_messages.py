"""Messages: what goes in comes out, and nothing else is taken for a message."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import Code, HushRecError, PolicyError, ProtocolError
from common.job import Job
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import OK, Hello, ReceiptMessage, Reply, Task

JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=3, clients=2, population=10, signal=7.0,
    epsilon=8.0, delta=0.01, solver="subspace", settings={"rounds": 2},
)  # fmt: skip
SERVER, LEDGER = SigningKey.create(), SigningKey.create()
SIGNED_JOB = JOB.model_copy(update={"server": SERVER.public})
HEAD = SignedHead.sign(LEDGER, "shop-1", 7, "0" * 64)
RECEIPT = Receipt.sign(SERVER, HEAD, "2026-01-01T00:00:00.000+00:00")
ARRAYS = st.dictionaries(
    st.text("abc_", min_size=1, max_size=6),
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64]),
        hnp.array_shapes(max_dims=3, max_side=4),
    ),
    max_size=3,
)


def task(**fields: Any) -> Task:
    return Task(**{"job": JOB, "step": 1, "inputs": {"a": np.ones(3, np.float32)}, **fields})


@settings(max_examples=50, deadline=None)
@given(ARRAYS, st.integers(0, 99), st.integers(0, 9))
def test_a_task_round_trips(inputs: dict[str, Any], step: int, session: int) -> None:
    sent = Task(SIGNED_JOB, step, inputs, session, receipt=RECEIPT).signed(SERVER)
    found = Task.from_records(sent.to_records())
    assert (found.job, found.step, found.session) == (SIGNED_JOB, step, session)
    assert (found.signature, found.receipt) == (sent.signature, RECEIPT)
    assert found.request_hash == sent.request_hash
    found.check_signature()
    for name, array in inputs.items():
        assert found.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(found.inputs[name], array)


@settings(max_examples=30, deadline=None)
@given(ARRAYS)
def test_a_reply_round_trips(arrays: dict[str, Any]) -> None:
    found = Reply.from_records(Reply(OK, arrays, HEAD).to_records())
    assert (found.code, found.head) == (OK, HEAD)
    assert {name: array.tobytes() for name, array in found.arrays.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_a_receipt_message_round_trips() -> None:
    sent = ReceiptMessage(RECEIPT)
    assert ReceiptMessage.from_records(sent.to_records()) == sent


def test_copies_share_their_arrays_and_differ_in_the_receipt_alone() -> None:
    other = Receipt.sign(SERVER, SignedHead.sign(LEDGER, "shop-2", 1, "1" * 64), RECEIPT.time)
    sent = task(receipt=RECEIPT)
    copies = list(sent.copies([None, RECEIPT, other]))
    assert all(copy["inputs"] is copies[0]["inputs"] for copy in copies)
    found = [Task.from_records(copy) for copy in copies]
    assert [copy.receipt for copy in found] == [None, RECEIPT, other]
    assert {copy.request_hash for copy in found} == {sent.request_hash}


@pytest.mark.parametrize("code", list(Code))
def test_every_code_can_be_answered(code: Code) -> None:
    assert Reply.from_records(Reply(str(code)).to_records()) == Reply(str(code))


def test_the_hash_of_a_request_is_of_everything_that_the_answer_depends_on() -> None:
    ones = np.ones(4, np.float32)
    requests = [
        task(),
        task(step=2),
        task(session=1),
        task(job=JOB.model_copy(update={"seed": 1})),
        task(job=JOB.model_copy(update={"job_id": "00" * 16})),
        task(inputs={}),
        task(inputs={"b": np.ones(3, np.float32)}),
        task(inputs={"a": ones}),
        task(inputs={"a": ones.reshape(2, 2)}),
        task(inputs={"a": ones.view(np.int32)}),
        task(inputs={"a": ones.astype(np.float64)}),
        task(inputs={"a": ones, "b": ones}),
        task(inputs={"a": np.nextafter(ones, np.float32(2))}),
    ]
    assert len({request.request_hash for request in requests}) == len(requests)
    swapped = {"b": ones, "a": 2 * ones}
    ordered = {"a": 2 * ones, "b": ones}
    assert task(inputs=swapped).request_hash == task(inputs=ordered).request_hash
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert (
        task(inputs={"a": columns}).request_hash
        == task(inputs={"a": np.ascontiguousarray(columns)}).request_hash
    )


def test_neither_signature_nor_receipt_is_part_of_the_request() -> None:
    """A server that asks again has another receipt, and gets the same release."""
    plain = task(job=SIGNED_JOB)
    assert plain.signed(SERVER).request_hash == plain.request_hash
    assert task(job=SIGNED_JOB, receipt=RECEIPT).request_hash == plain.request_hash


ALTERED: dict[str, dict[str, Any]] = {
    "nothing signed": {"signature": ""},
    "no hexadecimal": {"signature": "é" * 128},
    "another's signature": {"signature": SigningKey.create().sign("task", {"request": "x"})},
    "a signature for something else": {"signature": RECEIPT.signature},
    "another step": {"step": 2},
    "another session": {"session": 1},
    "another job": {"job": SIGNED_JOB.model_copy(update={"epsilon": 9.0})},
    "another server": {"job": SIGNED_JOB.model_copy(update={"server": SigningKey.create().public})},
    "other inputs": {"inputs": {"a": np.zeros(3, np.float32)}},
    "more inputs": {"inputs": {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}},
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_task_that_its_server_did_not_sign_is_refused(name: str) -> None:
    signed = task(job=SIGNED_JOB).signed(SERVER)
    signed.check_signature()
    with pytest.raises(PolicyError) as caught:
        replace(signed, **ALTERED[name]).check_signature()
    assert caught.value.code is Code.POLICY_SERVER


def test_a_job_without_a_server_needs_no_signature() -> None:
    task().check_signature()
    task(signature="anything").check_signature()


def test_a_copy_of_a_job_with_other_content_has_another_fingerprint() -> None:
    assert JOB.fingerprint == Job.model_validate_json(JOB.model_dump_json()).fingerprint
    assert JOB.model_copy(update={"seed": 1}).fingerprint != JOB.fingerprint


SIGNS = {"signature": "", "receipt": ""}


def header(**fields: Any) -> RecordDict:
    values = {"job": JOB.model_dump_json(), "step": 0, "session": 0, **SIGNS, **fields}
    kept = {name: value for name, value in values.items() if value is not None}
    return RecordDict({"task": ConfigRecord(kept), "inputs": ArrayRecord()})


BAD_TASKS = {
    "empty": RecordDict(),
    "no inputs": RecordDict({"task": header()["task"]}),
    "metrics for inputs": RecordDict({"task": header()["task"], "inputs": MetricRecord()}),
    "no job": header(job=None),
    "job is bytes": header(job=b"{}"),
    "job is no JSON": header(job="{"),
    "job is a list": header(job="[1]"),
    "job is deep": header(job="[" * 100_000),
    "job has a huge number": header(job='{"seed": ' + "9" * 5000 + "}"),
    "step is text": header(step="0"),
    "step is a truth": header(step=True),
    "step is a fraction": header(step=0.5),
    "step is negative": header(step=-1),
    "session is negative": header(session=-1),
    "no signature": header(signature=None),
    "signature is bytes": header(signature=b"00"),
    "no receipt": header(receipt=None),
    "receipt is no JSON": header(receipt="{"),
    "receipt is a head": header(receipt=HEAD.model_dump_json()),
    "receipt has more fields": header(receipt=RECEIPT.model_dump_json()[:-1] + ',"x":1}'),
    "receipt is long": header(receipt=RECEIPT.model_dump_json() + " " * 2_000),
    "job misses fields": header(job="{}"),
    "job has more fields": header(job=JOB.model_dump_json()[:-1] + ',"x":1}'),
    "job id is a path": header(job=JOB.model_dump_json().replace("ab" * 16, "../../etc/passwd")),
    "epsilon is infinite": header(
        job=JOB.model_dump_json().replace('"epsilon":8.0', '"epsilon":Infinity')
    ),
    "mode is unknown": header(job=JOB.model_dump_json().replace('"local"', '"anything"')),
}


@pytest.mark.parametrize("name", BAD_TASKS)
def test_what_is_no_task_is_refused(name: str) -> None:
    with pytest.raises(HushRecError) as caught:
        Task.from_records(BAD_TASKS[name])
    assert caught.value.code in {
        Code.PROTOCOL_INVALID, Code.CONFIG_INVALID, Code.CONFIG_UNKNOWN_KEY
    }  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"\x93NUMPY\x01\x00",
        b"\x80\x04\x95pickle",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
        + b" " * 61 + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, "
        b"'shape': (99999999999999,), }" + b" " * 40 + b"\n",
    ],
)  # fmt: skip
def test_bytes_that_are_no_array_are_refused_and_never_unpickled(data: bytes) -> None:
    array = Array("float32", (1,), "numpy.ndarray", data)
    records = header()
    records["inputs"] = ArrayRecord({"a": array})
    with pytest.raises(ProtocolError) as caught:
        Task.from_records(records)
    assert caught.value.code is Code.PROTOCOL_INVALID


HEAD_TEXT = HEAD.model_dump_json()
BAD_HEADS = {
    "a hash": "0" * 64,
    "no JSON": "{",
    "deep": "[" * 1_000,
    "a list": "[]",
    "fields missing": "{}",
    "more fields": HEAD_TEXT[:-1] + ',"x":1}',
    "huge": HEAD_TEXT + " " * 2_000,
    "huge number": HEAD_TEXT.replace('"seq":7', '"seq":' + "9" * 1_000),
    "negative number": HEAD_TEXT.replace('"seq":7', '"seq":-1'),
    "client is a page": HEAD_TEXT.replace("shop-1", "<b>pay me</b>"),
    "short signature": HEAD_TEXT.replace(HEAD.signature, HEAD.signature[:-1]),
    "newline after the hash": HEAD_TEXT.replace("0" * 64, "0" * 64 + "\\n"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_what_is_no_head_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        Reply.from_records(reply("ok", BAD_HEADS[name]))


@pytest.mark.parametrize("code", ["fine", "", 1, "ok\n"])
def test_a_reply_says_only_what_we_would_say(code: Any) -> None:
    with pytest.raises(ProtocolError):
        Reply.from_records(reply(code, ""))


def reply(code: Any, head: str) -> RecordDict:
    header = ConfigRecord({"code": code, "head": head})
    return RecordDict({"reply": header, "release": ArrayRecord()})


@given(st.text(max_size=80) | st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_no_text_breaks_the_reader_of_heads_and_receipts(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    for read, records in (
        (Reply.from_records, reply("ok", text)),
        (ReceiptMessage.from_records, RecordDict({"receipt": ConfigRecord({"receipt": text})})),
    ):
        with suppress(ProtocolError):
            read(records)


@pytest.mark.parametrize(
    "records",
    [RecordDict(), RecordDict({"receipt": ConfigRecord({"receipt": ""})}), reply("ok", "")],
)
def test_what_is_no_receipt_message_is_refused(records: RecordDict) -> None:
    with pytest.raises(ProtocolError) as caught:
        ReceiptMessage.from_records(records)
    assert caught.value.code is Code.PROTOCOL_INVALID


def test_a_refused_hello_keeps_its_code() -> None:
    with pytest.raises(HushRecError) as caught:
        Hello.from_records(Reply(str(Code.NOISE_SEEDED)).to_records())
    assert caught.value.code is Code.NOISE_SEEDED
    with pytest.raises(ProtocolError):
        Hello.from_records(RecordDict({"reply": ConfigRecord({"code": "what?"})}))
    with pytest.raises(ProtocolError):
        Hello.from_records(RecordDict({"reply": ConfigRecord({"code": "ok"})}))


def test_a_job_longer_than_any_is_refused_before_it_is_parsed() -> None:
    records = task().to_records()
    records["task"]["job"] = "[" * 64_001  # type: ignore[index]
    with pytest.raises(ProtocolError, match="longer") as caught:
        Task.from_records(records)
    assert caught.value.code is Code.PROTOCOL_INVALID


def test_the_request_hash_is_taken_once_and_never_carried_to_another_request(
    monkeypatch: Any,
) -> None:
    asked = task(job=SIGNED_JOB)
    first = asked.request_hash
    assert replace(asked, step=asked.step + 1).request_hash != first
    with monkeypatch.context() as patch:
        patch.setattr("common.protocol.tasks.json.dumps", lambda *_, **__: 1 / 0)
        assert asked.request_hash == first

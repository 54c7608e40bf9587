"""Messages: what goes in comes out, and nothing else is taken for a message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import Code, HushRecError, ProtocolError
from common.job import Job
from common.protocol import OK, Hello, Reply, Task

JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=3, clients=2, population=10, signal=7.0,
    epsilon=8.0, delta=0.01, solver="subspace", settings={"rounds": 2},
)  # fmt: skip
HEAD = "0" * 64
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
    sent = Task(JOB, step, inputs, session)
    found = Task.from_records(sent.to_records())
    assert (found.job, found.step, found.session) == (JOB, step, session)
    assert found.request_hash == sent.request_hash
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


def test_a_copy_of_a_job_with_other_content_has_another_fingerprint() -> None:
    assert JOB.fingerprint == Job.model_validate_json(JOB.model_dump_json()).fingerprint
    assert JOB.model_copy(update={"seed": 1}).fingerprint != JOB.fingerprint


def header(**fields: Any) -> RecordDict:
    values = {"job": JOB.model_dump_json(), "step": 0, "session": 0, **fields}
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


@pytest.mark.parametrize(
    ("code", "head"),
    [("fine", ""), ("", ""), ("ok", "x" * 64), ("ok", "0" * 63), ("ok", HEAD + "\n"), (1, "")],
)
def test_a_reply_says_only_what_we_would_say(code: Any, head: str) -> None:
    records = RecordDict(
        {"reply": ConfigRecord({"code": code, "head": head}), "release": ArrayRecord()}
    )
    with pytest.raises(ProtocolError):
        Reply.from_records(records)


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

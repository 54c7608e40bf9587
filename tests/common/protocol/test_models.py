"""A model on the wire: what goes in comes out, and a signature is under all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from common.artifacts import Manifest
from common.errors import Code, PolicyError, ProtocolError
from common.privacy.signing import SigningKey
from common.protocol import ModelMessage
from tests.sent_models import a_message

KEY = SigningKey.create()
TEXT = st.text(max_size=20)
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    arrays_of.arrays(np.float32, arrays_of.array_shapes(max_dims=2, max_side=5)),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MANIFESTS = st.builds(
    Manifest, kind=TEXT, name=TEXT, catalogue_version=TEXT, job_id=TEXT, step=st.integers(),
    private=st.booleans(), privacy=st.dictionaries(TEXT, JSON, max_size=3),
    settings=st.dictionaries(TEXT, JSON, max_size=3), sha256=TEXT,
)  # fmt: skip
MESSAGES = st.builds(
    ModelMessage,
    serial=st.integers(1, (1 << 63) - 1),
    version=st.from_regex(r"[0-9]{4,9}-[0-9a-f]{8}", fullmatch=True),
    manifest=MANIFESTS,
    arrays=ARRAYS,
)


def refused(records: RecordDict) -> None:
    with pytest.raises(ProtocolError) as caught:
        ModelMessage.from_records(records)
    assert caught.value.code is Code.PROTOCOL_INVALID


def signed_by_nobody(message: ModelMessage) -> None:
    with pytest.raises(PolicyError) as caught:
        message.check_signature()
    assert caught.value.code is Code.POLICY_SERVER


@settings(deadline=None)
@given(MESSAGES)
def test_what_is_sent_is_what_is_read(message: ModelMessage) -> None:
    sent = message.signed(KEY)
    read = ModelMessage.from_records(sent.to_records())
    assert replace(read, arrays={}) == replace(sent, arrays={})
    assert read.arrays.keys() == sent.arrays.keys()
    for name, array in sent.arrays.items():
        assert (read.arrays[name].dtype, read.arrays[name].shape) == (array.dtype, array.shape)
        assert read.arrays[name].tobytes() == array.tobytes()
    read.check_signature()
    assert read.digest == sent.digest


def test_all_copies_share_their_arrays() -> None:
    copies = a_message(KEY).copies()
    first, second = next(copies), next(copies)
    assert first["arrays"] is second["arrays"]
    assert first["model"] == second["model"]


def manifest(**changes: Any) -> Any:
    return lambda m: replace(m, manifest=m.manifest.model_copy(update=changes))


def array(name: str, change: Any) -> Any:
    return lambda m: replace(m, arrays={**m.arrays, name: change(m.arrays[name])})


CHANGES: dict[str, Any] = {
    "serial": lambda m: replace(m, serial=2),
    "version": lambda m: replace(m, version="0009-1a2b3c4d"),
    "private": manifest(private=False),
    "ε": manifest(privacy={"epsilon": 0.1}),
    "catalogue": manifest(catalogue_version="d" * 64),
    "one number": array("item_bias", lambda a: a + np.float32(1e-30)),
    "its shape": array("item_embeddings", lambda a: a.reshape(4, 60)),
    "its type": array("popularity", lambda a: a.view(np.int32)),
    "a name": lambda m: replace(m, arrays={f"x{name}": a for name, a in m.arrays.items()}),
    "an array more": lambda m: replace(m, arrays={**m.arrays, "more": np.zeros(1, np.float32)}),
    "an array less": lambda m: replace(
        m, arrays={name: a for name, a in m.arrays.items() if name != "popularity"}
    ),
    "another server": lambda m: replace(m, server=SigningKey.create().public),
    "no signature": lambda m: replace(m, signature=""),
    "zeros": lambda m: replace(m, signature="0" * 128),
    "for another purpose": lambda m: replace(m, signature=KEY.sign("task", {"model": m.digest})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_signature_is_under_all_of_it(name: str) -> None:
    message = a_message(KEY)
    message.check_signature()
    signed_by_nobody(CHANGES[name](message))


def test_what_json_has_no_word_for_is_signed_by_nobody() -> None:
    message = a_message(KEY)
    changed = replace(message, manifest=message.manifest.model_copy(update={"privacy": {"e": np.inf}}))  # fmt: skip # noqa: E501
    signed_by_nobody(changed)


def header(**changes: Any) -> RecordDict:
    records = a_message(KEY).to_records()
    values = {**dict(records["model"]), **changes}  # type: ignore[arg-type]
    records["model"] = ConfigRecord({k: v for k, v in values.items() if v is not None})
    return records


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": 0}, {"serial": -1}, {"serial": 1 << 63}, {"serial": "1"}, {"serial": 1.0},
        {"serial": True}, {"serial": None}, {"version": ""}, {"version": "1-1a2b3c4d"},
        {"version": "../../0001-1a2b3c4d"}, {"version": "0001-1a2b3c4d\n"},
        {"version": "0001-1A2B3C4D"}, {"server": "ab"}, {"server": "x" * 64},
        {"signature": ""}, {"signature": b"0" * 64}, {"manifest": ""}, {"manifest": "null"},
        {"manifest": "{}"}, {"manifest": "[" * 100_000}, {"manifest": "x" * 10_000_001},
        {"manifest": None},
    ],
    ids=range(22),
)  # fmt: skip
def test_a_header_that_no_server_would_send_is_refused(changes: dict[str, Any]) -> None:
    refused(header(**changes))


@pytest.mark.parametrize("part", ["model", "arrays"])
def test_a_missing_or_other_record_is_refused(part: str) -> None:
    records = a_message(KEY).to_records()
    other = ArrayRecord() if part == "model" else ConfigRecord()
    for found in (other, None):
        changed = RecordDict({n: r for n, r in records.items() if n != part})
        if found is not None:
            changed[part] = found
        refused(changed)


@pytest.mark.parametrize("data", [b"", b"\x80\x04]", b"\x93NUMPY\x01\x00", b"x" * 1000])
def test_bytes_that_are_no_array_are_refused(data: bytes) -> None:
    records = a_message(KEY).to_records()
    records["arrays"] = ArrayRecord(
        {"item_embeddings": Array(dtype="float32", shape=(60, 4), stype="numpy.ndarray", data=data)}
    )
    refused(records)

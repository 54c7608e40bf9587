"""What passes through the pipes comes out as it went in, or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.launcher.bundle import Bundle
from client.launcher.parcel import (
    Errand,
    Packed,
    read_errand,
    read_packed,
    write_errand,
    write_packed,
)
from common.errors import Code, ProtocolError

PACKED = st.builds(
    Packed,
    message=st.binary(max_size=50),
    tree=st.binary(max_size=50),
    objects=st.dictionaries(st.text(max_size=10), st.binary(max_size=50), max_size=4),
)
ERRAND = Errand(
    home="/a/client",
    run_id=2**64 - 1,
    node_id=7,
    bundle=Bundle.of(b"", named="n", delivered="d", task_type="t"),
)


@given(PACKED)
def test_an_errand_and_its_message_come_back(packed: Packed) -> None:
    stream = io.BytesIO()
    write_errand(stream, ERRAND, packed)
    stream.seek(0)
    assert read_errand(stream) == (ERRAND, packed)
    assert stream.read() == b""


@given(PACKED, st.data())
def test_a_message_that_is_cut_off_anywhere_is_none(packed: Packed, data: st.DataObject) -> None:
    stream = io.BytesIO()
    write_packed(stream, packed)
    whole = stream.getvalue()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ProtocolError) as caught:
        read_packed(io.BytesIO(whole[:cut]))
    assert caught.value.code is Code.PROTOCOL_INVALID

"""Delimited text: every line is a row, a blank or a fault."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import delimited
from common.delimited import parse_delimited
from common.errors import Code, DataError


def test_names_rows_as_lines_of_the_file() -> None:
    table = parse_delimited(b"a,b\n1,2\n\n3,4\n5\n6,7,8\n", "f")
    assert table.frame.to_dict("list") == {"a": ["1", "3"], "b": ["2", "4"]}
    assert table.rows.tolist() == [2, 4]
    assert [(f.row, f.reason, f.raw) for f in table.faults] == [
        (5, "field-count", "5"),
        (6, "field-count", "6,7,8"),
    ]


def test_a_row_of_empty_fields_is_a_row() -> None:
    assert parse_delimited(b"a,b\n,\n", "f").rows.tolist() == [2]


@pytest.mark.parametrize("sign", [",", "\t", ";", "|"])
def test_finds_the_delimiter(sign: str) -> None:
    table = parse_delimited(f"a{sign}b\n1{sign}2\n".encode(), "f")
    assert list(table.frame.columns) == ["a", "b"]


def test_quotes_protect_delimiters_and_line_ends() -> None:
    table = parse_delimited(b'a,b\n"x,y","p\nq"\n1,2\n', "f")
    assert table.frame["a"].tolist() == ["x,y", "1"]
    assert table.rows.tolist() == [2, 4]


def test_an_open_quote_costs_its_own_line_only() -> None:
    body = b"".join(b"%d,x\n" % n for n in range(200))
    table = parse_delimited(b'a,b\n7,"open\n' + body, "f")
    assert len(table.frame) == 200
    assert [(f.row, f.reason) for f in table.faults] == [(2, "malformed")]
    last = parse_delimited(b'a,b\n1,2\n7,"open', "f")
    assert [(f.row, f.reason) for f in last.faults] == [(3, "malformed")]


def test_names_the_row_of_a_wrong_byte_and_keeps_the_rest() -> None:
    table = parse_delimited(b"a,b\n1,caf\xe9\n2,x\n", "f")
    assert table.frame["a"].tolist() == ["2"]
    assert table.rows.tolist() == [3]
    (fault,) = table.faults
    assert (fault.row, fault.reason, fault.value, fault.raw) == (
        2,
        "encoding",
        "byte 0xe9",
        "1,caf\\xe9",
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert list(parse_delimited(b"\xef\xbb\xbfa,b\n1,2\n", "f").frame.columns) == ["a", "b"]


@pytest.mark.parametrize("data", [b"\xff\xfea\0,\0", b"\x1f\x8b\x08", b"a,b\n\0\0\0"])
def test_refuses_what_is_no_text(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        parse_delimited(data, "f")
    assert caught.value.code is Code.DATA_FORMAT


@pytest.mark.parametrize(
    ("data", "says"), [(b"a,a\n1,2\n", "twice"), (b"caf\xe9,b\n1,2\n", "header"), (b'"a\n', "hea")]
)
def test_refuses_a_header_that_cannot_be_meant(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        parse_delimited(data, "f")


def test_long_delimiters_stay_in_the_raw_line() -> None:
    table = parse_delimited(b"1::2\n3\n4::5\n", "f", names=("a", "b"), delimiter="::")
    assert table.frame["b"].tolist() == ["2", "5"]
    assert parse_delimited(b"1::2::3\n", "f", names=("a", "b"), delimiter="::").faults[0].raw == (
        "1::2::3"
    )


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab1,\n\r \u00e9\u2028\x1c\x0b'", max_size=40), st.booleans())
def test_the_fast_way_is_the_slow_way(text: str, header: bool) -> None:
    data = (("x,y\n" if header else "") + text).encode()
    if not data.strip():
        return
    names = None if header else ("x", "y")
    fast = parse_delimited(data, "f", names=names, delimiter=",")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_fast", lambda *args: None)
        slow = parse_delimited(data, "f", names=names, delimiter=",")
    assert fast.rows.tolist() == slow.rows.tolist()
    assert fast.frame.equals(slow.frame)
    assert fast.faults == slow.faults
    lines = {number for number, line in enumerate(slow.lines, 1) if line.strip()}
    named = set(slow.rows.tolist()) | {fault.row for fault in slow.faults}
    assert lines - named <= {1}, "only a header may be neither row nor fault"

"""A ledger as a file: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audit.export import Export, read_export, write_export
from common.errors import Code, DataError, LedgerError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger import Row, next_row, open_row, row_text
from common.privacy.signing import SigningKey

TIME = "2026-01-01T00:00:00.000+00:00"
KEY, SERVER = SigningKey.create(), SigningKey.create()


def ledger(length: int = 5) -> list[Row]:
    rows = [open_row("shop", "ab" * 16, "nonce", TIME, KEY.public)]
    while len(rows) < length:
        rows.append(next_row(rows[-1], "refuse", {"step": len(rows)}, TIME))
    return rows


def receipt(row: Row) -> Receipt:
    return Receipt.sign(SERVER, SignedHead.sign(KEY, "shop", row.seq, row.hash), TIME)


def written(folder: Path, rows: list[Row], receipts: list[Receipt]) -> Path:
    path = folder / "ledger.jsonl"
    write_export(path, map(row_text, rows), receipts, KEY)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = ledger()
    return written(tmp_path, rows, [receipt(rows[2]), receipt(rows[3])])


def test_what_is_written_is_read_back(path: Path) -> None:
    rows, export = ledger(), read_export(path)
    assert [row[:-1] for row in export.rows] == [
        (row.seq, row.kind, row.time, row.body, row.prev, row.hash) for row in rows
    ]
    assert all(row.intact for row in export.rows)
    assert [one.head.seq for one in export.receipts] == [2, 3]
    assert (export.header.client, export.header.public_key) == ("shop", KEY.public)
    assert (export.header.format, export.header.version) == ("hushrec-ledger", 1)
    assert (export.end.rows, export.end.receipts) == (5, 2)
    assert (export.end.head.seq, export.end.head.hash) == (4, rows[-1].hash)
    assert export.end.is_signed()
    export.end.head.check(KEY.public)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 5 + 2 + 1
    assert hashlib.sha256(b"".join(lines[:-1])).hexdigest() == export.sha256 == export.end.sha256
    assert [json.loads(line) for line in lines]  # JSON Lines


def test_a_ledger_that_was_only_opened_and_never_seen(tmp_path: Path) -> None:
    export = read_export(written(tmp_path, ledger(1), []))
    assert (len(export.rows), export.receipts) == (1, ())


def malformed(path: Path) -> int | None:
    """The line that is named, None if the file is read."""
    try:
        read_export(path)
    except LedgerError as error:
        refused = error
    else:
        return None
    assert refused.code is Code.LEDGER_EXPORT
    return int(refused.where.rpartition(":")[2])


def changed(path: Path, number: int, old: str, new: str) -> Path:
    lines = path.read_text().split("\n")
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, '"hushrec-ledger"', '"other"'),
        (1, '"version":1', '"version":2'),
        (1, '"version":1', '"version":true'),
        (1, '"client":"shop"', '"client":"a shop"'),
        (1, '"client":"shop"', '"client":"a","client":"shop"'),
        (1, '{"client"', '{"a":1,"client"'),
        (3, '"seq":1', '"seq": 1'),
        (3, '"kind":"refuse"', '"kind":"rebate"'),
        (3, '"seq":1', '"seq":"1"'),
        (4, '{"body"', '{"receipt"'),
        (5, "}", "}\n"),
        (5, "}", "}\r"),
        (5, '"refuse"', '"\u00e9"'),
        (7, '{"receipt"', '{"received"'),
        (7, '"seq":2', '"seq":2.0'),
        (7, '"time"', '"times"'),
        (8, '"server":"', '"server":"x'),
        (9, '{"end"', '{"done"'),
        (9, '"rows":5', '"rows":0'),
        (9, '"rows":5', '"rows":"5"'),
        (9, "}}", '},"more":1}'),
    ],
)
def test_a_line_of_another_form_is_named(path: Path, number: int, old: str, new: str) -> None:
    assert malformed(changed(path, number, old, new)) == number


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ([0, 1, 6, 2, 3, 4, 5, 7, 8], 4),  # a receipt among the rows: the next row is wrong
        ([1, 0, 2, 3, 4, 5, 6, 7, 8], 1),
        ([0, 0, 1, 2, 3, 4, 5, 6, 7, 8], 2),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 8], 9),
        ([0, 1, 2, 3, 4, 5, 6, 8, 7], 8),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8),
        ([0, 8], 3),
    ],
)
def test_lines_that_stand_elsewhere_are_named(path: Path, order: list[int], named: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[position] for position in order))
    assert malformed(path) == named


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_that_was_cut_anywhere_is_never_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("cut"), ledger(), [])
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert malformed(path) == path.read_bytes().count(b"\n") + 1 or cut_at_a_line(path)


def cut_at_a_line(path: Path) -> bool:
    """Then the last line that is there is not what the file must end with."""
    content = path.read_bytes()
    return content.endswith(b"\n") and malformed(path) == content.count(b"\n")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(content)
    assert malformed(path) is not None
    path.write_bytes(b"\n".join([content] * 4) + b"\n")
    assert malformed(path) is not None


def test_deep_nesting_is_refused(path: Path) -> None:
    lines = path.read_text().split("\n")
    lines[2] = "[" * 100_000
    path.write_text("\n".join(lines))
    assert malformed(path) == 3


def test_no_file_and_no_place(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught:
        read_export(tmp_path / "missing")
    assert caught.value.code is Code.LEDGER_EXPORT
    with pytest.raises(DataError):
        written(tmp_path / "missing", ledger(), [])


@pytest.mark.parametrize("texts", [[], ["{}"], ["x"], [row_text(ledger()[1])]])
def test_what_is_no_ledger_is_not_exported(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(LedgerError) as caught:
        write_export(tmp_path / "out", texts, [], KEY)
    assert caught.value.code is Code.LEDGER_BROKEN
    assert list(tmp_path.iterdir()) == []


def test_an_export_holds_its_file_name(path: Path) -> None:
    export: Export = read_export(path)
    assert export.where == str(path)

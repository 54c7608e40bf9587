"""Whatever is done to an exported ledger is found, and the row that it was done to is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audit.export import End, Export, Header, read_export, write_export
from common.audit.links import link_faults
from common.audit.verify import Verdict, verify_export
from common.errors import LedgerError
from common.privacy.guarantees import guarantees_for
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger import Row, next_row, open_row, read_text, row_hash, row_text
from common.privacy.plan import ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.roster import Terms
from common.privacy.signing import SigningKey

TIMES = [f"2026-01-{day:02}T00:00:00.000+00:00" for day in range(1, 32)]
KEY, SERVER, STRANGER = SigningKey.create(), SigningKey.create(), SigningKey.create()
LENGTH = 9


def ledger(refusal: str = "plan-delta") -> list[Row]:
    """open, admit, three reservations of which two are spent, refusals."""
    rows = [open_row("shop", "ab" * 16, "nonce", TIMES[0], KEY.public)]

    def add(kind: Any, **body: Any) -> None:
        rows.append(next_row(rows[-1], kind, body, TIMES[len(rows)]))

    add("admit", job_id="job", server=SERVER.public)
    add("reserve", job_id="job", step=0)
    add("spend", reservation=2)
    add("reserve", job_id="job", step=1)
    add("refuse", code=refusal)
    add("reserve", job_id="job", step=1)
    add("spend", reservation=6)
    add("close", job_id="job")
    return rows


def head(row: Row, key: SigningKey = KEY) -> SignedHead:
    return SignedHead.sign(key, "shop", row.seq, row.hash)


def receipt(row: Row, server: SigningKey = SERVER, key: SigningKey = KEY) -> Receipt:
    return Receipt.sign(server, head(row, key), TIMES[0])


def exported(
    folder: Path, rows: Sequence[Row], receipts: Sequence[Receipt], key: SigningKey = KEY
) -> Path:
    path = folder / "ledger.jsonl"
    write_export(path, map(row_text, rows), receipts, key)
    return path


def checked(path: Path, **given: Any) -> Verdict:
    verdict = verify_export(read_export(path), **given)
    assert Verdict.load(json.loads(verdict.model_dump_json())) == verdict
    assert verdict.consistent == (verdict.complete != "not consistent")
    return verdict


def named(path: Path, **given: Any) -> tuple[int | None, str]:
    """Row and kind of the first finding."""
    first = checked(path, **given).findings[0]
    return first.row, first.what


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = ledger()
    return exported(tmp_path, rows, [receipt(rows[3]), receipt(rows[7])])


def test_an_untouched_ledger_is_shown_up_to_its_last_receipt(path: Path) -> None:
    verdict = checked(path, client_key=KEY.public, server_keys=[SERVER.public])
    assert verdict.consistent
    assert (verdict.rows, verdict.receipts) == (LENGTH, 2)
    assert (verdict.key_from, verdict.server_keys_from) == ("given", "given")
    assert verdict.shown_up_to == 7
    assert verdict.complete == f"shown up to row 7 by receipts of {SERVER.public[:16]}"


def test_keys_from_the_file_are_said_to_be_so(path: Path) -> None:
    verdict = checked(path)
    assert verdict.consistent
    assert verdict.key_from == verdict.server_keys_from == "the file itself"
    assert verdict.key == KEY.public
    assert verdict.complete.endswith("whose key is from the file itself")


def test_without_receipts_completeness_is_not_shown(tmp_path: Path) -> None:
    path = exported(tmp_path, ledger(), [])
    verdict = checked(path)
    assert (verdict.complete, verdict.shown_up_to) == ("consistent, completeness not shown", None)
    of_a_stranger = exported(tmp_path, ledger(), [receipt(ledger()[7], STRANGER)])
    verdict = checked(of_a_stranger, server_keys=[SERVER.public])
    assert verdict.complete == "consistent, completeness not shown"


def test_a_head_that_was_seen_shows_up_to_it(path: Path) -> None:
    rows = ledger()
    assert checked(path, seen=head(rows[8])).complete == (
        "shown up to row 8 by a head that was seen before"
    )
    assert checked(path, seen=head(rows[5])).shown_up_to == 7


Lines = list[bytes]


def edit(path: Path, change: Callable[[Lines], None]) -> Path:
    """Change the file's rows, as bytes; header, receipts and end stay."""
    lines = path.read_bytes().splitlines(keepends=True)
    first, rows, rest = lines[:1], lines[1 : 1 + LENGTH], lines[1 + LENGTH :]
    change(rows)
    path.write_bytes(b"".join((*first, *rows, *rest)))
    return path


POSITIONS = st.integers(0, LENGTH - 1)


@settings(max_examples=150, deadline=None)
@given(POSITIONS, st.data())
def test_an_edited_row_is_found_and_named(
    tmp_path_factory: pytest.TempPathFactory, position: int, data: st.DataObject
) -> None:
    """Any byte: it names the row, or its line cannot be read."""
    path = exported(tmp_path_factory.mktemp("edit"), ledger(), [])

    def change(rows: Lines) -> None:
        line = rows[position]
        at = data.draw(st.integers(0, len(line) - 2))
        byte = data.draw(st.sampled_from([b for b in range(32, 127) if b != line[at]]))
        rows[position] = line[:at] + bytes([byte]) + line[at + 1 :]

    edit(path, change)
    try:
        found = named(path)
    except LedgerError as error:
        assert str(error.code) == "ledger-export"  # noqa: PT017 - either may happen
        assert error.where.endswith(f":{position + 2}")  # noqa: PT017
    else:
        assert found == (position, "edited")


@settings(max_examples=40, deadline=None)
@given(POSITIONS, st.data())
def test_dropped_rows_are_found_and_the_first_is_named(
    tmp_path_factory: pytest.TempPathFactory, position: int, data: st.DataObject
) -> None:
    path = exported(tmp_path_factory.mktemp("drop"), ledger(), [])
    end = data.draw(st.integers(position + 1, LENGTH))
    if (position, end) == (0, LENGTH):
        return
    edit(path, lambda rows: rows.__delitem__(slice(position, end)))
    assert named(path) == (position, "truncated" if end == LENGTH else "dropped")


@settings(max_examples=40, deadline=None)
@given(POSITIONS, POSITIONS)
def test_a_row_that_was_moved_is_found(
    tmp_path_factory: pytest.TempPathFactory, start: int, end: int
) -> None:
    if start == end:
        return
    path = exported(tmp_path_factory.mktemp("move"), ledger(), [])
    edit(path, lambda rows: rows.insert(end, rows.pop(start)))
    assert named(path) == (min(start, end), "reordered")


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(LENGTH)))
def test_any_other_order_is_found_at_the_first_row_that_is_not_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    path = exported(tmp_path_factory.mktemp("order"), ledger(), [])

    def change(rows: Lines) -> None:
        rows[:] = [rows[position] for position in order]

    edit(path, change)
    first = next((i for i, position in enumerate(order) if i != position), None)
    if first is None:
        assert checked(path).consistent
    else:
        assert named(path) == (first, "reordered")


@settings(max_examples=40, deadline=None)
@given(POSITIONS, st.data())
def test_a_row_that_is_there_twice_is_found_and_named(
    tmp_path_factory: pytest.TempPathFactory, position: int, data: st.DataObject
) -> None:
    path = exported(tmp_path_factory.mktemp("twice"), ledger(), [])
    at = data.draw(st.integers(position + 1, LENGTH))
    edit(path, lambda rows: rows.insert(at, rows[position]))
    verdict = checked(path)
    assert [(one.row, one.what) for one in verdict.findings] == [(position, "duplicated")]


@pytest.mark.parametrize("position", range(1, LENGTH + 1))
def test_a_row_that_was_put_in_is_found(path: Path, position: int) -> None:
    """Made like a real one, without the key: it takes the number of the row it displaces."""
    forged = next_row(ledger()[position - 1], "refuse", {"code": "forged"}, TIMES[30])
    edit(path, lambda rows: rows.insert(position, row_text(forged).encode() + b"\n"))
    verdict = checked(path)
    assert not verdict.consistent
    found = {(one.row, one.what) for one in verdict.findings}
    assert found & {(position, "edited"), (position, "inserted")}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, LENGTH),
    st.one_of(st.integers(-(1 << 70), LENGTH + 3), st.integers(1 << 62, 1 << 70)),
    st.booleans(),
)
def test_a_row_with_any_number_that_was_put_in_is_found(
    tmp_path_factory: pytest.TempPathFactory, position: int, number: int, signed: bool
) -> None:
    """Also by who has the key and signs the last line anew: the row belongs nowhere."""
    rows = ledger()
    values = rows[min(position, LENGTH - 1)].model_dump() | {"seq": number, "kind": "refuse"}
    forged = Row(**values)
    forged = forged.model_copy(update={"hash": row_hash(forged)})
    folder = tmp_path_factory.mktemp("number")
    if signed and 0 < position < LENGTH:
        path = exported(folder, [*rows[:position], forged, *rows[position:]], [])
    else:
        path = exported(folder, rows, [receipt(rows[7])])
        edit(path, lambda lines: lines.insert(position, line(forged)))
    try:
        assert not checked(path).consistent
    except LedgerError as error:
        assert not 0 <= number < 1 << 63
        assert error.where.endswith(f":{position + 2}")  # noqa: PT017


@pytest.mark.parametrize("numbers", [(-1,), (-5, 3), (0, -1, -1)])
def test_links_name_numbers_that_no_row_has(numbers: tuple[int, ...]) -> None:
    """Should reading ever let them through."""
    texts = [row_text(row) for row in ledger()]
    rows = [read_text(text) for text in texts]
    put_in = [rows[3]._replace(seq=number, hash=f"{n:064x}") for n, number in enumerate(numbers)]
    faults = list(link_faults([*rows[:5], *put_in, *rows[5:]]))
    assert {fault.row for fault in faults} == set(numbers)
    assert {fault.what for fault in faults} == {"inserted"}
    export = Export(
        header=Header(client="shop", dataset_id="ab" * 16, public_key=KEY.public),
        rows=(*rows[:5], *put_in, *rows[5:]),
        receipts=(receipt(ledger()[7]),),
        end=End(head=head(ledger()[8]), receipts=1, rows=10, sha256="0" * 64, signature="00" * 64),
        sha256="0" * 64,
        where="here",
    )
    found = {one.what for one in verify_export(export).findings}
    assert found == {"inserted", "signature"}  # the receipt's row is still there


def test_a_missed_row_that_comes_later_counts_once() -> None:
    """A second one with its number and another hash is one that was put in."""
    rows = [read_text(row_text(row)) for row in ledger()]
    other = rows[3]._replace(hash="f" * 64)
    faults = list(link_faults([*rows[:3], rows[4], rows[3], other, *rows[5:]]))
    assert [(fault.row, fault.what) for fault in faults] == [(3, "reordered"), (3, "inserted")]


def test_a_bare_hash_that_is_there_shows_up_to_its_row(path: Path) -> None:
    rows = ledger()
    verdict = checked(path, seen=rows[8].hash)
    assert verdict.shown_up_to == 8
    assert verdict.complete == "shown up to row 8 by a head that was seen before"
    assert checked(path, seen=rows[5].hash).shown_up_to == 7
    assert named(path, seen="0" * 64) == (LENGTH, "rolled-back")


@pytest.mark.parametrize("position", range(LENGTH))
def test_a_row_replaced_with_a_fitting_hash_is_named(path: Path, position: int) -> None:
    rows = ledger()
    old = rows[position]
    values = old.model_dump(exclude={"hash"}) | {"body": {**old.body, "step": 77}}
    forged = Row(**values, hash="00" * 32)
    text = row_text(forged)
    fitting = next_row(rows[position - 1], old.kind, values["body"], old.time) if position else None
    if fitting is not None:
        text = row_text(fitting)
    edit(path, lambda lines: lines.__setitem__(position, text.encode() + b"\n"))
    assert named(path) == (position, "edited")


def test_a_tail_that_was_written_anew_is_not_the_one_that_was_signed(path: Path) -> None:
    other = ledger(refusal="forged")
    edit(path, lambda rows: rows.__setitem__(slice(5, 9), [line(row) for row in other[5:]]))
    verdict = checked(path)
    assert [(one.row, one.what) for one in verdict.findings] == [(7, "receipt"), (8, "edited")]


def line(row: Row) -> bytes:
    return row_text(row).encode() + b"\n"


def test_the_owner_who_rewrites_history_is_found_by_receipts(tmp_path: Path) -> None:
    """With the key everything fits, but for what others saw."""
    true, other = ledger(), ledger(refusal="forged")
    seen = [receipt(true[3]), receipt(true[7])]
    rewritten = exported(tmp_path, other, seen)
    assert named(rewritten) == (7, "receipt")
    assert named(rewritten, server_keys=[STRANGER.public]) == (7, "receipt")
    assert checked(exported(tmp_path, other, seen[:1])).shown_up_to == 3
    assert named(exported(tmp_path, other, []), seen=head(true[8])) == (8, "rolled-back")


@pytest.mark.parametrize("length", [1, 4, 6])
def test_a_ledger_that_was_rolled_back_is_found(tmp_path: Path, length: int) -> None:
    rows = ledger()
    path = exported(tmp_path, rows[:length], [])
    assert checked(path).consistent
    assert named(path, seen=head(rows[8])) == (length, "rolled-back")
    assert named(exported(tmp_path, rows[:length], [receipt(rows[7])])) == (length, "rolled-back")


def semantic(folder: Path, *added: tuple[str, dict[str, Any], str]) -> tuple[int | None, str]:
    """What is found in a ledger whose owner wrote `added` and signed it."""
    rows = ledger()
    for kind, body, time in added:
        last = rows[-1].model_copy(update={"time": ""})
        rows.append(next_row(last, kind, body, time))  # type: ignore[arg-type]
    return named(exported(folder, rows, []))


def test_rows_that_cannot_follow_are_named(tmp_path: Path) -> None:
    late = TIMES[20]
    assert semantic(tmp_path, ("spend", {"reservation": 2}, late)) == (9, "unreserved")
    assert semantic(tmp_path, ("spend", {"reservation": 99}, late)) == (9, "unreserved")
    assert semantic(tmp_path, ("spend", {"reservation": []}, late)) == (9, "unreserved")
    assert semantic(tmp_path, ("refuse", {}, TIMES[0])) == (9, "time-backwards")
    assert semantic(tmp_path, ("open", {}, late)) == (9, "opening")
    agree = {"job_id": "j", "step": 0, "session": 1}
    first = ("agree", {**agree, "survivors": ["a", "b"]}, late)
    other = ("agree", {**agree, "survivors": ["a"]}, late)
    assert semantic(tmp_path, first, other) == (10, "agreed-twice")
    halted = ("halt", {"seq": 99, "hash": "00", "server": "s"}, late)
    assert semantic(tmp_path, halted, ("reserve", {}, late)) == (10, "halted")


def test_the_wrong_key_is_found(path: Path, tmp_path: Path) -> None:
    assert named(path, client_key=STRANGER.public) == (None, "signature")
    rows = ledger()
    by_another = exported(tmp_path, rows, [], key=STRANGER)
    assert named(by_another) == (None, "signature")
    assert named(path, seen=head(rows[3], STRANGER)) == (3, "signature")
    forged = head(rows[3]).model_copy(update={"signature": "00" * 64})
    assert named(path, seen=forged) == (3, "signature")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"client":"shop","dataset_id"', b'"client":"hops","dataset_id"'),
        (b"abab", b"baba"),
        (KEY.public.encode(), STRANGER.public.encode()),
    ],
    ids=["client", "data set", "key"],
)
def test_a_header_that_was_edited_is_found(path: Path, old: bytes, new: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(old, new)
    path.write_bytes(b"".join(lines))
    assert "file" in {one.what for one in checked(path).findings}


@pytest.mark.parametrize("change", ["drop", "reorder", "repeat"])
def test_receipts_that_were_dropped_moved_or_repeated_are_found(path: Path, change: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    one, two = lines[-3:-1]
    receipts = {"drop": [one], "reorder": [two, one], "repeat": [one, two, two]}[change]
    path.write_bytes(b"".join((*lines[:-3], *receipts, lines[-1])))
    assert named(path) == (None, "file")


@pytest.mark.parametrize("number", [-3, -2])
def test_a_receipt_that_was_edited_is_found(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"2026-01-01", b"2026-01-02")
    path.write_bytes(b"".join(lines))
    assert named(path)[1] in {"file", "signature"}


def test_a_receipt_for_another_ledger_does_not_count(tmp_path: Path) -> None:
    rows = ledger()
    path = exported(tmp_path, rows, [receipt(rows[7], key=STRANGER)])
    assert named(path) == (None, "receipt")


def test_the_last_line_is_under_its_signature(path: Path) -> None:
    export = read_export(path)
    for changes in ({"rows": 8}, {"receipts": 1}, {"sha256": "00" * 32}):
        end = export.end.model_copy(update=changes)
        found = verify_export(replace(export, end=end)).findings
        assert {one.what for one in found} == {"signature", "file"}


def test_no_more_findings_are_listed_than_anybody_reads(tmp_path: Path) -> None:
    rows = [open_row("shop", "ab" * 16, "nonce", TIMES[0], KEY.public)]
    for _ in range(150):
        rows.append(next_row(rows[-1], "spend", {"reservation": 1}, TIMES[0]))
    verdict = checked(exported(tmp_path, rows, []))
    assert (len(verdict.findings), verdict.findings_left_out) == (100, 50)


def test_an_export_without_rows_is_found(path: Path) -> None:
    export: Export = replace(read_export(path), rows=())
    found = verify_export(export).findings
    assert (found[0].row, found[0].what) == (0, "truncated")


def secure(epsilon_recorded: float | None) -> list[Row]:
    """A ledger that admitted secure sums; with that ε in its row, if one is given."""
    plan = make_plan(
        [ReleaseShape(step="popularity.count", rows=50, width=1, share=1.0)],
        epsilon=3.0,
        delta=1e-5,
        unit="user",
        mode="distributed",
        population=1000,
        terms=Terms(clients=5, threshold=4, colluders=1),
    )
    promised = [one.model_dump(mode="json") for one in guarantees_for(plan, 2)]
    if epsilon_recorded is not None:
        promised[1]["epsilon"] = epsilon_recorded
    rows = [open_row("shop", "ab" * 16, "nonce", TIMES[0], KEY.public)]
    body = {"job_id": "job", "plan": plan.model_dump(mode="json"), "guarantees": promised}
    return [*rows, next_row(rows[0], "admit", body, TIMES[1])]


def test_a_promise_that_the_plan_does_not_make_is_found_with_public_keys_alone(
    tmp_path: Path,
) -> None:
    assert checked(exported(tmp_path, secure(None), [])).consistent
    assert named(exported(tmp_path, secure(3.5), [])) == (1, "guarantee")


def test_a_plan_of_secure_sums_that_nobody_can_read_is_found(tmp_path: Path) -> None:
    rows = secure(None)
    body = {**rows[1].body, "plan": {"mode": "distributed", "releases": 3}}
    path = exported(tmp_path, [rows[0], next_row(rows[0], "admit", body, TIMES[1])], [])
    assert named(path) == (1, "guarantee")

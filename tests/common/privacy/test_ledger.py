import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, LedgerError
from common.privacy.events import GaussianSumEvent, NoPrivacyEvent
from common.privacy.ledger import (
    KINDS,
    Row,
    charges,
    next_row,
    open_row,
    read_text,
    row_hash,
    row_text,
    verify,
)
from common.privacy.ledger_rows import read_own_text

TIME = "2026-01-01T00:00:00.000+00:00"
EVENT = GaussianSumEvent(
    sampler="exact", sigma_grid=2**26, clip_grid=2**25, rows=5, width=2, sampling_rate=1, steps=1
)


def ledger():
    """open, admit, two reservations of which one is spent, a refusal."""
    rows = [open_row("shop", "data-1", "nonce", TIME, "00" * 32)]

    def add(kind, **body):
        rows.append(next_row(rows[-1], kind, body, TIME))

    add("admit", job_id="job", plan={"unit": "user", "mode": "local"})
    add("reserve", job_id="job", step=0, event=EVENT.model_dump(mode="json"))
    add("spend", reservation=2, release_sha256="00")
    add("reserve", job_id="job", step=1, event=EVENT.model_dump(mode="json"))
    add("refuse", job_id="job", step=2, code="plan-delta")
    return rows


def broken_at(rows):
    with pytest.raises(LedgerError) as error:
        verify(rows)
    assert error.value.code == Code.LEDGER_BROKEN
    return int(error.value.message.split()[1])


def test_an_untouched_ledger_is_consistent():
    verify(ledger())
    verify(ledger(), client="shop", dataset_id="data-1", head=ledger()[-1].hash)


@pytest.mark.parametrize("position", range(6))
def test_an_edited_row_is_named(position):
    rows = ledger()
    rows[position] = rows[position].model_copy(update={"body": {**rows[position].body, "step": 99}})
    assert broken_at(rows) == position


@pytest.mark.parametrize("field", ["seq", "kind", "time", "prev", "hash"])
def test_every_field_is_under_the_hash(field):
    rows = ledger()
    changed = {"seq": 7, "kind": "refuse", "time": "later", "prev": "1" * 64, "hash": "1" * 64}
    rows[2] = rows[2].model_copy(update={field: changed[field]})
    assert broken_at(rows) in (2, 3)


@pytest.mark.parametrize("position", range(5))
def test_a_dropped_row_is_named(position):
    rows = ledger()
    del rows[position]
    assert broken_at(rows) == position


@pytest.mark.parametrize("position", range(6))
def test_a_duplicated_row_is_named(position):
    rows = ledger()
    rows.insert(position, rows[position])
    assert broken_at(rows) == position + 1


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)))
def test_any_other_order_is_named(order):
    rows = ledger()
    first = next((i for i, seq in enumerate(order) if i != seq), None)
    if first is None:
        verify(rows)
    else:
        assert broken_at([rows[seq] for seq in order]) == first


def test_rows_missing_in_the_middle_are_named():
    rows = ledger()
    assert broken_at(rows[:2] + rows[4:]) == 2


def test_a_tail_cut_off_shows_only_against_a_known_head():
    rows = ledger()
    verify(rows[:4])
    with pytest.raises(LedgerError, match="head"):
        verify(rows[:4], head=rows[-1].hash)


def test_an_edited_row_with_a_mended_hash_breaks_the_next():
    rows = ledger()
    forged = next_row(rows[1], "reserve", {"job_id": "cheap", "event": {}}, TIME)
    rows[2] = forged
    assert broken_at(rows) == 3


def test_spending_what_was_not_reserved_or_twice_is_named():
    rows = ledger()
    for reservation in (2, 5, 77):
        more = [*rows, next_row(rows[-1], "spend", {"reservation": reservation}, TIME)]
        assert broken_at(more) == 6


def test_time_that_goes_back_is_named_and_never_written():
    rows = ledger()
    earlier = next_row(rows[-1], "refuse", {}, "2025-12-31T23:59:59.999+00:00")
    assert earlier.time == TIME
    first, last = rows[0], rows[-1].model_copy(update={"time": "2025"})
    forged = next_row(last, "refuse", {}, "2025-12-31T23:59:59.999+00:00")
    assert forged.time < first.time
    assert broken_at([*rows, forged]) == 6


def agree(*survivors, **session):
    return {"job_id": "j", "step": 0, "session": 0, "survivors": [*survivors], **session}


def test_agreeing_to_two_lists_for_one_sum_is_named():
    rows = ledger()
    rows.append(next_row(rows[-1], "agree", agree("a", "b"), TIME))
    for other in ({"job_id": "k"}, {"step": 1}, {"session": 1}):
        rows.append(next_row(rows[-1], "agree", agree("a", "c", **other), TIME))
    rows.append(next_row(rows[-1], "agree", agree("a", "b"), TIME))
    verify(rows)
    assert broken_at([*rows, next_row(rows[-1], "agree", agree("a", "c"), TIME)]) == len(rows)
    for body in ({}, {"job_id": [], "survivors": 1}):  # what a file can hold
        rows.append(next_row(rows[-1], "agree", body, TIME))
    verify(rows)


@pytest.mark.parametrize("kind", sorted(KINDS - {"open"}))
def test_after_a_halt_nothing_is_answered(kind):
    rows = ledger()
    rows.append(next_row(rows[-1], "halt", {"seq": 9, "hash": "00", "server": "s"}, TIME))
    rows.append(next_row(rows[-1], kind, {"reservation": 4}, TIME))
    if kind in {"admit", "reserve", "spend", "agree"}:
        assert broken_at(rows) == 7
    else:
        verify(rows)


@pytest.mark.parametrize("position", range(6))
def test_a_row_has_one_spelling(position):
    row = ledger()[position]
    text = row_text(row)
    plain = read_text(text)
    assert plain.intact
    assert Row.model_validate_json(text) == row
    assert plain[:-1] == tuple(getattr(row, name) for name in plain._fields[:-1])
    for other in (
        f" {text}",
        f"{text} ",
        text.replace(",", ", ", 1),
        text.replace('{"body"', '{"seq":0,"body"', 1),
        text.replace(f'"kind":"{row.kind}"', '"kind":"other"'),
        text.replace(f'"seq":{position}', f'"seq":{position}.0'),
        text.replace(f'"seq":{position}', '"seq":-0'),
        text.replace(f'"seq":{position},', ""),
        text.replace('"prev"', '"more":1,"prev"'),
        row.model_dump_json(),
        f"[{text}]",
        "null",
        "",
    ):
        with pytest.raises(ValueError, match=r"."):
            read_text(other)


@given(
    st.dictionaries(
        st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=9)
        | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.floats(0, 1), max_size=3),
        max_size=5,
    )
)  # fmt: skip
def test_whatever_a_body_holds_is_read_back_as_it_was(body):
    row = next_row(ledger()[-1], "refuse", body, TIME)
    plain = read_text(row_text(row))
    assert plain.intact
    assert plain == read_own_text(row_text(row))
    assert plain.body == row.body
    assert row_hash(row) == row.hash


@given(st.data())
def test_a_text_that_was_changed_is_not_intact_or_not_read(data):
    row = ledger()[data.draw(st.integers(0, 5))]
    text = row_text(row)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = (
        text[:at] + data.draw(st.characters(min_codepoint=32, max_codepoint=126)) + text[at + 1 :]
    )
    for read in (read_text, read_own_text):
        try:
            plain = read(changed)
        except ValueError:
            continue
        assert plain.intact is (changed == text)


def test_a_lone_surrogate_is_kept():
    """What a server sent may hold one; Python can write it and most readers refuse it."""
    row = next_row(ledger()[-1], "refuse", {"detail": "\ud800"}, TIME)
    assert read_text(row_text(row)).body == {"detail": "\ud800"}


def test_the_chain_is_bound_to_client_and_data():
    rows = ledger()
    other = open_row("other", "data-1", "nonce", TIME, "00" * 32)
    assert broken_at([other, *rows[1:]]) == 1
    for names in ({"client": "other"}, {"dataset_id": "data-2"}):
        with pytest.raises(LedgerError) as error:
            verify(rows, **names)
        assert error.value.code == Code.LEDGER_FOREIGN


def test_no_rows_are_no_ledger():
    assert broken_at([]) == 0


def test_every_reservation_is_in_force_spent_or_not():
    assert charges(ledger()) == [EVENT.model_dump(mode="json")] * 2
    no_privacy = NoPrivacyEvent(rows=1, width=1, steps=1).model_dump(mode="json")
    rows = ledger()
    rows.append(next_row(rows[-1], "reserve", {"event": no_privacy}, TIME))
    assert len(charges(rows)) == 3

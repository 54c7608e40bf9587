"""What rows amount to, read off them alone; the store's tables are held to it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest

from common.errors import Code, LedgerError
from common.privacy.events import NoPrivacyEvent, event_of, read_event
from common.privacy.ledger import Row, next_row, open_row, read_text, row_text
from common.privacy.ledger_index import AdmittedJob, derive, event_text
from common.privacy.plan import PrivacyPlan, Release

PLAN = PrivacyPlan(
    unit="user",
    mode="local",
    delta=1e-5,
    epsilon=1.0,
    releases=tuple(
        Release(step=step, rows=rows, width=2, share=1.0, noise_multiplier=3.0)
        for step, rows in (("a", 5), ("b", 5), ("c", 7))
    ),
)
EVENTS = [event_text(event_of(release).model_dump(mode="json")) for release in PLAN.releases]


def ledger(*added: tuple[str, dict[str, Any]]) -> list[Row]:
    """One row a day from 2 March on, after `open` on the first."""
    rows = [open_row("shop", "data", "nonce", "2026-03-01T00:00:00.000+00:00", "00" * 32)]
    for kind, body in added:
        time = f"2026-03-{len(rows) + 1:02}T00:00:00.000+00:00"
        rows.append(next_row(rows[-1], kind, body, time))  # type: ignore[arg-type]
    return rows


def admit(job: str = "j", **changes: Any) -> tuple[str, dict[str, Any]]:
    body = {"job_id": job, "fingerprint": "f", "snapshot": "s", "server": "key"}
    return "admit", {**body, "plan": PLAN.model_dump(mode="json"), **changes}


def reserve(step: int, job: str = "j") -> tuple[str, dict[str, Any]]:
    event = event_of(PLAN.releases[step]).model_dump(mode="json")
    return "reserve", {"job_id": job, "step": step, "event": event}


def test_a_plan_is_held_until_it_is_reserved() -> None:
    held = derive(ledger(admit(), reserve(0))).held()
    assert EVENTS[0] == EVENTS[1] != EVENTS[2]
    assert held == {EVENTS[1]: 1, EVENTS[2]: 1}
    assert derive(ledger(admit(), reserve(0), reserve(0), reserve(1), reserve(2))).held() == {}


def test_closing_frees_what_was_not_reserved_and_nothing_else() -> None:
    rows = ledger(admit(), admit("k"), reserve(2), ("close", {"job_id": "j"}), admit())
    derived = derive(rows)
    assert derived.held() == {EVENTS[0]: 2, EVENTS[2]: 1}
    assert derived.counts() == {EVENTS[2]: 1}
    assert derived.jobs["j"] == AdmittedJob("j", "f", "s", seq=1, closed=True, server="key")
    assert not derived.jobs["k"].closed
    assert derive(ledger(("close", {"job_id": "never admitted"}))).jobs == {}


def test_reservations_are_counted_by_day() -> None:
    derived = derive(ledger(reserve(0), reserve(0), reserve(2)))
    found = [sum(derived.counts(date(2026, 3, day)).values()) for day in (1, 2, 3, 4, 5)]
    assert found == [3, 3, 2, 1, 0]
    assert derived.counts() == Counter({EVENTS[0]: 2, EVENTS[2]: 1})


def test_rows_from_text_amount_to_the_same() -> None:
    rows = ledger(admit(), reserve(0), reserve(1, "k"), ("close", {"job_id": "j"}))
    assert derive([read_text(row_text(row)) for row in rows]) == derive(rows)


def test_equal_events_have_one_text_and_others_another() -> None:
    values = NoPrivacyEvent(rows=1, width=2, steps=3).model_dump(mode="json")
    for same in (values, dict(reversed(values.items()))):
        assert event_text(same) == '{"kind":"no-privacy","rows":1,"steps":3,"width":2}'
        assert read_event(same) == NoPrivacyEvent(rows=1, width=2, steps=3)
    texts = {event_text({"rate": rate}) for rate in (1, 1.0, True, "1", None)}
    assert len(texts) == 5


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("reserve", {}),
        ("reserve", {**reserve(0)[1], "step": "0"}),
        ("reserve", {**reserve(0)[1], "step": True}),
        ("reserve", {**reserve(0)[1], "event": None}),
        ("close", {}),
        admit(plan={"unit": "user"}),
        admit(plan=None),
        admit(snapshot=None),
        admit(job_id=5),
    ],
)
def test_a_row_that_lacks_what_its_kind_has_is_named(kind: str, body: dict[str, Any]) -> None:
    with pytest.raises(LedgerError, match=r"row 1 \(") as caught:
        derive(ledger((kind, body)))
    assert caught.value.code is Code.LEDGER_BROKEN

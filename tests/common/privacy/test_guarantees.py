"""What a plan of secure sums promises is in its row, and a row that promises otherwise is found."""

from __future__ import annotations

import re
from typing import Any

import pytest

from common.privacy import ledger_rows
from common.privacy.accounting import ACCOUNTANT, epsilon
from common.privacy.events import event_of
from common.privacy.guarantees import (
    Against,
    AgainstWhom,
    guarantee_fault,
    guarantees_for,
    shops_epsilon,
)
from common.privacy.plan import PrivacyPlan, ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.roster import Terms

DELTA = 1e-5
TERMS = Terms(clients=10, threshold=8, colluders=2)


def plan(terms: Terms | None = TERMS) -> PrivacyPlan:
    shapes = [
        ReleaseShape(step="subspace.popularity", rows=50, width=1, share=0.1),
        ReleaseShape(step="subspace.round1", rows=50, width=4, share=0.9),
    ]
    return make_plan(
        shapes,
        epsilon=2.0,
        delta=DELTA,
        unit="user",
        mode="local" if terms is None else "distributed",
        population=1000,
        terms=terms,
    )


def recorded(shops: int = 3) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json") for one in guarantees_for(plan(), shops)]


def test_both_figures_with_whom_they_hold_against() -> None:
    one, several = guarantees_for(plan(), 3)
    events = [event_of(release) for release in plan().releases]
    assert (one.shops, several.shops) == (1, 3)
    assert one.epsilon == pytest.approx(epsilon(events, DELTA))
    assert one.epsilon == pytest.approx(2.0, rel=0.02)
    assert several.epsilon == pytest.approx(shops_epsilon(events, 3, DELTA)[0])
    assert one.accountant == ACCOUNTANT
    for found in (one, several):
        assert found.delta == DELTA
        assert found.against.model_dump() == {
            "server": True, "colluders": 2, "clients": 10, "threshold": 8,
        }  # fmt: skip


def test_a_user_of_three_clients_loses_more_than_three_releases_of_the_kind() -> None:
    """One sum moves by three clips: μ is three times as large, not √3 times."""
    several = guarantees_for(plan(), 3)[1].epsilon
    thrice = epsilon([event_of(release) for release in plan().releases] * 3, DELTA)
    assert several is not None
    assert several > 1.5 * thrice


def test_one_client_each_is_one_figure() -> None:
    assert [one.shops for one in guarantees_for(plan(), 1)] == [1]


def test_other_modes_promise_in_their_own_way() -> None:
    assert plan(None).terms is None
    assert guarantees_for(plan(None), 3) == []
    assert guarantee_fault(plan(None), None) is None


def test_no_finite_epsilon_is_none() -> None:
    huge = guarantees_for(plan(), 10_000)[1]
    assert huge.epsilon is None
    assert guarantee_fault(plan(), recorded(10_000)) is None


@pytest.mark.parametrize("shops", [1, 2, 7])
def test_what_is_derived_fits(shops: int) -> None:
    assert guarantee_fault(plan(), recorded(shops)) is None


def changed(place: int, **values: Any) -> list[dict[str, Any]]:
    rows = recorded()
    rows[place] |= values
    return rows


def against(**values: Any) -> dict[str, Any]:
    return {**recorded()[0]["against"], **values}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (None, "does not say"),
        ("ε = 1", "does not say"),
        ([{"shops": 1}], "does not say"),
        ([], "for m = 1"),
        (recorded()[1:], "for m = 1"),
        (recorded() * 2, "one m more at most"),
        (changed(0, epsilon=1.9), "records ε = 1.9"),
        (changed(1, epsilon=2.1), "for m = 3"),
        (changed(1, epsilon=None), "records ε = none"),
        (changed(0, delta=1e-9), "at δ = 1e-09"),
        (changed(0, against=against(colluders=3)), "3 of 10 clients"),
        (changed(0, against=against(threshold=7)), "t = 7"),
        (changed(1, against=against(clients=9)), "2 of 9 clients"),
        (changed(0, against=against(server=False)), "against 2 of 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_that_promises_otherwise_is_found(rows: Any, says: str) -> None:
    fault = guarantee_fault(plan(), rows)
    assert fault is not None
    assert says in fault


def test_the_last_digits_of_another_machine_are_no_fault() -> None:
    epsilon_there = recorded()[0]["epsilon"] * (1 + 1e-6)
    assert guarantee_fault(plan(), changed(0, epsilon=epsilon_there)) is None


def test_the_ledgers_words_name_every_field_of_a_guarantee() -> None:
    fields = {*AgainstWhom.model_fields, *Against.model_fields}
    said = str(ledger_rows.__doc__).partition("`guarantees`")[2].partition("reserve ")[0]
    assert fields <= set(re.findall(r"\w+", said))

"""What is in force, held to every cap; on a real ledger, without a job around it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from client.guard.budget import Budget, BudgetError
from client.ledger_store import LedgerStore
from common.errors import Code
from common.privacy.events import Event, NoPrivacyEvent, event_of
from common.privacy.filters import Cap, total_cost
from common.privacy.plan import PrivacyPlan, ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.policy import Period, Policy

DELTA = 1e-6
TODAY = date(2030, 5, 20)


def plan_of(epsilon: float = 1.0, steps: int = 2) -> PrivacyPlan:
    shapes = [ReleaseShape(step=f"test.{n}", rows=20, width=2, share=n + 1.0) for n in range(steps)]
    return make_plan(
        shapes, epsilon=epsilon, delta=DELTA, unit="user", mode="local", population=1000
    )


def events_of(plan: PrivacyPlan) -> list[Event]:
    return [event_of(release) for release in plan.releases]


def policy(epsilon: float = 2.0, *periods: tuple[int, float], order: int | None = None) -> Policy:
    return Policy(
        lifetime=Cap(epsilon=epsilon, delta=DELTA),
        periods=tuple(Period(days=days, epsilon=cap) for days, cap in periods),
        renyi_order=order,
    )


class Clock:
    """Says when a row is written."""

    def __init__(self) -> None:
        self.today = TODAY

    def __call__(self) -> str:
        return f"{self.today.isoformat()}T12:00:00.000+00:00"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("client.ledger_store._now", made)
    return made


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[LedgerStore]:
    with LedgerStore.open(
        tmp_path / "ledger.sqlite", "shop", "a" * 32, survives_power_cut=False
    ) as opened:
        yield opened


def admit(ledger: LedgerStore, plan: PrivacyPlan, job_id: str = "ab" * 16) -> None:
    body = {"job_id": job_id, "fingerprint": "f", "snapshot": "s", "plan": plan.model_dump()}
    ledger.append("admit", body)


def reserve(ledger: LedgerStore, event: Event, step: int = 0, job_id: str = "ab" * 16) -> None:
    body = {"job_id": job_id, "step": step, "event": event.model_dump(mode="json")}
    ledger.append("reserve", body)


def check(budget: Budget, events: list[Event]) -> None:
    """Hold every cap as it would be with `events` in force as well."""
    budget.after(events).hold(budget)


def test_a_fresh_ledger_has_all_of_its_budget(ledger: LedgerStore) -> None:
    budget = Budget.read(ledger, policy(2.0, (30, 1.0)), TODAY)
    assert [window.name for window in budget.windows] == ["lifetime", "any 30 days"]
    assert [window.epsilon for window in budget.windows] == [0.0, 0.0]
    assert [window.cap.epsilon for window in budget.windows] == [2.0, 1.0]
    budget.hold()


def test_a_plan_made_for_the_cap_fits_once_as_a_whole_and_release_by_release(
    ledger: LedgerStore,
) -> None:
    plan, allowed = plan_of(2.0, steps=3), policy(2.0)
    check(Budget.read(ledger, allowed, TODAY), events_of(plan))
    admit(ledger, plan)
    admitted = Budget.read(ledger, allowed, TODAY)
    admitted.hold()
    for step, event in enumerate(events_of(plan)):
        reserve(ledger, event, step)
        found = Budget.read(ledger, allowed, TODAY)
        found.hold()
        assert found.windows[0].cost == admitted.windows[0].cost  # to the last bit
    with pytest.raises(BudgetError) as caught:
        check(Budget.read(ledger, allowed, TODAY), events_of(plan_of(0.05, steps=1)))
    assert caught.value.code is Code.BUDGET_LIFETIME


def test_what_open_jobs_hold_is_in_force_until_they_are_closed(ledger: LedgerStore) -> None:
    plan, other, allowed = plan_of(1.5), plan_of(1.5), policy(2.0)
    admit(ledger, plan)
    with pytest.raises(BudgetError):
        check(Budget.read(ledger, allowed, TODAY), events_of(other))
    reserve(ledger, events_of(plan)[0])
    ledger.append("close", {"job_id": "ab" * 16})
    left = Budget.read(ledger, allowed, TODAY)
    assert left.windows[0].cost == total_cost(left.windows[0].filter, events_of(plan)[:1])
    check(left, events_of(other))


def test_a_step_that_is_reserved_again_costs_again(ledger: LedgerStore) -> None:
    plan = plan_of(1.0)
    admit(ledger, plan)
    once = Budget.read(ledger, policy(), TODAY).windows[0]
    for _ in range(2):
        reserve(ledger, events_of(plan)[1], step=1)
    twice = Budget.read(ledger, policy(), TODAY).windows[0]
    assert twice.cost == once.after(events_of(plan)[1:]).cost
    assert twice.epsilon > once.epsilon


def test_a_period_forgets_what_is_older_and_the_lifetime_does_not(
    ledger: LedgerStore, clock: Clock
) -> None:
    allowed, plan = policy(4.0, (7, 1.0)), plan_of(0.9, steps=1)
    (event,) = events_of(plan)
    reserve(ledger, event)
    for later, refused in ((0, True), (6, True), (7, False)):
        budget = Budget.read(ledger, allowed, TODAY + timedelta(days=later))
        assert budget.windows[0].events
        if not refused:
            check(budget, [event])
            continue
        with pytest.raises(BudgetError) as caught:
            check(budget, [event])
        assert caught.value.code is Code.BUDGET_PERIOD
        assert caught.value.would_be is not None
        assert caught.value.would_be["window"] == "any 7 days"


def test_what_may_still_be_reserved_counts_in_every_period(ledger: LedgerStore) -> None:
    admit(ledger, plan_of(0.9))
    for later in (0, 7, 3000):
        budget = Budget.read(ledger, policy(4.0, (7, 1.0)), TODAY + timedelta(days=later))
        with pytest.raises(BudgetError, match="any 7 days"):
            check(budget, events_of(plan_of(0.9)))


def test_a_clock_that_goes_back_renews_nothing(ledger: LedgerStore, clock: Clock) -> None:
    clock.today = TODAY + timedelta(days=30)
    reserve(ledger, events_of(plan_of(0.9, steps=1))[0])
    clock.today = TODAY
    reserve(ledger, events_of(plan_of(0.2, steps=1))[0], step=1)
    assert ledger.rows()[-1].time.startswith((TODAY + timedelta(days=30)).isoformat())
    assert ledger.day(TODAY) == TODAY + timedelta(days=30)
    for today, counted in ((TODAY, 2), (TODAY + timedelta(days=36), 2), (date.max, 0)):
        lifetime, week = Budget.read(ledger, policy(4.0, (7, 1.0)), today).windows
        assert sum(lifetime.events.values()) == 2
        assert sum(week.events.values()) == counted


def test_the_lifetime_is_told_before_a_period(ledger: LedgerStore) -> None:
    with pytest.raises(BudgetError) as caught:
        check(Budget.read(ledger, policy(1.0, (7, 0.5)), TODAY), events_of(plan_of(2.0)))
    assert caught.value.code is Code.BUDGET_LIFETIME


def test_a_refusal_says_what_it_would_have_cost(ledger: LedgerStore) -> None:
    allowed, plan = policy(2.0), plan_of(1.0)
    admit(ledger, plan)
    budget = Budget.read(ledger, allowed, TODAY)
    asked = events_of(plan_of(1.9))
    with pytest.raises(BudgetError) as caught:
        check(budget, asked)
    then = budget.after(asked).windows[0].epsilon
    now = budget.windows[0].epsilon
    assert now == pytest.approx(1.0, rel=1e-3)
    assert 2.0 < then < 2.9  # less than the sum: Gaussians compose better than that
    assert caught.value.message == (
        f"it would bring ε from {now:.2f} to {then:.2f}, the lifetime cap is 2.00 "
        "(δ = 1e-06, unit user, GDP filter)"
    )
    assert caught.value.would_be == {
        "filter": "GDP filter",
        "epsilon_now": now,
        "epsilon_then": then,
        "cap": {"epsilon": 2.0, "delta": DELTA},
        "window": "lifetime",
        "bound": "divergence",
    }
    assert pickle.loads(pickle.dumps(caught.value)).code is Code.BUDGET_LIFETIME


def test_a_hair_above_the_cap_is_seen_in_the_message(ledger: LedgerStore) -> None:
    cap = 2.0
    with pytest.raises(BudgetError) as caught:
        check(Budget.read(ledger, policy(cap), TODAY), events_of(plan_of(cap * (1 + 1e-3))))
    assert "to 2.002, the lifetime cap is 2.000 " in caught.value.message


def test_where_the_samplers_overdraw_their_part_the_message_says_so(ledger: LedgerStore) -> None:
    """ε alone would look as if there were room: 8 is less than 24."""
    asked, budget = events_of(plan_of(8.0)), Budget.read(ledger, policy(24.0), TODAY)
    for events, bound in ((asked, "distance"), (6 * asked, "divergence")):
        with pytest.raises(BudgetError) as caught:
            check(budget, events)
        message, would_be = caught.value.message, caught.value.would_be
        assert would_be is not None
        assert would_be["bound"] == bound
        assert ("bring ε" in message) == (bound == "divergence")
        assert ("set aside for it from 0.00 to 21.92 times" in message) == (bound == "distance")
        assert "lifetime cap" in message
        assert "(δ = 1e-06, unit user, GDP filter)" in message


def test_exact_sums_leave_no_budget(ledger: LedgerStore) -> None:
    reserve(ledger, NoPrivacyEvent(rows=3, width=1, steps=1))
    budget = Budget.read(ledger, policy(2.0), TODAY)
    assert math.isinf(budget.windows[0].epsilon)
    with pytest.raises(BudgetError, match="from ∞ to ∞") as caught:
        check(budget, events_of(plan_of(0.1)))
    assert caught.value.would_be is not None
    assert caught.value.would_be["epsilon_then"] is None


@pytest.mark.parametrize("order", [None, 12])
def test_sampling_counts_for_a_renyi_filter_alone(ledger: LedgerStore, order: int | None) -> None:
    shape = ReleaseShape(step="s", rows=2, width=1, share=1.0, sampling_rate=0.05, steps=100)
    (release,) = make_plan(
        [shape], epsilon=1.0, delta=DELTA, unit="user", mode="local", population=9, renyi_order=12
    ).releases
    budget = Budget.read(ledger, policy(2.0, order=order), TODAY)
    found = budget.after([event_of(release)]).windows[0]
    assert found.holds is (order is not None)


def test_many_releases_of_few_kinds_are_counted_and_not_listed(ledger: LedgerStore) -> None:
    event = events_of(plan_of(0.2, steps=1))[0]
    with ledger.transaction():
        for step in range(300):
            reserve(ledger, event, step)
    found = Budget.read(ledger, policy(20.0), TODAY).windows[0]
    assert list(found.events.values()) == [300]
    assert found.cost == total_cost(found.filter, [event]).times(300)


def test_nothing_is_written_by_asking(ledger: LedgerStore) -> None:
    before = ledger.head
    budget = Budget.read(ledger, policy(2.0), TODAY)
    budget.after(events_of(plan_of(1.0)))
    with pytest.raises(BudgetError):
        check(budget, events_of(plan_of(3.0)))
    assert ledger.head == before
    assert budget.windows[0].events == {}

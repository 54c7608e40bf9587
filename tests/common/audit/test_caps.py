"""Every cap of a policy is held against every window of a ledger."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.audit.caps import audit_caps
from common.privacy.events import GaussianSumEvent, NoPrivacyEvent
from common.privacy.filters import Cap, GdpFilter, total_cost
from common.privacy.ledger import Row, next_row, open_row
from common.privacy.policy import Policy

DELTA = 1e-5
START = date(2026, 1, 1)


def gaussian(sigma: float) -> GaussianSumEvent:
    return GaussianSumEvent(
        sampler="exact",
        sigma_grid=2**26,
        clip_grid=round(2**26 / sigma),
        rows=10,
        width=1,
        sampling_rate=1.0,
        steps=1,
    )


def ledger(*reserved: tuple[int, Any]) -> list[Row]:
    """Rows that reserve an event on a day after the first."""
    rows = [open_row("shop-1", "d" * 32, "0" * 64, START.isoformat(), "k" * 64)]
    for day, event in reserved:
        time = f"{START + timedelta(days=day)}T12:00:00.000+00:00"
        body = {"job_id": "j", "step": 0, "session": 0, "event": event.model_dump(mode="json")}
        rows.append(next_row(rows[-1], "reserve", body, time))
    return rows


def policy(lifetime: float, *periods: tuple[int, float], **more: Any) -> Policy:
    made = [{"days": days, "epsilon": epsilon} for days, epsilon in periods]
    return Policy.load({"lifetime": {"epsilon": lifetime, "delta": DELTA}, "periods": made, **more})


def test_an_empty_ledger_keeps_every_cap() -> None:
    (lifetime, period), findings = audit_caps("shop-1", ledger(), policy(4.0, (30, 2.0)))
    assert lifetime.holds
    assert period.holds
    assert (lifetime.epsilon, period.epsilon) == (0.0, 0.0)
    assert findings == []


def test_a_lifetime_that_was_exceeded_is_found_and_one_below_is_not() -> None:
    rows = ledger((0, gaussian(2.0)), (400, gaussian(2.0)))
    needed = GdpFilter(Cap(epsilon=1.0, delta=DELTA)).epsilon(
        total_cost(GdpFilter(Cap(epsilon=1.0, delta=DELTA)), [gaussian(2.0)] * 2)
    )
    audits, findings = audit_caps("shop-1", rows, policy(needed * 1.001))
    assert not findings
    assert audits[0].epsilon == pytest.approx(needed)
    audits, findings = audit_caps("shop-1", rows, policy(needed * 0.999))
    assert [finding.layer for finding in findings] == ["budget"]
    assert "lifetime" in findings[0].what
    assert "GDP filter" in findings[0].what
    assert not audits[0].holds


def test_a_period_is_a_window_that_slides() -> None:
    """Two sums 29 days apart are in some 30 days; 30 days apart they are not."""
    one = audit_caps("s", ledger((0, gaussian(2.0))), policy(9.0, (30, 2.5)))[0][1].epsilon
    for apart, together in ((29, True), (30, False)):
        rows = ledger((5, gaussian(2.0)), (5 + apart, gaussian(2.0)))
        (_, period), findings = audit_caps("s", rows, policy(9.0, (30, 2.5)))
        assert period.holds is not together
        assert bool(findings) is together
        assert (period.epsilon > one * 1.2) is together


def test_exact_sums_exceed_any_cap_unless_the_owner_allowed_them() -> None:
    rows = ledger((0, NoPrivacyEvent(rows=1, width=1, steps=1)))
    audits, findings = audit_caps("s", rows, policy(8.0))
    assert math.isinf(audits[0].epsilon)
    assert len(findings) == 1
    assert audits[0].to_json()["epsilon_most"] is None
    audits, findings = audit_caps("s", rows, policy(8.0, modes=("local", "none")))
    assert math.isinf(audits[0].epsilon)
    assert not audits[0].holds
    assert not findings


@given(st.lists(st.integers(0, 90), min_size=1, max_size=12), st.integers(1, 60))
def test_the_worst_window_is_the_worst_of_all_windows(days: list[int], length: int) -> None:
    """Against counting every window, day by day."""
    rows = ledger(*((day, gaussian(9.0)) for day in sorted(days)))
    (_, period), _ = audit_caps("s", rows, policy(9.0, (length, 5.0)))
    most = max(sum(first <= day < first + length for day in days) for first in range(-60, 91))
    chosen = GdpFilter(Cap(epsilon=5.0, delta=DELTA))
    assert period.epsilon == pytest.approx(
        chosen.epsilon(total_cost(chosen, [gaussian(9.0)] * most))
    )

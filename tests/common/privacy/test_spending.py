import math

import pytest

from common.errors import Code, LedgerError
from common.privacy.accounting import epsilon
from common.privacy.events import GaussianSumEvent, NoPrivacyEvent
from common.privacy.ledger import next_row, open_row
from common.privacy.roster import Terms
from common.privacy.spending import events_in_force, spent

TIME = "2026-01-01T00:00:00.000+00:00"
EVENT = GaussianSumEvent(
    sampler="exact", sigma_grid=2**26, clip_grid=2**25, rows=5, width=2, sampling_rate=1, steps=1
)


def ledger(*bodies):
    rows = [open_row("shop", "data", "nonce", TIME, "00" * 32)]
    for kind, body in bodies:
        rows.append(next_row(rows[-1], kind, body, TIME))
    return rows


def admit(mode="local", terms=None):
    plan = {"unit": "user", "mode": mode}
    if terms is not None:
        plan["releases"] = [{"shares": vars(terms)}, {"shares": vars(terms)}]
    return "admit", {"job_id": "job", "plan": plan}


def reserve(event, step=0, **more):
    body = {"job_id": "job", "step": step, "event": event.model_dump(mode="json"), **more}
    return "reserve", body


def test_noise_that_a_seed_decided_leaves_no_guarantee():
    rows = ledger(admit(), reserve(EVENT), reserve(EVENT, step=1, reproducible=True))
    assert not spent(rows[:-1], 1e-5).reproducible_noise
    guarantee = spent(rows, 1e-5)
    assert guarantee.reproducible_noise
    assert str(guarantee) == "no privacy guarantee"


@pytest.mark.parametrize(
    ("bodies", "labelled"),
    [
        ([admit(), reserve(EVENT), reserve(EVENT, step=1)], False),
        ([admit(), reserve(EVENT), reserve(EVENT)], True),
        ([admit(), reserve(EVENT), admit(), reserve(EVENT, step=1)], True),
    ],
)
def test_what_was_not_one_plan_fixed_in_advance_is_labelled(bodies, labelled):
    guarantee = spent(ledger(*bodies), 1e-5)
    assert guarantee.as_if_fixed is labelled
    label = "as if all plans had been fixed in advance"
    assert (label in str(guarantee)) is labelled


def test_a_new_ledger_has_spent_nothing():
    guarantee = spent(ledger(), 1e-5)
    assert (guarantee.epsilon, guarantee.delta) == (0.0, 1e-5)


def test_reservations_count_with_or_without_their_bytes():
    rows = ledger(admit(), reserve(EVENT), ("spend", {"reservation": 2}), reserve(EVENT))
    assert events_in_force(rows) == [EVENT, EVENT]
    guarantee = spent(rows, 1e-5)
    assert guarantee.epsilon == epsilon([EVENT, EVENT], 1e-5)
    assert (guarantee.unit, guarantee.mode) == ("user", "local")


def test_spend_never_falls_as_rows_are_added():
    rows = ledger(admit(), *[reserve(EVENT)] * 3, ("refuse", {"code": "x"}))
    costs = [spent(rows[:n], 1e-5).epsilon for n in range(1, len(rows) + 1)]
    assert costs == sorted(costs)


def test_one_release_without_privacy_spoils_the_ledger():
    rows = ledger(
        admit(), reserve(EVENT), admit("none"), reserve(NoPrivacyEvent(rows=1, width=1, steps=1))
    )
    guarantee = spent(rows, 1e-5)
    assert guarantee.epsilon == math.inf
    assert guarantee.mode == "none"


def test_an_event_of_an_unknown_kind_is_an_error():
    with pytest.raises(LedgerError) as error:
        events_in_force(ledger(("reserve", {"event": {"kind": "of-the-future"}})))
    assert error.value.code == Code.LEDGER_BROKEN


WEAK, STRONG = Terms(10, 8, 1), Terms(10, 8, 3)
FEWER = Terms(10, 7, 2)


@pytest.mark.parametrize(
    ("admitted", "mode", "colluders"),
    [
        ([], "local", None),
        ([admit()], "local", None),
        ([admit(), admit("distributed", STRONG)], "distributed", 3),
        ([admit("distributed", STRONG), admit("distributed", WEAK)], "distributed", 1),
        ([admit("distributed", WEAK), admit("distributed", STRONG), admit()], "distributed", 1),
        ([admit("distributed", WEAK), admit("none")], "none", 1),
    ],
)
def test_of_several_plans_the_weakest_mode_and_the_fewest_colluders_count(
    admitted, mode, colluders
):
    guarantee = spent(ledger(*admitted), 1e-5)
    assert (guarantee.mode, guarantee.colluders) == (mode, colluders)
    assert ("colluding" in str(guarantee)) is (mode == "distributed")
    if mode == "distributed":
        assert f"up to {colluders} colluding" in str(guarantee)


def test_how_many_are_in_every_sum_is_said_where_all_plans_agree():
    guarantee = spent(ledger(admit("distributed", WEAK), admit(), admit("distributed", WEAK)), 1e-5)
    assert guarantee.terms == WEAK
    assert "up to 1 colluding client, at least 8 of 10 in every sum)" in str(guarantee)


@pytest.mark.parametrize("other", [FEWER, STRONG, Terms(9, 8, 1)], ids=str)
def test_how_many_are_in_every_sum_is_not_said_where_plans_differ(other):
    """7 of 10 are in some sums: that 8 are in every one would not be true."""
    guarantee = spent(ledger(admit("distributed", WEAK), admit("distributed", other)), 1e-5)
    assert guarantee.terms is None
    assert "(against the server and up to 1 colluding client)" in str(guarantee)
    assert "in every sum" not in str(guarantee)

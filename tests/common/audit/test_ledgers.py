"""A ledger is held to its own plans: each way of being wrong is a finding of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from common.audit import ledgers
from common.audit.ledgers import audit_ledger
from common.audit.recompute import PLD
from common.privacy.events import event_of
from common.privacy.guarantees import guarantees_for
from common.privacy.ledger import Row, next_row, open_row, verify
from common.privacy.plan import PrivacyPlan, ReleaseShape, RowSelection
from common.privacy.planner import make_plan
from common.privacy.roster import Terms
from common.privacy.signing import SigningKey

JOB = "a" * 32
OTHER = "b" * 32
PLAN = make_plan(
    [
        ReleaseShape(step="subspace.popularity", rows=50, width=1, share=0.1),
        ReleaseShape(step="subspace.round1", rows=50, width=4, share=0.9),
    ],
    epsilon=3.0,
    delta=1e-5,
    unit="user",
    mode="local",
    population=1000,
)

SHAPES = [ReleaseShape(step="popularity.count", rows=50, width=1, share=1.0)]
SECURE = make_plan(
    SHAPES,
    epsilon=3.0,
    delta=1e-5,
    unit="user",
    mode="distributed",
    population=1000,
    terms=Terms(clients=5, threshold=4, colluders=1),
)
SURVIVORS = ["shop-1", "shop-2", "shop-3", "shop-5"]


class History:
    """Writes rows that a client might have written."""

    def __init__(self) -> None:
        key = SigningKey.create().public
        self.rows: list[Row] = [open_row("shop-1", "d" * 32, "0" * 64, "2026-01-01T00:00", key)]

    def add(self, kind: Any, **body: Any) -> Row:
        row = next_row(self.rows[-1], kind, body, self.rows[-1].time)
        self.rows.append(row)
        return row

    def admit(self, plan: PrivacyPlan = PLAN, job_id: str = JOB) -> None:
        values = plan.model_dump(mode="json")
        self.add("admit", job_id=job_id, fingerprint="f", plan=values, snapshot="s", server=None)

    def reserve(self, step: int, job_id: str = JOB, *, spend: bool = True, **changes: Any) -> None:
        event = changes.pop("event", event_of(PLAN.releases[min(step, 1)]).model_dump(mode="json"))
        body = {"job_id": job_id, "step": step, "session": 0, "request_hash": "x", "event": event}
        seq = self.add("reserve", **body, **changes).seq
        if spend:
            self.add("spend", reservation=seq, release_sha256="0" * 64)


@pytest.fixture
def history() -> History:
    made = History()
    made.admit()
    return made


def whats(rows: Sequence[Row]) -> list[str]:
    return [f"{one.where}: {one.what}" for one in audit_ledger(rows).findings]


def test_an_honest_ledger_has_no_finding(history: History) -> None:
    history.reserve(0)
    history.reserve(1)
    history.add("refuse", job_id=JOB, step=0, code="budget-lifetime", detail="")
    verify(history.rows)
    found = audit_ledger(history.rows)
    assert found.findings == ()
    assert found.promised
    assert (found.client, found.dataset_id, found.rows) == ("shop-1", "d" * 32, len(history.rows))
    assert found.refused == {"budget-lifetime": 1}
    (job,) = found.jobs
    assert job.spent == {0, 1}
    assert job.recomputed.pld <= 3.0
    assert found.total == job.recomputed
    assert "unit user" in str(job.guarantee)
    assert found.to_json()["jobs"][0]["released"] == 2


def test_a_repeat_costs_and_stays_counted(history: History) -> None:
    history.reserve(0, spend=False)
    history.reserve(0)
    history.reserve(1)
    found = audit_ledger(history.rows)
    assert found.findings == ()
    assert found.unspent == 1
    assert found.total.pld > found.jobs[0].recomputed.pld


def test_two_plans_are_added_up_as_if_fixed_in_advance(history: History) -> None:
    history.admit(job_id=OTHER)
    for job in (JOB, OTHER):
        history.reserve(0, job)
        history.reserve(1, job)
    found = audit_ledger(history.rows, 1e-5)
    assert len(found.jobs) == 2
    assert found.total.pld > 1.3 * found.jobs[0].recomputed.pld


def test_less_charged_than_planned_is_found(history: History) -> None:
    cheap = event_of(PLAN.releases[1]).model_copy(update={"clip_grid": 7}).model_dump(mode="json")
    history.reserve(1, event=cheap)
    assert any("charged otherwise than planned" in what for what in whats(history.rows))


CHOSEN = make_plan(
    [
        ReleaseShape(
            step="dpsgd.round_1",
            rows=50,
            width=4,
            share=1.0,
            steps=2,
            selection=RowSelection(threshold=3.0, dense_rows=5),
        )
    ],
    epsilon=3.0,
    delta=1e-5,
    unit="user",
    mode="local",
    population=1000,
)


@pytest.mark.parametrize(
    "change",
    [
        None, {"count_sigma_grid": 2**27}, {"count_clip_grid": 7}, {"sigma_grid": 2**27},
        {"clip_grid": 7}, {"sampling_rate": 0.5}, {"steps": 1}, {"dense_rows": 6}, {"rows": 49},
        {"width": 3}, {"sampler": "fast"},
    ],
    ids=str,
)  # fmt: skip
def test_a_choice_of_rows_is_charged_as_planned_or_found(change: dict[str, Any] | None) -> None:
    made = History()
    made.admit(CHOSEN)
    event = event_of(CHOSEN.releases[0]).model_copy(update=change or {})
    made.reserve(0, event=event.model_dump(mode="json"))
    found = audit_ledger(made.rows)
    assert bool(found.findings) == (change is not None)
    assert all("charged otherwise than planned" in one.what for one in found.findings)
    assert found.jobs[0].recomputed.agrees
    if change is None:
        assert found.total == found.jobs[0].recomputed


def test_a_choice_of_rows_charged_as_a_plain_sum_is_found() -> None:
    made = History()
    made.admit(CHOSEN)
    bare = CHOSEN.releases[0].model_copy(update={"selection": None})
    made.reserve(0, event=event_of(bare).model_dump(mode="json"))
    assert any("charged otherwise than planned" in what for what in whats(made.rows))


@pytest.mark.parametrize("step", [2, -1])
def test_a_step_that_no_plan_has_is_found(history: History, step: int) -> None:
    history.reserve(step)
    assert any(f"step {step}, which no plan has" in what for what in whats(history.rows))


def test_a_job_without_a_plan_is_found(history: History) -> None:
    history.reserve(0, OTHER)
    assert any("not admitted" in what for what in whats(history.rows))


def test_a_closed_job_and_a_second_admission_are_found(history: History) -> None:
    history.admit()
    history.add("close", job_id=JOB)
    history.reserve(0)
    found = whats(history.rows)
    assert any("a second time" in what for what in found)
    assert any("was closed" in what for what in found)
    assert audit_ledger(history.rows).jobs[0].closed


def test_a_plan_that_costs_more_than_it_says_is_found() -> None:
    made = History()
    made.admit(PLAN.model_copy(update={"epsilon": 2.0}))
    assert any("promises ε = 2 and costs" in what for what in whats(made.rows))


def test_accountants_that_disagree_are_found(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a defect in one accountant looks like: half the ε."""
    honest = ledgers.recompute

    def halved(events: Any, delta: float) -> Any:
        found = honest(events, delta)
        return type(found)(**{**vars(found), "pld": found.pld / 2})

    monkeypatch.setattr(ledgers, "recompute", halved)
    history.reserve(0)
    found = whats(history.rows)
    assert sum("do not agree" in what for what in found) == 2


def test_a_seed_leaves_nothing_promised(history: History) -> None:
    history.reserve(0, reproducible=True)
    found = audit_ledger(history.rows)
    assert found.reproducible
    assert not found.promised
    assert found.findings == ()


def test_mode_none_leaves_nothing_promised() -> None:
    shapes = [ReleaseShape(step="ials.gram", rows=5, width=2, share=1.0)]
    bare = make_plan(shapes, epsilon=None, delta=0.0, unit="user", mode="none", population=10)
    made = History()
    made.admit(bare)
    made.reserve(0, event=event_of(bare.releases[0]).model_dump(mode="json"))
    found = audit_ledger(made.rows)
    assert not found.promised
    assert found.findings == ()
    assert found.to_json()["total_as_if_fixed_in_advance"]["epsilon"][PLD] is None


def test_a_row_that_lacks_its_fields_is_a_finding_and_no_crash(history: History) -> None:
    history.add("reserve", job_id=JOB)
    history.add("spend", reservation=999)
    history.add("admit", job_id=OTHER, plan={"unit": "user"})
    history.add("refuse")
    assert len(whats(history.rows)) == 4
    assert audit_ledger([]).rows == 0


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("plan", {"delta": 0.0}),
        ("release", {"steps": 10**30}),
        ("release", {"rows": 10**400}),
        ("release", {"noise_multiplier": 1e-300}),
        ("release", {"noise_multiplier": 1e300}),
        ("event", {"steps": 10**400}),
        ("event", {"sigma_grid": 10**400}),
        ("event", {"sigma_grid": 3, "clip_grid": 2**20}),
    ],
)
def test_absurd_numbers_are_findings_or_no_promise(
    history: History, part: str, changes: dict[str, Any]
) -> None:
    """A file with a sound chain may still hold anything; an audit of it ends, and in words."""
    values = PLAN.model_dump(mode="json")
    event = event_of(PLAN.releases[0]).model_dump(mode="json")
    history = History()
    if part == "plan":
        values |= changes
    elif part == "release":
        values["releases"][0] |= changes
    else:
        event |= changes
    history.add("admit", job_id=JOB, fingerprint="f", plan=values, snapshot="s", server=None)
    history.reserve(0, event=event)
    found = audit_ledger(history.rows, 1e-5)
    assert found.findings or not found.promised


def secure(**changes: Any) -> History:
    """A secure sum, spent, of a plan that says what it guarantees."""
    made = History()
    guarantees = [one.model_dump(mode="json") for one in guarantees_for(SECURE, 2)]
    body = {"plan": SECURE.model_dump(mode="json"), "guarantees": guarantees, **changes}
    made.add("admit", job_id=JOB, fingerprint="f", snapshot="s", server=None, **body)
    made.reserve(0, event=event_of(SECURE.releases[0]).model_dump(mode="json"))
    return made


def test_a_ledger_of_secure_sums_has_both_figures() -> None:
    made = secure()
    made.add("agree", job_id=JOB, step=0, session=0, survivors=SURVIVORS)
    found = audit_ledger(made.rows)
    assert found.findings == ()
    assert found.promised
    (job,) = found.jobs
    assert "at least 4 of 5" in str(job.guarantee)
    alone, both = job.to_json()["guarantees"]
    assert alone["epsilon"] == pytest.approx(job.recomputed.pld)
    assert both["shops"] == 2
    assert both["epsilon"] > 1.9 * alone["epsilon"]
    assert alone["against"] == {"server": True, "colluders": 1, "clients": 5, "threshold": 4}


@pytest.mark.parametrize("guarantees", [None, [], [{"shops": 1, "epsilon": 0.1, "delta": 1e-5}]])
def test_a_plan_that_promises_otherwise_than_its_row_is_found(guarantees: Any) -> None:
    found = audit_ledger(secure(guarantees=guarantees).rows)
    assert [one.where for one in found.findings] == ["shop-1, row 1"]
    assert found.jobs[0].guarantees == ()


def test_a_secure_sum_charged_as_another_is_found() -> None:
    made = secure()
    cheap = event_of(SECURE.releases[0]).model_copy(update={"threshold": 5})
    made.reserve(0, event=cheap.model_dump(mode="json"))
    assert any("charged otherwise than planned" in what for what in whats(made.rows))


@pytest.mark.parametrize(
    ("session", "survivors", "says"),
    [
        (1, SURVIVORS, "nothing was released for"),
        (0, SURVIVORS[:3], "3 survivors; it takes 4"),
        (0, [*SURVIVORS[:3], "shop-1"], "3 survivors; it takes 4"),
        (0, [*SURVIVORS[1:], "shop-4"], "shop-1 among them"),
    ],
    ids=["another session", "too few", "one twice", "without itself"],
)
def test_a_list_that_no_honest_client_signs_is_found(
    session: int, survivors: list[str], says: str
) -> None:
    made = secure()
    made.add("agree", job_id=JOB, step=0, session=session, survivors=survivors)
    (what,) = whats(made.rows)
    assert says in what


def test_agreeing_in_a_job_without_secure_sums_is_found(history: History) -> None:
    history.reserve(0)
    history.add("agree", job_id=JOB, step=0, session=0, survivors=SURVIVORS)
    (what,) = whats(history.rows)
    assert "nothing was released for" in what

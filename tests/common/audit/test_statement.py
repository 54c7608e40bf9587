"""The statement says everything that an ε means nothing without, on one page."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from common.audit.ledgers import LedgerAudit, audit_ledger
from common.audit.statement import Bound, Statement, make_statement
from common.audit.statement_page import render_statements
from common.privacy.accounting import epsilon
from common.privacy.concentrated import CONCENTRATED
from common.privacy.events import GaussianSumEvent, event_of
from common.privacy.guarantees import guarantees_for, shops_epsilon
from common.privacy.ledger import Row, next_row, open_row
from common.privacy.plan import PrivacyPlan, ReleaseShape, RowSelection
from common.privacy.planner import make_plan
from common.privacy.policy import Policy
from common.privacy.roster import Terms

KEY = "e" * 64
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-pdf-header-footer",
)
DELTA = 1e-5
TERMS = Terms(clients=10, threshold=8, colluders=1)
BOUNDS = tuple(
    Bound(name=f"Attack {k} with a name of some length", words="ε ≥ 0.61 with 95% confidence at "
          "δ = 1×10⁻⁵, where 3.98 is promised; perfect guesses would have shown 5.8 at most.")
    for k in range(4)
)  # fmt: skip


class Nesting(HTMLParser):
    """Every element is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag == "meta"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def plan(target: float, terms: Terms | None = None) -> PrivacyPlan:
    shapes = [
        ReleaseShape(step="subspace.popularity", rows=500, width=1, share=0.1),
        ReleaseShape(step="subspace.round1", rows=500, width=8, share=0.9),
    ]
    return make_plan(
        shapes,
        epsilon=target,
        delta=DELTA,
        unit="user",
        mode="local" if terms is None else "distributed",
        population=1000,
        terms=terms,
    )


def audit(*targets: float, reproducible: bool = False, terms: Terms | None = None) -> LedgerAudit:
    """A ledger that released one plan for each target."""
    rows: list[Row] = [open_row("shop-1", "d" * 32, "0" * 64, "2026", KEY)]

    def add(kind: Any, **body: Any) -> None:
        rows.append(next_row(rows[-1], kind, body, "2026"))

    for number, target in enumerate(targets):
        made, job_id = plan(target, terms), f"{number:032x}"
        promised = [one.model_dump(mode="json") for one in guarantees_for(made, 1)]
        add("admit", job_id=job_id, plan=made.model_dump(mode="json"), guarantees=promised)
        for step, release in enumerate(made.releases):
            event = event_of(release).model_dump(mode="json")
            add("reserve", job_id=job_id, step=step, event=event, reproducible=reproducible)
            add("spend", reservation=rows[-1].seq, release_sha256="0" * 64)
    return audit_ledger(rows)


def policy(**changes: Any) -> Policy:
    return Policy.load({"lifetime": {"epsilon": 8.0, "delta": DELTA}, **changes})


def statement(found: LedgerAudit, rules: Policy, **changes: Any) -> Statement:
    values = {"population": 2000, "key": KEY, "date": "21 November 2026", **changes}
    return make_statement(found, rules, **values)


def text_of(page: str) -> str:
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_figures_are_those_of_plan_ledger_and_policy() -> None:
    one = statement(audit(2.0, 2.0, 3.0), policy(max_shops_per_shopper=3))
    events = [event_of(release) for release in plan(2.0).releases]
    frequent, rare = one.plans
    assert "Each of 2 plans of solver subspace, 2 releases" in frequent.what
    assert frequent.epsilon == pytest.approx(epsilon(events, DELTA))
    assert rare.epsilon == pytest.approx(3.0, rel=0.02)
    assert one.together is not None
    assert one.together.epsilon == pytest.approx(audit(2.0, 2.0, 3.0).total.pld)
    assert (one.lifetime.epsilon, one.lifetime.delta) == (8.0, DELTA)


def test_a_plan_that_chooses_rows_says_so() -> None:
    shape = ReleaseShape(
        step="dpsgd.round_1", rows=50, width=4, share=1.0, selection=RowSelection(threshold=3.0)
    )
    chosen = make_plan(
        [shape.model_copy(update={"step": "dpsgd.popularity", "selection": None}), shape],
        epsilon=2.0,
        delta=DELTA,
        unit="user",
        mode="local",
        population=2000,
    )
    found = audit(2.0)
    with_it = LedgerAudit(**{**vars(found), "jobs": (replace(found.jobs[0], plan=chosen),)})
    (line,) = statement(with_it, policy()).plans
    assert line.what == (
        "One plan of solver dpsgd, 2 releases, 1 of rows that noised counts choose"
    )
    assert "noised counts" not in statement(found, policy()).plans[0].what


def test_a_plan_is_named_by_what_trains_and_not_by_its_start_or_its_evaluation() -> None:
    names = ("subspace.popularity", "sequential.round_1", "evaluation.leave_one_out")
    made = make_plan(
        [ReleaseShape(step=name, rows=9, width=1, share=1.0) for name in names],
        epsilon=2.0,
        delta=DELTA,
        unit="user",
        mode="local",
        population=2000,
    )
    found = audit(2.0)
    with_it = LedgerAudit(**{**vars(found), "jobs": (replace(found.jobs[0], plan=made),)})
    (line,) = statement(with_it, policy()).plans
    assert line.what == "One plan of solver sequential, 3 releases"


def test_many_kinds_of_plans_have_three_lines() -> None:
    lines = statement(audit(1.0, 1.5, 2.0, 2.5, 3.0, 3.0), policy()).plans
    assert len(lines) == 3
    assert "Each of 2 plans" in lines[0].what
    assert lines[-1].what == "3 plans of other kinds, each at most"
    assert lines[-1].epsilon == pytest.approx(2.5, rel=0.02)


def test_a_shopper_of_m_clients_pays_for_m_times_the_events() -> None:
    one = statement(audit(2.0), policy(max_shops_per_shopper=3))
    thrice = [event_of(release) for release in plan(2.0).releases] * 3
    assert one.plans[0].shops_epsilon == pytest.approx(epsilon(thrice, DELTA), abs=1e-4)
    assert one.plans[0].shops_epsilon > 1.7 * one.plans[0].epsilon
    # of the filter nothing is known but its cap: basic composition
    assert (one.lifetime.shops_epsilon, one.lifetime.shops_delta) == (24.0, 3 * DELTA)


def test_many_shops_are_covered_without_the_samplers_share_of_delta() -> None:
    """(1 + e^ε) times their distance would be more than δ; concentrated DP takes none."""
    one = statement(audit(6.0), policy(max_shops_per_shopper=60))
    line = one.plans[0]
    assert line.shops_how == CONCENTRATED
    assert line.shops_epsilon is not None
    assert 10 * line.epsilon < line.shops_epsilon < 60 * line.epsilon
    assert line.shops_delta == DELTA
    assert "or concentrated DP" in text_of(render_statements([one]))


def test_too_many_shops_for_the_fast_samplers_share_compose_by_adding() -> None:
    fast = GaussianSumEvent(
        sampler="fast", sigma_grid=2048, clip_grid=1024, rows=5, width=1, sampling_rate=1, steps=1
    )
    found = LedgerAudit(**{**vars(audit(2.0)), "events": (fast,)})
    line = statement(found, policy(max_shops_per_shopper=60)).together
    assert line is not None
    assert line.epsilon is not None
    assert line.shops_epsilon == pytest.approx(60 * line.epsilon)
    assert line.shops_delta == pytest.approx(60 * DELTA)


def test_how_often_a_guess_is_right() -> None:
    general, gaussian = statement(audit(3.0), policy()).guess
    assert general == pytest.approx(0.953, abs=2e-3)
    assert 0.5 < gaussian < 0.7


def test_a_sampled_release_has_no_gaussian_guess() -> None:
    found = audit(2.0)
    sampled = GaussianSumEvent(**{**found.events[0].model_dump(), "sampling_rate": 0.5})
    one = statement(LedgerAudit(**{**vars(found), "events": (sampled,)}), policy())
    assert one.guess is not None
    assert one.guess[1] is None


def test_the_page_says_what_belongs_to_an_epsilon() -> None:
    rules = policy(max_shops_per_shopper=3, periods=[{"days": 30, "epsilon": 4.0}], servers=[KEY])
    one = statement(audit(2.0), rules, bounds=BOUNDS, receipts=1)
    words = text_of(render_statements([one]))
    for part in (
        "Privacy statement of shop-1", "21 November 2026", "2,000", "d" * 32,
        "one user, with everything they ever did here", "add/remove one user", "Mode local",
        "trusted with nothing", "m = 3", "PLD, pessimistic", "as if all had been fixed in advance",
        "GDP filter", "All releases ever, at most", "8.00", "24.00", "Any 30 days, at most",
        "1×10⁻⁵", "3×10⁻⁵", "probability of outcomes for which it does not", "right at most",
        "perfect guesses would have shown 5.8", "Serving joint", "What is not promised", "Timing",
        "lies about its own data", "several accounts", one.head, KEY, "countersigned",
        "Only 1 server", "Signature", "Place, date",
    ):  # fmt: skip
        assert part in words, part


BOTH = {"modes": ["local", "distributed"]}


def secure(**changes: Any) -> Policy:
    return policy(
        modes=["distributed"],
        roster={f"shop-{k}": f"{k:064x}" for k in range(10)},
        colluders=1,
        **changes,
    )


def test_in_one_sum_a_shopper_of_m_clients_moves_it_m_times_as_far() -> None:
    found = audit(2.0, terms=TERMS)
    one = statement(found, secure(max_shops_per_shopper=3))
    events = [event_of(release) for release in plan(2.0, TERMS).releases]
    assert found.findings == ()
    for line in (one.plans[0], one.together):
        assert line is not None
        assert line.epsilon == pytest.approx(epsilon(events, DELTA))
        assert line.shops_epsilon == pytest.approx(shops_epsilon(events, 3, DELTA)[0])
        assert line.shops_epsilon > 3 * line.epsilon  # far beyond adding up
        assert line.shops_delta == DELTA
    # of a cap nothing follows for them: what it holds may be one sum of all m
    assert one.lifetime.shops_epsilon is None


def test_too_many_shops_in_one_sum_are_promised_nothing() -> None:
    line = statement(audit(6.0, terms=TERMS), secure(max_shops_per_shopper=1000)).plans[0]
    assert line.epsilon is not None
    assert line.shops_epsilon is None


def test_a_secure_sum_bounds_guesses_as_its_gaussian() -> None:
    general, gaussian = statement(audit(3.0, terms=TERMS), secure()).guess
    assert 0.5 < gaussian < general < 1


def test_the_page_says_against_whom_secure_sums_hold_and_what_they_rest_on() -> None:
    rules = secure(max_shops_per_shopper=3)
    words = text_of(render_statements([statement(audit(2.0, terms=TERMS), rules)]))
    for part in (
        "Mode distributed", "the server learns totals alone",
        "against the server and up to c clients together",
        "n = 10, t = 8, c = 1, masks fall above 2t − n − 1 = 5",
        "exchanged without the server", "t − c honest clients in each total",
        "X25519, Ed25519 and AES", "over c clients are in league with the server",
        "m times the sensitivity", "mode distributed",
    ):  # fmt: skip
        assert part in words, part
    assert "Mode local" not in words
    assert "none holds" not in words
    assert "adds up" not in words
    both = statement(audit(2.0, terms=TERMS), policy(**{**BOTH, "max_shops_per_shopper": 3}))
    assert "adds up" in text_of(render_statements([both]))
    tried = statement(audit(2.0, terms=TERMS), rules, bounds=BOUNDS)
    assert "the noise of t − c shares alone" in text_of(render_statements([tried]))
    alone = text_of(render_statements([statement(audit(2.0, terms=TERMS), secure())]))
    assert "and more where one secure sum is of both" in alone


def test_before_the_first_secure_sum_the_policy_speaks() -> None:
    words = text_of(render_statements([statement(audit(), secure())]))
    assert "n = 10 on the roster, c = 1 or more, 2t > n + c" in words


def test_mode_local_says_nothing_of_colluders() -> None:
    words = text_of(render_statements([statement(audit(2.0), policy())]))
    assert "in league" not in words
    assert "roster" not in words


def test_serving_decides_what_is_not_promised() -> None:
    joint = text_of(render_statements([statement(audit(2.0), policy())]))
    shop = text_of(render_statements([statement(audit(2.0), policy(serving="shop"))]))
    assert "Shoppers of this shop against each other, under shop serving" in shop
    assert "against each other" not in joint


def test_what_is_not_kept_stands_first() -> None:
    one = statement(audit(2.0, reproducible=True), policy(modes=["local", "none"]), broken=2)
    words = text_of(render_statements([one]))
    assert "Nothing is promised" in words
    assert "The audit has 2 findings" in words
    assert words.index("Nothing is promised") < words.index("Who is protected")
    assert "Mode none is allowed" in words
    kept = text_of(render_statements([statement(audit(2.0), policy())]))
    assert "Nothing is promised" not in kept
    assert "finding" not in kept


def test_before_the_first_release() -> None:
    one = statement(audit(), policy(), receipts=0)
    words = text_of(render_statements([one]))
    assert one.together is None
    assert "Nothing has been released yet" in words
    assert "no server’s countersignature" in words
    assert "None was tried" in words


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    one = statement(audit(2.0), policy())
    page = render_statements([one.model_copy(update={"client": "<b>&x"})])
    assert not re.search(r"https?:|@import|url\(|<script|<link|<img|<iframe| on\w+=", page)
    assert "<b>&x" not in page
    assert "&lt;b&gt;&amp;x" in page

    tree = Nesting()
    tree.feed(page)
    assert tree.open == []


def test_one_page_each_in_one_file() -> None:
    one = statement(audit(2.0), policy())
    page = render_statements([one, one])
    assert page.count("<article") == 2
    assert page.count("<h1>") == 2
    assert "@page{size:A4" in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to print with")
@pytest.mark.parametrize("modes", [["local", "none"], ["distributed"], ["local", "distributed"]])
def test_it_prints_on_one_page_whatever_it_has_to_say(tmp_path: Path, modes: list[str]) -> None:
    rules = policy(
        max_shops_per_shopper=12,
        serving="shop",
        modes=modes,
        servers=[KEY],
        periods=[{"days": d, "epsilon": e} for d, e in ((7, 2.0), (30, 4.0), (365, 6.0))],
    )
    found = audit(1.0, 1.5, 2.0, 2.5, 3.0, reproducible=True)
    full = statement(found, rules, bounds=BOUNDS, receipts=1, broken=3)
    if "distributed" in modes:
        full = full.model_copy(update={"roster": 10, "sums": (TERMS,)})
    path = tmp_path / "statement.html"
    path.write_text(render_statements([full]), encoding="utf-8")
    subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
         f"--print-to-pdf={tmp_path / 'out.pdf'}", path.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "out.pdf").read_bytes())) == 1

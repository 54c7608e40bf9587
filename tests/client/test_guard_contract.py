"""The promise of a policy, held against an oracle that recomputes everything from all rows.

Servers ask in random order for jobs of every kind; clients crash; the clock jumps; the owner
closes jobs. After every step, of all that was ever reserved:
- the lifetime and any `days` in a row are within their caps, by the filter and, as a whole,
  by PLD;
- with what open jobs still hold they are, too: every admitted plan can be finished.
And a budget refuses only what the oracle finds to be too much.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from client.guard import Guard
from common.errors import Code, PolicyError
from common.privacy.accounting import epsilon
from common.privacy.events import Event, event_of, read_event
from common.privacy.filters import Filter, total_cost
from common.privacy.ledger import Row
from common.privacy.plan import PrivacyPlan
from common.privacy.signing import SigningKey
from common.protocol import OK
from tests.conftest import Shop, lay_out, shop_of

SECOND = SigningKey.create()
SOLVERS: dict[str, dict[str, Any]] = {
    "popularity": {"settings": {}},
    "subspace": {"settings": {"rounds": 1, "embedding_dim": 3}},
    "dpsgd": {
        "settings": {"rounds": 1, "embedding_dim": 3, "local_steps": 2, "sampling_rate": 0.3},
        "renyi_order": 150,
    },
}
JOBS = [f"{number:032x}" for number in range(12)]
CRASH = "client.training.declared"


def events_in(rows: list[Row], first: date, last: date) -> list[Event]:
    """Every reservation of some days, one by one."""
    return [
        read_event(row.body["event"])
        for row in rows
        if row.kind == "reserve" and first <= date.fromisoformat(row.time[:10]) <= last
    ]


def held(rows: list[Row]) -> list[Event]:
    """What open jobs have been promised and have not reserved."""
    closed = {row.body["job_id"] for row in rows if row.kind == "close"}
    done = {(row.body["job_id"], row.body["step"]) for row in rows if row.kind == "reserve"}
    return [
        event_of(release)
        for row in rows
        if row.kind == "admit" and row.body["job_id"] not in closed
        for step, release in enumerate(PrivacyPlan.model_validate(row.body["plan"]).releases)
        if (row.body["job_id"], step) not in done
    ]


class Servers(RuleBasedStateMachine):
    """Two servers, one client, one ledger."""

    template: Path

    @initialize(
        lifetime=st.sampled_from([1.0, 2.5, 6.0]),
        order=st.sampled_from([None, 40, 150]),
        periods=st.sampled_from([(), ((2, 1.0),), ((1, 0.7), (5, 1.0))]),
    )
    def begin(
        self, lifetime: float, order: int | None, periods: tuple[tuple[int, float], ...]
    ) -> None:
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "run"
        self.shop: Shop = shop_of(Path(shutil.copytree(self.template, folder)))
        self.patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.today = date(2030, 1, 1)
        self.patch.setattr("client.ledger_store._now", lambda: f"{self.today}T00:00:00.000+00:00")
        self.shop.allow(
            lifetime={"epsilon": lifetime, "delta": 1e-6},
            periods=[{"days": days, "epsilon": cap} for days, cap in periods],
            renyi_order=order,
            solvers=tuple(SOLVERS),
            servers=(self.shop.key.public, SECOND.public),
        )
        self.jobs: dict[str, Shop] = {}

    @rule(
        job_id=st.sampled_from(JOBS),
        solver=st.sampled_from(list(SOLVERS)),
        aim=st.sampled_from([0.2, 0.5, 0.9, 2.0, 5.0]),
        delta=st.sampled_from([1e-6, 1e-8]),
        second=st.booleans(),
        steps=st.integers(1, 3),
        crash=st.booleans(),
    )
    def ask(
        self,
        job_id: str,
        solver: str,
        aim: float,
        delta: float,
        second: bool,
        steps: int,
        crash: bool,
    ) -> None:
        """Some steps of a job, new or known; the last of them may crash."""
        asked = self.jobs.get(job_id)
        if asked is None:
            key = SECOND if second else self.shop.key
            fields = {"job_id": job_id, "solver": solver, "epsilon": aim, "delta": delta}
            fields |= {"server": key.public, **SOLVERS[solver]}
            asked = self.shop.variant(key=key, **fields)
            self.jobs[job_id] = asked
        for step in range(min(steps, len(asked.schedule.steps))):
            with self.patch.context() as patch:
                if crash and step == steps - 1:
                    patch.setattr(CRASH, lambda *_: 1 / 0)
                self.judge(asked, step)

    def judge(self, asked: Shop, step: int) -> None:
        before = asked.rows()
        code = asked.ask(asked.task(step)).code
        if code in {str(Code.BUDGET_LIFETIME), str(Code.BUDGET_PERIOD)}:
            assert asked.rows()[:-1] == before
            assert self.too_much(before, asked, step), "refused without need"
        else:
            assert code in {OK, str(Code.INTERNAL), str(Code.JOB_CLOSED)}

    @rule(job_id=st.sampled_from(JOBS))
    def close(self, job_id: str) -> None:
        with Guard.open(self.shop.store) as guard, suppress(PolicyError):  # never admitted
            guard.close_job(job_id)

    @rule(days=st.sampled_from([1, 1, 2, 7, -3, 400]))
    def time_passes(self, days: int) -> None:
        """Also backwards."""
        self.today += timedelta(days=days)

    @invariant()
    def every_cap_holds(self) -> None:
        if hasattr(self, "shop"):
            rows = self.shop.rows()
            for chosen, events in self.windows(rows):
                assert chosen.admits(total_cost(chosen, events))
                assert chosen.admits(total_cost(chosen, events + held(rows)))

    def windows(self, rows: list[Row]) -> Iterator[tuple[Filter, list[Event]]]:
        """The lifetime, and every period as of every day on which anything was reserved."""
        policy = self.shop.policy
        yield policy.filter(), events_in(rows, date.min, date.max)
        days = {date.fromisoformat(row.time[:10]) for row in rows}
        for period in policy.periods:
            for last in days:
                first = last - timedelta(days=period.days - 1)
                yield policy.filter(period), events_in(rows, first, last)

    def too_much(self, rows: list[Row], asked: Shop, step: int) -> bool:
        """Whether some cap would not hold with what a request adds."""
        releases = [event_of(release) for release in asked.schedule.plan.releases]
        admitted = {row.body["job_id"] for row in rows if row.kind == "admit"}
        added = releases if asked.job.job_id not in admitted else [releases[step]]
        today = max(self.today, date.fromisoformat(rows[-1].time[:10]))
        policy, promised = self.shop.policy, held(rows)
        found = [(policy.filter(), events_in(rows, date.min, date.max))]
        for period in policy.periods:
            first = today - timedelta(days=period.days - 1)
            found.append((policy.filter(period), events_in(rows, first, today)))
        return any(
            not chosen.admits(total_cost(chosen, events + promised + added))
            for chosen, events in found
        )

    def teardown(self) -> None:
        if not hasattr(self, "shop"):
            return
        rows, cap = self.shop.rows(), self.shop.policy.lifetime
        events = events_in(rows, date.min, date.max)
        assert epsilon(events, cap.delta) <= cap.epsilon
        reserved = Counter(row.body["job_id"] for row in rows if row.kind == "reserve")
        assert sum(reserved.values()) == len(events)
        self.stack.close()


@pytest.fixture(scope="module", autouse=True)
def _template(tmp_path_factory: pytest.TempPathFactory) -> None:
    Servers.template = lay_out(tmp_path_factory.mktemp("contract") / "run").path


class TestContract(Servers.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(
        phases=(Phase.explicit, Phase.generate),  # a failure tells enough as it is
        max_examples=12,
        stateful_step_count=14,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

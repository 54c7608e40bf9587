"""A job that chooses rows, at a real client: what leaves, what is charged, what audits say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.audit.export import read_export
from common.audit.ledgers import audit_ledger
from common.audit.verify import verify_export
from common.errors import Code
from common.privacy.events import event_of, read_event
from common.privacy.plan import RowSelection
from common.protocol import OK
from common.solvers.dpsgd import TABLE
from tests.defects.support import task_for

CHOICE = {"threshold": 6.0, "share": 0.3}
SETTINGS = {"rounds": 1, "local_steps": 2, "embedding_dim": 5, "negatives": 20}


@pytest.fixture
def asked(shop: Any) -> Callable[..., Any]:
    """The shop, about to be asked for a job with a choice of rows."""

    def make(**choice: Any) -> Any:
        settings = {**SETTINGS, "row_selection": {**CHOICE, **choice}}
        fields = {"solver": "dpsgd", "settings": settings, "job_id": "ca" * 16}
        one = replace(shop, job=shop.job.model_copy(update=fields))
        one.allow(solvers=("dpsgd",))
        return one

    return make


def test_what_is_charged_is_the_choice_too(asked: Callable[..., Any]) -> None:
    one = asked()
    tasks = [task_for(one, step) for step in (0, 1)]
    replies = [one.ask(task) for task in tasks]
    assert [reply.code for reply in replies] == [OK, OK]
    (admit,), reserved = one.rows("admit"), one.rows("reserve")
    assert admit.body["plan"] == one.schedule.plan.model_dump(mode="json")
    assert one.schedule.plan.releases[1].selection == RowSelection(**CHOICE)
    events = [read_event(row.body["event"]) for row in reserved]
    assert [event.kind for event in events] == ["gaussian-sum", "selected-gaussian-sum"]
    assert events == [event_of(release) for release in one.schedule.plan.releases]
    found = audit_ledger(one.rows())
    assert found.findings == ()
    assert found.total.agrees
    assert found.total.pld <= one.job.epsilon
    moved = np.any(replies[1].arrays[TABLE] != tasks[1].inputs[TABLE], axis=1)
    assert 0 < np.count_nonzero(moved) < len(moved)


def test_the_same_question_again_costs_nothing(asked: Callable[..., Any]) -> None:
    one = asked()
    first, again = (one.ask(task_for(one, 1)) for _ in range(2))
    assert np.array_equal(first.arrays[TABLE], again.arrays[TABLE])
    assert len(one.rows("reserve")) == 1


def test_an_export_of_it_is_consistent(asked: Callable[..., Any], tmp_path: Path) -> None:
    one, path = asked(), tmp_path / "ledger.jsonl"
    one.ask(task_for(one, 1))
    with one.ledger() as ledger:
        ledger.export(path)
    assert not verify_export(read_export(path)).findings


@pytest.mark.parametrize(
    "choice", [{"threshold": -1.0}, {"share": 1.0}, {"dense_rows": 3}, {"keep": 5}], ids=str
)
def test_a_choice_that_nobody_could_mean_is_refused(
    asked: Callable[..., Any], choice: dict[str, Any]
) -> None:
    one = asked(**choice)
    reply = one.ask(replace(asked().task(), job=one.job))
    assert reply.code not in (OK, str(Code.INTERNAL))
    assert not one.rows("reserve")

"""One context for one sum: whoever would sum something else, or otherwise, has another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.job import Job
from common.protocol import Task
from common.protocol.sum_context import context_of
from common.schedule import schedule_of

JOB = Job(
    job_id="ab" * 16, catalogue_version="c" * 64, n_items=30, clients=5, population=900,
    signal=700.0, mode="distributed", epsilon=8.0, delta=1e-4, solver="popularity",
    roster="d" * 64, threshold=4, colluders=1,
)  # fmt: skip
RELEASE = schedule_of(JOB).plan.releases[0]
TASK = Task(JOB, 0, {"basis": np.ones((3, 2), np.float32)})
CONTEXT = context_of(TASK, RELEASE)


def test_the_same_sum_has_the_same_context() -> None:
    again = Task(JOB, 0, {"basis": np.ones((3, 2), np.float32)})
    assert context_of(again, RELEASE.model_copy()) == CONTEXT


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, session=1),
        replace(TASK, step=1),
        replace(TASK, inputs={"basis": np.zeros((3, 2), np.float32)}),
        replace(TASK, job=JOB.model_copy(update={"threshold": 5})),
        replace(TASK, job=JOB.model_copy(update={"roster": "e" * 64})),
    ],
    ids=["session", "step", "inputs", "threshold", "roster"],
)
def test_another_task_has_another_context(other: Task) -> None:
    assert context_of(other, RELEASE) != CONTEXT


@pytest.mark.parametrize(
    "change",
    [{"noise_multiplier": RELEASE.noise_multiplier * 1.01}, {"clip_norm": 2.0}, {"rows": 31}],
    ids=["noise", "clip", "rows"],
)
def test_another_grid_has_another_context(change: dict[str, float]) -> None:
    assert context_of(TASK, RELEASE.model_copy(update=change)) != CONTEXT

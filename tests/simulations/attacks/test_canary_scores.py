"""Scores against a plain computation on dense contributions, one canary at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories
from common.protocol import Reply, Task
from common.schedule import Schedule, schedule_of
from server.app import read_job
from simulations.attacks import one_run
from simulations.attacks.canaries import Canaries
from simulations.attacks.canary_scores import canary_scores
from simulations.engine.folders import client_folders
from simulations.prepare import prepare
from simulations.run_folder import RunFolder


def trained(
    path: Path, settings: one_run.OneRunSettings
) -> tuple[Canaries, Schedule, list[tuple[Task, Reply]]]:
    canaries, dataset = Canaries.beside(settings.dataset(), settings.canaries)
    folder = RunFolder.create(path, force=False)
    prepare(folder, settings.scenario, dataset, settings.job(dataset))
    (client,) = client_folders(folder.path)
    canaries.plant(client, canaries.coins(np.random.default_rng(3)))
    exchanged = list(one_run._train(folder.path))
    return canaries, schedule_of(read_job(folder.path)), exchanged


class Alone:
    """One canary as a solver reads it."""

    def __init__(self, item: int, n_items: int) -> None:
        self.histories = Histories(np.array([0, 1]), np.array([item]), np.ones(1), n_items)
        self.heldout = None


def dense(schedule: Schedule, step: int, inputs: Any, data: Alone) -> Floats:
    release = schedule.plan.releases[step]
    total = np.zeros((release.rows, release.width))
    for batch in schedule.contribute(step, inputs, data, np.array([0])):
        batch.add_to(total)
    return total


@pytest.mark.parametrize("solver", ["popularity", "subspace"])
def test_a_score_is_the_log_likelihood_ratio_of_all_releases(tmp_path: Path, solver: str) -> None:
    small = {} if solver == "popularity" else {"rounds": 2, "embedding_dim": 3}
    settings = one_run.OneRunSettings(
        solver=solver, settings=small, users=30, items=20, canaries=25, fixed_noise=True
    )
    canaries, schedule, exchanged = trained(tmp_path / "run", settings)
    found = canary_scores(schedule, exchanged, canaries)
    assert len(exchanged) == len(schedule.steps)
    for number, item in enumerate(canaries.items):
        expected = 0.0
        for task, reply in exchanged:
            inputs = {name: array.astype(np.float64) for name, array in task.inputs.items()}
            own = dense(schedule, task.step, inputs, Alone(int(item), canaries.n_items))
            sigma = schedule.plan.releases[task.step].noise_multiplier
            expected += float(np.sum(own * (reply.arrays["sum"] - own / 2))) / sigma**2
        assert found[number] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_rows_that_others_touch_say_nothing(tmp_path: Path) -> None:
    """Negatives are everybody's: a canary whose item is drawn has no score in that round."""
    settings = one_run.OneRunSettings(
        solver="dpsgd",
        settings={"rounds": 1, "local_steps": 1, "embedding_dim": 3, "negatives": 50},
        users=30,
        items=20,
        canaries=30,
        fixed_noise=True,
    )
    canaries, schedule, exchanged = trained(tmp_path / "run", settings)
    assert schedule.job.n_items == 50
    scores = canary_scores(schedule, exchanged[1:], canaries)
    np.testing.assert_array_equal(scores, np.zeros(30))

"""Noised popularity has the noise that its plan says, whoever adds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from client.store import ClientStore
from common.privacy.stream import NoiseSource
from common.schedule import schedule_of
from server.app import read_job
from simulations.controls import _combined, _shared, noised_popularity
from simulations.engine.folders import client_folders


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_the_noise_is_what_is_said(prepare_run: Callable[..., Any], mode: str) -> None:
    run = prepare_run(mode=mode, solver="popularity", rounds=None, dim=None)
    job = read_job(run.path)
    schedule = schedule_of(job)
    stores = [ClientStore.open(folder) for folder in client_folders(run.path)]
    control = _shared if mode == "distributed" else _combined
    noise = NoiseSource.seeded(1)
    totals = [control(schedule, stores, noise) for _ in range(12)]
    values = np.hstack([total.values for total in totals])
    stated = totals[0].noise_std
    measured = float(np.sqrt(values.var(axis=1, ddof=1).mean()))
    # 660 degrees of freedom: a standard error of 3%
    assert 5 / 6 < measured / stated < 5 / 4
    if mode == "distributed":
        release = schedule.plan.releases[0]
        expected = release.noise_multiplier * release.clip_norm * np.sqrt(3 / 2)
        assert stated == pytest.approx(expected, rel=1e-3)
        assert totals[0].population == 120


def test_a_control_ranks_what_is_popular_first(prepare_run: Callable[..., Any]) -> None:
    run = prepare_run(mode="distributed", epsilon=20.0)
    stores = [ClientStore.open(folder) for folder in client_folders(run.path)]
    scores = noised_popularity(read_job(run.path), stores, NoiseSource.seeded(2))
    counts = np.sum([np.bincount(s.histories.items, minlength=len(scores)) for s in stores], axis=0)
    assert np.corrcoef(scores, counts)[0, 1] > 0.9

"""A whole run of secure sums: the real apps, resumed after Ctrl-C, and on Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store import read_policy
from common.privacy.events import event_of
from common.privacy.filters import total_cost
from common.schedule import schedule_of
from server.app import read_job
from server.record import RoundRecord, SilentObserver
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessEngine

MODEL = Path("server", "model", "arrays.safetensors")


class Stop:
    def round_done(self, record: RoundRecord) -> None:
        raise KeyboardInterrupt


def test_a_run_ends_in_a_model_and_every_step_is_one_session(
    prepare_run: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    run = prepare_run(mode="distributed", evaluation_share=0.1, fixed_noise=False)
    InProcessEngine().run(run.path, SilentObserver())
    job = read_job(run.path)
    model, manifest = run.registry.model(job.catalogue_version)
    assert manifest.private
    assert all(np.isfinite(array).all() for array in model.arrays().values())
    plan = schedule_of(job).plan
    for record, release in zip(run.registry.rounds(), plan.releases, strict=True):
        assert record.answered == ("shop-1", "shop-2", "shop-3")
        assert record.refused == {}
        (session,) = record.sessions
        assert (session.session, session.survivors) == (0, record.answered)
        # three shares where two are promised
        expected = release.noise_multiplier * release.clip_norm * np.sqrt(3 / 2)
        assert record.noise_std == pytest.approx(expected, rel=1e-3)
    for kinds in spent(run.path).values():
        assert [kinds.count(k) for k in ("reserve", "spend", "agree", "refuse")] == [4, 4, 4, 0]


@pytest.mark.parametrize("solver", ["popularity", "dpsgd"])
def test_other_solvers_sum_securely_too(prepare_run: Callable[..., Any], solver: str) -> None:
    small = {"rounds": 1, "dim": 4} if solver == "dpsgd" else {"rounds": None, "dim": None}
    run = prepare_run(mode="distributed", solver=solver, **small)
    InProcessEngine().run(run.path, SilentObserver())
    model, _ = run.registry.model(read_job(run.path).catalogue_version)
    assert all(np.isfinite(array).all() for array in model.arrays().values())


def keys_of(run: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in run.glob("clients/*/roster_key.pem")}


def test_what_is_interrupted_goes_on_with_the_same_keys_and_costs_nothing_more(
    prepare_run: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    stopped = prepare_run("stopped", mode="distributed")
    keys, policy = keys_of(stopped.path), read_policy(client_folders(stopped.path)[0])
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            InProcessEngine().run(stopped.path, Stop())
    InProcessEngine().run(stopped.path, SilentObserver())
    whole = prepare_run("whole", mode="distributed")
    InProcessEngine().run(whole.path, SilentObserver())
    assert len(stopped.registry.rounds()) == 3
    assert (stopped.path / MODEL).read_bytes() == (whole.path / MODEL).read_bytes()
    assert spent(stopped.path) == spent(whole.path)
    assert keys_of(stopped.path) == keys
    assert len(keys) == len(set(keys.values())) == 3
    assert read_policy(client_folders(stopped.path)[0]) == policy


def test_the_lifetime_has_room_for_one_session_more(prepare_run: Callable[..., Any]) -> None:
    """A sum that is tried again is charged anew at every client."""
    run = prepare_run(mode="distributed")
    policy = read_policy(client_folders(run.path)[0])
    events = [event_of(release) for release in schedule_of(read_job(run.path)).plan.releases]
    chosen = policy.filter()
    dearest = max(events, key=lambda event: chosen.cost(event).divergence)
    assert chosen.admits(total_cost(chosen, [*events, dearest]))
    assert not chosen.admits(total_cost(chosen, [*events, dearest, dearest]))

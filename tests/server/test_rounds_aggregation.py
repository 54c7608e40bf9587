"""How updates are combined in real rounds: clients that lie, too few of them, servers that die."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.store import ClientStore
from common.artifacts import load_artifact
from common.errors import Code, RunError
from common.protocol import STEP, Task
from common.schedule import schedule_of
from common.solvers.aggregation import SERVER_STATE
from server.app import read_job
from server.registry import Registry
from simulations.engine.folders import client_folders
from simulations.private_metrics import exact_metrics
from simulations.run_folder import RunFolder
from tests.conftest import lay_out
from tests.server.tampering import Seen, on_step, rounds, silence, spoil

ROOT = Path(__file__).parents[2]
KILLS = ROOT / "tests" / "simulations" / "engine" / "kill_child.py"
SEVEN = {
    "users": 210, "items": 60, "categories": 4, "shop_sizes": (30,) * 7, "events_per_user": 12.0,
    "seed": 3,
}  # fmt: skip
WITHOUT = {"mode": "none", "no_privacy": True, "fixed_noise": False}
ADAM = {"aggregation": "fedadam", "server_learning_rate": 2.0}
Grid = Callable[..., Any]


def garbage(array: np.ndarray) -> np.ndarray:
    """Anything within the bounds that the server checks; popularity must be positive."""
    rng = np.random.default_rng(array.size)
    if array.ndim == 1:
        return rng.uniform(1e10, 9e11, array.shape).astype(np.float32)
    return rng.uniform(-1e6, 1e6, array.shape).astype(np.float32)


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], RunFolder]:
    """Seven shops, laid out once for each rule."""
    here = tmp_path_factory.mktemp("seven")

    def run(path: Path, rule: str) -> RunFolder:
        if not (here / rule).exists():
            lay_out(
                here / rule, marketplace=SEVEN, solver="dpsgd", rounds=2,
                settings={"aggregation": rule, "negatives": 30}, **WITHOUT,
            )  # fmt: skip
        return RunFolder(Path(shutil.copytree(here / rule, path)))

    return run


def hit_rate(run: RunFolder) -> float:
    model, _ = Registry(run.path / "server").model(read_job(run.path).catalogue_version)
    stores = [ClientStore.open(folder) for folder in client_folders(run.path)]
    return exact_metrics(model, stores).hit_rate


@pytest.fixture(scope="module")
def spoilt(seven: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Hit rate of the average with one liar of seven, well below that without."""
    from tests.conftest import RecordingGrid

    rates = []
    for lies in (False, True):
        run = seven(tmp_path_factory.mktemp("average") / "run", "fedavg")
        grid = RecordingGrid(run.path)
        if lies:
            grid.tampering = on_step(spoil(garbage), node=4)
        rounds(run, grid).run()
        rates.append(hit_rate(run))
    honest, ruined = rates
    assert ruined < 0.6 * honest
    return ruined


@pytest.mark.parametrize("rule", ["median", "trimmed-mean", "krum", "multi-krum"])
def test_one_liar_of_seven_ruins_the_average_and_no_robust_rule(
    seven: Callable[..., RunFolder], spoilt: float, tmp_path: Path, recording_grid: Grid, rule: str
) -> None:
    run = seven(tmp_path / "run", rule)
    grid, registry = recording_grid(run.path), Registry(run.path / "server")
    grid.tampering = on_step(spoil(garbage), node=4)
    checkpoint = rounds(run, grid).run()
    assert [len(record.answered) for record in registry.rounds()] == [7, 7, 7]
    assert np.abs(checkpoint.state["item_table"]).max() < 1e3
    assert checkpoint.state["popularity"].max() < 1.0  # for each user, not the liar's 1e10
    assert hit_rate(run) > 1.4 * spoilt


def test_a_round_that_fewer_answer_than_the_rule_takes_ends_the_run(
    prepare_run: Callable[..., Any], recording_grid: Grid
) -> None:
    run = prepare_run(
        solver="dpsgd", settings={"aggregation": "trimmed-mean", "local_steps": 1}, **WITHOUT
    )
    grid = recording_grid(run.path)
    grid.tampering = on_step(silence, node=2, step=1)
    with pytest.raises(RunError) as caught:
        rounds(run, grid).run()
    assert caught.value.code is Code.RUN_QUORUM
    assert "2 of 3 clients answered, 3 are needed" in caught.value.message
    grid.tampering = lambda _, reply: reply
    rounds(run, grid).run()


def test_the_servers_moments_survive_kills(prepare_run: Callable[..., Any]) -> None:
    """`kill -9` at random messages of a process of its own, as for other jobs."""
    run = prepare_run(solver="dpsgd", settings={**ADAM, "local_steps": 1})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(KILLS), str(run.path), "11", "2"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *trials = (json.loads(line) for line in done.stdout.splitlines())
    assert sum(sum(trial["died"]) for trial in trials) >= 2
    assert {trial["model"] for trial in trials} == {whole["model"]}


def test_a_checkpoint_that_lost_them_would_end_elsewhere(
    prepare_run: Callable[..., Any], recording_grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above would fail if checkpoints lost them."""
    models = []
    latest = Registry.latest
    for forgets in (False, True):
        run = prepare_run(str(forgets), solver="dpsgd", settings={**ADAM, "local_steps": 1})
        with pytest.raises(KeyboardInterrupt):
            rounds(run, recording_grid(run.path), observer=Seen(stop_after=2)).run()
        if forgets:

            def forgetful(self: Registry, job: Any) -> Any:
                found = latest(self, job)
                if found is not None:
                    for name in [n for n in found.state if n.startswith(SERVER_STATE)]:
                        del found.state[name]  # type: ignore[attr-defined]
                return found

            monkeypatch.setattr(Registry, "latest", forgetful)
        rounds(run, recording_grid(run.path)).run()
        models.append((run.path / "server" / "model" / "arrays.safetensors").read_bytes())
    assert models[0] != models[1]


def test_moments_are_sent_to_nobody_and_are_in_no_model(
    prepare_run: Callable[..., Any], recording_grid: Grid
) -> None:
    run = prepare_run(solver="dpsgd", settings=ADAM, evaluation_share=0.1)
    grid, job = recording_grid(run.path), read_job(run.path)
    checkpoint = rounds(run, grid).run()
    assert sum(name.startswith(SERVER_STATE) for name in checkpoint.state) == 2
    sent = [
        name
        for asked, _ in grid.exchanged
        if asked.metadata.message_type == STEP
        for name in Task.from_records(asked.content).inputs
    ]
    assert "item_table" in sent
    assert not [name for name in sent if name.startswith(SERVER_STATE)]
    arrays, _ = load_artifact(run.path / "server" / "model")
    assert set(arrays) == set(schedule_of(job).solver.model_specs)


def test_fedadam_moves_every_entry_by_about_its_rate(
    prepare_run: Callable[..., Any], recording_grid: Grid
) -> None:
    """In the first round m / √v is ±1 where an update is well above τ (β1² = 1 - β2)."""
    rate = 0.125
    settings = {**ADAM, "server_learning_rate": rate, "local_steps": 1}
    run = prepare_run(solver="dpsgd", rounds=1, settings=settings)
    start = schedule_of(read_job(run.path)).initial_state()["item_table"]
    after = rounds(run, recording_grid(run.path)).run().state["item_table"]
    moved = np.abs(after - start)
    assert moved.max() <= rate * (1 + 1e-9)
    assert np.median(moved) > 0.9 * rate

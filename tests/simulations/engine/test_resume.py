"""`kill -9` of a whole simulation: the same job, spend and model as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client.store import ClientStore

CHILD = Path(__file__).with_name("kill_child.py")
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_killed_at_random_messages_and_resumed(run_folder: Any) -> None:
    done = subprocess.run(
        [sys.executable, str(CHILD), str(run_folder.path), "2026", "12"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, *trials = (json.loads(line) for line in done.stdout.splitlines())
    assert len(trials) == 12
    assert sum(sum(trial["died"]) for trial in trials) >= 12
    assert whole["ledgers"]["shop-1"] == ["open", "admit", *["reserve", "spend"] * 3]
    for trial in trials:
        assert trial["model"] == whole["model"]
        assert trial["ledgers"] == whole["ledgers"]
        assert trial["job"] == whole["job"]


KILLED = """
import os, signal
from simulations.live import LiveView
done = LiveView.round_done
def round_done(self, record):
    done(self, record)
    if record.step == 1:
        os.kill(os.getpid(), signal.SIGKILL)
LiveView.round_done = round_done
from hushrec import main
main()
"""


def simulate(*arguments: str, code: str = "from hushrec import main; main()") -> Any:
    return subprocess.run(
        [sys.executable, "-c", code, "simulate", *arguments, "--format", "json"],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_is_killed_and_resumed(tmp_path: Path, small_scenario: Any) -> None:
    scenario, run, whole = tmp_path / "s.json", tmp_path / "run", tmp_path / "whole"
    scenario.write_text(small_scenario().model_dump_json(exclude_none=True))
    killed = simulate("--scenario", str(scenario), "--out", str(run), code=KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (run / "summary.json").exists()
    results = [
        simulate("--resume", str(run)),
        simulate("--scenario", str(scenario), "--out", str(whole)),
    ]
    for done in results:
        assert done.returncode == 0, done.stderr
    resumed, uninterrupted = (json.loads(done.stdout) for done in results)
    assert resumed["metrics"] == uninterrupted["metrics"]
    assert resumed["privacy"] == uninterrupted["privacy"]
    model = Path("server", "model", "arrays.safetensors")
    assert (run / model).read_bytes() == (whole / model).read_bytes()
    assert len((run / "rounds.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("solver", ["dpsgd"])
def test_other_solvers_resume_too(prepare_run: Any, solver: str) -> None:
    from server.record import RoundRecord, SilentObserver
    from simulations.engine.inprocess import InProcessEngine

    class Stop:
        def round_done(self, record: RoundRecord) -> None:
            raise KeyboardInterrupt

    models = []
    for name in ("stopped", "whole"):
        run = prepare_run(name, solver=solver, settings={"local_steps": 2}, evaluation_share=0.1)
        if name == "stopped":
            for _ in range(3):
                with pytest.raises(KeyboardInterrupt):
                    InProcessEngine().run(run.path, Stop())
        InProcessEngine().run(run.path, SilentObserver())
        models.append((run.path / "server" / "model" / "arrays.safetensors").read_bytes())
        assert ClientStore.open(run.clients / "shop-1").settings.noise_seed == 7
    assert models[0] == models[1]

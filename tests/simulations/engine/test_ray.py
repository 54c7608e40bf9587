"""Flower's own engine on Ray gives what the in-process one gives. Starting Ray takes a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.record import SilentObserver
from simulations.engine.inprocess import InProcessEngine

ROOT = Path(__file__).parents[3]
CHILD = """
import os, signal, sys, threading
from pathlib import Path
from simulations.engine.ray import RayEngine

arrived = threading.Event()

def interrupt(number, frame):
    arrived.set()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)

class InterruptAfter:
    def __init__(self, rounds):
        self.rounds = rounds
    def round_done(self, record):
        print("round", record.step, flush=True)
        if record.step + 1 == self.rounds:
            os.kill(os.getpid(), signal.SIGINT)
            arrived.wait(60)  # else a busy machine ends the run before its main thread is asked

try:
    RayEngine().run(Path(sys.argv[1]), InterruptAfter(int(sys.argv[2])))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
"""


def on_ray(run: Path, interrupt_after: int) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which Ray and its signal handlers may have to themselves."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(run), str(interrupt_after)],
        cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_ctrl_c_ends_it_and_what_is_resumed_is_the_in_process_result(
    run_folder: Any, prepare_run: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    stopped = on_ray(run_folder.path, interrupt_after=1)
    assert (stopped.returncode, stopped.stdout.split("\n")[0]) == (130, "round 0"), stopped.stderr
    assert run_folder.registry.rounds()[0].answered == ("shop-1", "shop-2", "shop-3")
    finished = on_ray(run_folder.path, interrupt_after=99)
    assert finished.returncode == 0, finished.stderr
    assert "DEPRECATED" not in finished.stderr
    other = prepare_run("other")
    InProcessEngine().run(other.path, SilentObserver())
    model = Path("server", "model", "arrays.safetensors")
    assert (run_folder.path / model).read_bytes() == (other.path / model).read_bytes()
    assert spent(run_folder.path) == spent(other.path)


def test_secure_sums_on_ray_are_the_in_process_result(
    prepare_run: Callable[..., Any], spent: Callable[..., Any]
) -> None:
    """Each message may be answered by another process: what a client must remember is on disk."""
    run, other = prepare_run("ray", mode="distributed"), prepare_run("other", mode="distributed")
    done = on_ray(run.path, interrupt_after=99)
    assert done.returncode == 0, done.stderr
    InProcessEngine().run(other.path, SilentObserver())
    assert [len(record.sessions) for record in run.registry.rounds()] == [1, 1, 1]
    model = Path("server", "model", "arrays.safetensors")
    assert (run.path / model).read_bytes() == (other.path / model).read_bytes()
    assert spent(run.path) == spent(other.path)

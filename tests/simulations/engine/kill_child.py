"""Run by `test_resume.py`: whole simulations that die at a random message, and are resumed.

Usage: kill_child.py RUN SEED TRIALS. Every trial is a forked process on a copy of RUN; one
line of JSON for each. This process imports only once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

from flwr.app import Message

from client.ledger_store import LedgerStore
from client.store import ClientStore
from common.privacy.ledger import verify
from server.app import read_job
from server.record import SilentObserver
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessEngine, InProcessGrid


def dying(nth: int, *, after: bool) -> None:
    """Die before the nth message reaches its client, or once its reply is made."""
    count, deliver = 0, InProcessGrid._deliver

    def _deliver(self: InProcessGrid, message: Message) -> Message:
        nonlocal count
        count += 1
        if count == nth and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = deliver(self, message)
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    InProcessGrid._deliver = _deliver  # type: ignore[method-assign]


def killed(run: Path, nth: int, *, after: bool) -> bool:
    child = os.fork()
    if child == 0:
        dying(nth, after=after)
        InProcessEngine().run(run, SilentObserver())
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def ledgers(run: Path) -> dict[str, list[str]]:
    found = {}
    for folder in client_folders(run):
        settings = ClientStore.open(folder).settings
        path = folder / "ledger.sqlite"
        with LedgerStore.open(path, settings.name, settings.dataset_id) as ledger:
            rows = ledger.rows()
        verify(rows)
        found[settings.name] = [row.kind for row in rows]
    return found


def digest(run: Path) -> str:
    model = run / "server" / "model" / "arrays.safetensors"
    return hashlib.sha256(model.read_bytes()).hexdigest()


def report(run: Path, **more: object) -> None:
    found = {"model": digest(run), "ledgers": ledgers(run), "job": read_job(run).job_id, **more}
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    run, rng, trials = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    messages = 3 * 4  # a hello and three steps for each client
    for trial in range(trials + 1):
        copy = run.with_name(f"trial-{trial}")
        shutil.copytree(run, copy)
        died = []
        for _ in range(rng.randrange(1, 3) if trial else 0):  # killed once or twice
            died.append(killed(copy, rng.randrange(1, messages + 1), after=rng.random() < 0.5))
        InProcessEngine().run(copy, SilentObserver())
        report(copy, died=died)


if __name__ == "__main__":
    main()

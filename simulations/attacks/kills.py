"""`python -m simulations.attacks.kills --kills 200 --seed 1`: clients that are killed on the way.

A server asks one deployed client after another for every step of a job and asks again until it
has the reply, while the client's process is killed at random points of checking, reserving,
computing, committing, replying and sending. After every attempt the ledger is opened and
verified as a whole, and three things must hold:

1. of every step, no more different replies left than the ledger has reservations for it;
2. whatever left, even the first bytes of a reply, is the beginning of the one reply that is
   stored, with its `spend` row;
3. asked again, the client answers, with the same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from client.ledger_store import Key, LedgerStore
from client.store import CLIENT_TOML, ClientStore
from common.artifacts import arrays_from_bytes, arrays_to_bytes
from common.errors import HushRecError
from common.job import Job
from common.protocol import OK, Task
from common.schedule import schedule_of
from common.solvers.base import ArraySpec
from server.app import read_job
from server.keys import server_key
from simulations.attacks.kills_child import PHASES, Attempt, Kill, attempt
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.prepare import make_job, prepare
from simulations.results.pages import write_page
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario

__all__ = ["Found", "kill_clients", "main"]

_SCENARIO: Final = {
    "marketplace": {"users": 120, "items": 60, "categories": 4, "shops": 3, "seed": 3},
    "min_users": 1,
    "rounds": 2,
    "dim": 4,
    "epsilon": 0.5,
    "lifetime_epsilon": 20.0,
    "evaluation_share": 0.05,
    "fixed_noise": False,
}
_ANSWERED: Final = b'{"code": "ok"'
_WAYS: Final = ("at a call", "at a moment")
_NOTES: Final = """
{kills} kills of clients that answered a job of {steps} steps, in {lives} lives that each began
without a ledger. The clients are deployed ones: noise from the system, full fsync. Half of
the kills are at a random call or return of a function in a random phase, half at a random
moment, from outside. After every attempt the whole ledger was verified and held to what had
left; every step was then asked for until it answered, and once more at the end.

Violations: {violations}. Whole replies received: {replies}; parts of replies: {parts}.
Reservations that a kill left without bytes, which stay counted: {unspent}.
"""


@dataclass
class Found:
    """What the study saw.

    Attributes:
        kills: one row for each client that was killed.
        violations: what did not hold, in words.
        replies: whole replies received.
        parts: replies of which only a part was received.
        unspent: reservations without bytes, over all ledgers.
        lives: ledgers.
        steps: steps of the job.
    """

    kills: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    replies: int = 0
    parts: int = 0
    unspent: int = 0
    lives: int = 0
    steps: int = 0


def kill_clients(folder: Path, kills: int, rng: np.random.Generator) -> Found:
    """Kill `kills` clients.

    Args:
        folder: where to work.
        kills: how many.
        rng: where and when.
    """
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    run = _laid_out(folder / "run")
    shop, job = client_folders(run)[0], read_job(run)
    tasks = _tasks(job, run)
    found = Found(steps=len(tasks))
    usual = _dry_run(shop, tasks)
    while len(found.kills) < kills:
        life = _Life(Path(shutil.copytree(shop, shop.with_name(f"life-{found.lives}"))), tasks)
        found.lives += 1
        for step in range(len(tasks)):
            _ask_until_answered(life, step, usual[step], found, kills, rng)
        for step in range(len(tasks)):
            _try(life, step, None, found)
        found.unspent += life.unspent()
        shutil.rmtree(life.folder)
    return found


def _laid_out(path: Path) -> Path:
    scenario = Scenario.load(_SCENARIO)
    dataset = load_dataset(scenario)
    run = RunFolder.create(path, force=False)
    prepare(run, scenario, dataset, make_job(scenario, dataset))
    for shop in client_folders(path):
        toml = shop / CLIENT_TOML
        toml.write_text(toml.read_text().replace("simulated = true", "simulated = false"))
    return path


def _tasks(job: Job, run: Path) -> list[Task]:
    """Every step, with public arrays that any server could send."""
    key, tasks = server_key(run), []
    for index, step in enumerate(schedule_of(job).steps):
        inputs = {name: _public(spec) for name, spec in step.inputs.items()}
        tasks.append(Task(job, index, inputs).signed(key))
    return tasks


def _public(spec: ArraySpec) -> NDArray[np.float32]:
    if spec.positive or len(spec.shape) != 2:
        return np.ones(spec.shape, np.float32)
    return np.eye(*spec.shape, dtype=np.float32)


def _dry_run(shop: Path, tasks: Sequence[Task]) -> list[Attempt]:
    """What each step does when nobody is killed, from a process that has done it before."""
    copy = Path(shutil.copytree(shop, shop.with_name("dry")))
    usual = [attempt(copy, task, None) for task in tasks]
    shutil.rmtree(copy)
    return usual


def _ask_until_answered(
    life: _Life, step: int, usual: Attempt, found: Found, kills: int, rng: np.random.Generator
) -> None:
    """The first attempt is killed, each later one as often as not."""
    first, answered = True, False
    while not answered:
        wanted = len(found.kills) < kills and (first or rng.random() < 0.5)
        answered = not _try(life, step, _chosen(usual, rng) if wanted else None, found).died
        first = False


def _chosen(usual: Attempt, rng: np.random.Generator) -> Kill:
    if rng.random() < 0.5:
        return Kill(after_seconds=float(rng.uniform(0, 1.1 * usual.seconds)))
    phase = PHASES[rng.integers(len(PHASES))]
    return Kill(phase=phase, call=int(rng.integers(1, max(2, usual.calls[phase] + 1))))


def _try(life: _Life, step: int, kill: Kill | None, found: Found) -> Attempt:
    done = attempt(life.folder, life.tasks[step], kill)
    problems = [f"life {found.lives - 1}, step {step}: {said}" for said in life.check(step, done)]
    found.violations += problems
    found.replies += done.whole
    found.parts += bool(done.received) and not done.whole
    if done.died and kill is not None:
        how = "at a moment" if kill.phase is None else "at a call"
        row = {"life": found.lives - 1, "step": step, "phase": done.phase, "how": how}
        received = {"received": len(done.received), "whole": done.whole}
        found.kills.append({**row, **received, "violations": len(problems)})
    return done


class _Life:
    """One client folder from its first task on, and all that ever left it."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        self.folder = folder
        self.tasks = tasks
        self._left: dict[int, list[bytes]] = {}

    def check(self, step: int, done: Attempt) -> Iterator[str]:
        """What does not hold after an attempt."""
        if done.received and _ANSWERED.startswith(done.received[: len(_ANSWERED)]):
            self._left.setdefault(step, []).append(done.received)
        if not done.died and not done.received.startswith(_ANSWERED):
            yield f"it did not answer: {done.received[:80]!r}"
        try:
            with self._ledger() as ledger:
                ledger.verify()
                yield from self._held(ledger)
        except HushRecError as error:
            yield f"the ledger does not hold: {error}"

    def unspent(self) -> int:
        """Reservations without bytes."""
        with self._ledger() as ledger:
            return ledger.count("reserve") - ledger.count("spend")

    def _held(self, ledger: LedgerStore) -> Iterator[str]:
        """What left, against what the ledger has reserved and stored."""
        rows = ledger.rows("reserve")
        reserved = Counter(row.body["step"] for row in rows)
        for step, left in self._left.items():
            stored = ledger.find(Key(self.tasks[step].job.job_id, step, 0))
            if stored is None:
                yield f"{max(map(len, left))} bytes of step {step} left, and nothing is stored"
                continue
            head = json.dumps({"code": OK, "head": stored.head.model_dump()}).encode()
            arrays = arrays_to_bytes(arrays_from_bytes(stored.payload))
            whole = head + b"\n" + arrays
            if not all(whole.startswith(part) for part in left):
                yield f"step {step} left with other bytes than those that are stored"
            if len(set(left)) > 1 and _different(left) > reserved[step]:
                yield f"step {step} left more often than it was reserved"

    def _ledger(self) -> LedgerStore:
        store = ClientStore.open(self.folder)
        settings = store.settings
        return LedgerStore.open(store.ledger_path, settings.name, settings.dataset_id)


def _different(left: Sequence[bytes]) -> int:
    """Replies among these of which none is the beginning of another."""
    longest = sorted(set(left), key=len, reverse=True)
    kept: list[bytes] = []
    for part in longest:
        if not any(whole.startswith(part) for whole in kept):
            kept.append(part)
    return len(kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print its counts, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        found = kill_clients(Path(scratch), given.kills, np.random.default_rng(given.seed))
    counts = _counts(found)
    facts = {
        name: getattr(found, name) for name in ("lives", "steps", "replies", "parts", "unspent")
    }
    said = {"kills": len(found.kills), "violations": len(found.violations), **facts}
    write_page(
        given.out,
        "kills",
        title="Clients that are killed",
        command=f"python -m simulations.attacks.kills --kills {given.kills} --seed {given.seed}",
        notes=_NOTES.format(**said).replace("\n", " ").replace("  ", "\n\n"),
        rows=found.kills,
        tables={"Kills by the phase in which they fell": counts},
    )
    sys.stdout.write(json.dumps({**said, "by_phase": counts.to_dict("records")}) + "\n")
    sys.stderr.writelines(f"{violation}\n" for violation in found.violations)
    return 1 if found.violations else 0


def _counts(found: Found) -> pd.DataFrame:
    rows: list[Mapping[str, Any]] = []
    for phase in PHASES:
        here = [kill for kill in found.kills if kill["phase"] == phase]
        ways = Counter(kill["how"] for kill in here)
        row = {"phase": phase, "kills": len(here), **{way: ways[way] for way in _WAYS}}
        parts = sum(kill["received"] > 0 and not kill["whole"] for kill in here)
        whole = sum(kill["whole"] for kill in here)
        row |= {"a part had left": parts, "all had left": whole}
        rows.append({**row, "violations": sum(kill["violations"] for kill in here)})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())

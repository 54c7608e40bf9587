"""One standing federation, and one disturbed training after another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import Field

from common.config import Settings
from server.seen import RECORD_MARK
from server.training.folder import RUNS as RUNS_FOLDER
from server.training.folder import Training
from server.training.request import REQUEST_FILE, Request
from simulations.deployment.chaos.faults import Fault, draw
from simulations.deployment.chaos.hands import Hands
from simulations.deployment.chaos.verdict import TAKES_A_PERSON, Ended, Judge
from simulations.deployment.demo import Demo, lay_out
from simulations.deployment.processes import Unit
from simulations.deployment.topology import Federation, Pace

__all__ = ["RUNS", "Campaign", "Result", "carry_out", "kept_results"]

RUNS: Final = "runs.jsonl"
JUDGED: Final = "judged"
"""Folder of the ledgers as they were found after the last run."""
_LOOK_SECONDS: Final = 0.1
_AGAIN: Final = 1.0
"""How long the operator takes to notice that the command is gone."""


class Campaign(Settings):
    """What is tried."""

    runs: int = Field(default=50, ge=1)
    """Trainings."""
    seed: int = Field(default=1, ge=0)
    """Of faults and their times."""
    shops: int = Field(default=4, ge=1)
    """Of the federation; secure sums take four."""
    users: int = Field(default=100, ge=2)
    """Shoppers of each."""
    items: int = Field(default=60, ge=4)
    """Of the catalogue."""
    distributed_every: int = Field(default=5, ge=0)
    """Every so many runs are of mode `distributed`; 0 for none."""
    span_seconds: float = Field(default=20.0, gt=0)
    """Faults begin within this time after the training."""
    most_seconds: float = Field(default=8.0, gt=0.2)
    """The longest until one is healed."""
    limit_seconds: float = Field(default=300.0, gt=0)
    """A training that has not ended by then, after everything is healed, is silent."""
    deadline_seconds: float = Field(default=30.0, gt=0)
    """Of each round, or stage of a secure sum."""
    wait_seconds: float = Field(default=30.0, ge=0)
    """How long a training waits for its members."""
    epsilon: float = 0.5
    """ε of each training; the shops' lifetimes allow 16 at δ = 0.001."""
    delta: float = 1e-4
    """δ of each training."""

    def mode(self, run: int) -> str:
        """Of a run, from 1."""
        every = self.distributed_every
        return "distributed" if every and run % every == 0 else "local"

    def faults(self, run: int, shops: Sequence[str]) -> list[Fault]:
        """What happens in a run; the same for the same seed."""
        rng = np.random.default_rng([self.seed, run])
        return draw(rng, shops, span_seconds=self.span_seconds, most_seconds=self.most_seconds)

    def request(self, run: int) -> Request:
        """What the operator asks for."""
        return Request.load(
            {
                "solver": "subspace",
                "rounds": 1,
                "dim": 8,
                "mode": self.mode(run),
                "epsilon": self.epsilon,
                "delta": self.delta,
                "seed": run,
                "quorum": min(2, self.shops),
                "deadline_seconds": self.deadline_seconds,
                "wait_seconds": self.wait_seconds,
            }
        )


@dataclass(frozen=True)
class Result:
    """One run, as a line of `runs.jsonl`."""

    values: dict[str, Any]

    @property
    def violations(self) -> list[str]:
        """What did not hold."""
        return list(self.values["violations"])


def kept_results(out: Path) -> list[Result]:
    """The runs that are over, of this or an earlier process."""
    path = out / RUNS
    if not path.exists():
        return []
    return [Result(json.loads(line)) for line in path.read_text().splitlines()]


def carry_out(
    campaign: Campaign,
    out: Path,
    say: Callable[[str], None],
    *,
    stop_seconds: float | None = None,
) -> Iterator[Result]:
    """Run what is left of a campaign; each result is on the disk before it is given.

    Args:
        campaign: what is tried.
        out: its folder; one that was begun is continued.
        say: is told what happens.
        stop_seconds: no run is begun after so long; None for no limit.
    """
    begun, started = len(kept_results(out)), time.monotonic()
    folder = out / "federation"
    if not folder.exists():
        say("laying out a federation")
        lay_out(folder, _demo(campaign))
    with Federation(folder, Pace(poll_seconds=0.5, restart_seconds=1.0)) as federation:
        federation.start()
        judge = Judge(federation.places, federation.shops, out / JUDGED)
        for run in range(begun + 1, campaign.runs + 1):
            if stop_seconds is not None and time.monotonic() - started > stop_seconds:
                say("the time is over; the same command continues")
                return
            result = _Trial(campaign, federation, run, say).carry_out(judge)
            with (out / RUNS).open("a") as file:
                file.write(json.dumps(result.values, ensure_ascii=False) + "\n")
            yield result


def _demo(campaign: Campaign) -> Demo:
    return Demo(
        shops=campaign.shops,
        users=campaign.users,
        items=campaign.items,
        seed=campaign.seed,
        epsilon=16.0,
        delta=1e-3,
    )


@dataclass
class _Trial:
    """One training and what happens to it."""

    campaign: Campaign
    federation: Federation
    run: int
    say: Callable[[str], None]

    @property
    def name(self) -> str:
        return f"run-{self.run:03d}"

    def carry_out(self, judge: Judge) -> Result:
        self.federation.wait_server()
        faults = self.campaign.faults(self.run, self.federation.shops)
        training = self._training()
        hands = Hands.of(self.federation, self.name, faults)
        self.say(f"{self.name} {self.campaign.mode(self.run)}: {', '.join(f.said for f in faults)}")
        began = time.monotonic()
        ended = self._trained(hands, began)
        resumed = ended.code in TAKES_A_PERSON and not list(ended.faults())
        if resumed:
            ended = self._resumed()
        if ended.status == 0 and judge.undelivered(self.name):
            self._delivered()
        seconds = time.monotonic() - began
        found = judge.faults(ended, hands.disturbed)
        return Result(
            {
                "run": self.run,
                "mode": self.campaign.mode(self.run),
                "ended": ended.code,
                "resumed": resumed,
                "seconds": round(seconds, 1),
                "judged_seconds": round(time.monotonic() - began - seconds, 1),
                "flower_runs": len(training.run_ids),
                "faults": [
                    {**one.fault.model_dump(), "state": one.state, "happened_at": one.at_seconds}
                    for one in hands.done
                ],
                "violations": found,
            }
        )

    def _training(self) -> Training:
        """Its folder; there is one if an earlier process was stopped in this run."""
        home = self.federation.places.server
        if (home / RUNS_FOLDER / self.name / REQUEST_FILE).exists():
            return Training.existing(home, self.name)
        training = Training.create(home, self.campaign.request(self.run), self.name)
        (training.path / RECORD_MARK).touch()
        return training

    def _trained(self, hands: Hands, began: float) -> Ended:
        """Start the operator's command, and again when something happened to it."""
        said_before = len(self._said)
        self._start()
        healed_at: float | None = None
        while True:
            elapsed = time.monotonic() - began
            hands.look(elapsed)
            if healed_at is None and all(one.state == "over" for one in hands.done):
                healed_at = elapsed
            since = elapsed - (healed_at or self.campaign.span_seconds)
            if not self.federation.processes.is_up(self.name):
                status = self.federation.processes.statuses(self.name)[-1]
                if status < 128:
                    break
                said_before = len(self._said)
                time.sleep(_AGAIN)
                self._start()
            elif since > self.campaign.limit_seconds:
                status = None
                break
            time.sleep(_LOOK_SECONDS)
        hands.finish()
        said = self._said[said_before:]
        if status is None:
            self.federation.processes.stop(self.name)
        return Ended(self.name, status, said, healed=False)

    def _resumed(self) -> Ended:
        """What a person does who reads why it ended: all is well by then, and it goes on."""
        self.federation.wait_server()
        self.federation.wait_online(self.federation.shops)
        said_before = len(self._said)
        self._start()
        try:
            status = self.federation.processes.wait(self.name, self.campaign.limit_seconds)
        except TimeoutError:
            status = None
            self.federation.processes.stop(self.name)
        return Ended(self.name, status, self._said[said_before:])

    def _delivered(self) -> None:
        """What a person does who reads that shops were away: they are there by now."""
        self.federation.wait_server()
        self.federation.wait_online(self.federation.shops)
        name, processes = f"deliver-{self.name}", self.federation.processes
        processes.start(self._unit(name, "deliver"))
        with suppress(TimeoutError):  # who does not have it then is a violation
            processes.wait(name, self.campaign.limit_seconds)
        processes.stop(name)

    @property
    def _said(self) -> str:
        return self.federation.processes.log(self.name)

    def _start(self) -> None:
        self.federation.processes.start(self._unit(self.name, "train", "--resume", self.name))

    def _unit(self, name: str, verb: str, *words: str) -> Unit:
        home, inside = str(self.federation.places.server), self.federation.layout.inside
        command = ("server", verb, home, *words, "--inside", inside)
        return self.federation.operator_unit(name, *command)

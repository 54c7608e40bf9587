"""One-run audit: the real training path once, with canaries in it by the toss of a coin.

One simulated client with a shadow shop and the canaries whose coins said so is trained by
the real apps: scenario, prepared folder, ClientApp, guard, policy, ledger, release gate. The
auditor sees what the server sees, scores every canary, names the surest ones `in` or `out`,
and is right more often than a promise allows, or not (Steinke, Nasr, Jagielski 2023).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from flwr.app import Context, RecordDict
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats
from common.privacy.accounting import epsilon as epsilon_of_events
from common.privacy.events import Event, event_of
from common.protocol import OK, STEP, Reply, Task
from common.schedule import schedule_of
from server.app import make_app, read_job
from server.record import SilentObserver
from simulations.attacks.bounds import epsilon_of_mu, one_run_ceiling
from simulations.attacks.canaries import Canaries
from simulations.attacks.canary_scores import canary_scores
from simulations.attacks.guesses import FEWEST_CANARIES, Guesses, guess, guesses_each_way
from simulations.attacks.recording import RecordingGrid
from simulations.attacks.shadow import ShadowSettings, promised_mu
from simulations.engine.folders import client_folders
from simulations.prepare import prepare
from simulations.run_folder import RunFolder

__all__ = ["OneRunResult", "OneRunSettings", "audit_one_run", "scored_run"]

_SERVER_NODE: Final = 1


class OneRunSettings(ShadowSettings):
    """One audit."""

    canaries: int = Field(default=1_000, ge=FEWEST_CANARIES, le=100_000)
    """Canary users; each is in by a fair coin."""


@dataclass(frozen=True)
class OneRunResult:
    """What was found beside what was promised.

    Attributes:
        settings: what was audited.
        epsilon: promised at `delta` by the accountant that reports, None in mode `none`.
        delta: δ of promise and bounds, 0 in mode `none`.
        mu: promised under Gaussian DP; None in mode `none` or where users are sampled.
        included: canaries that were in.
        trials: the guesses, one entry for each number of them.
        ceiling: the ε that perfect guesses about all canaries would show.
    """

    settings: OneRunSettings
    epsilon: float | None
    delta: float
    mu: float | None
    included: int
    trials: tuple[Guesses, ...]
    ceiling: float

    @property
    def best(self) -> Guesses:
        """The guesses that show most."""
        return max(self.trials, key=lambda trial: trial.epsilon)

    @property
    def bound(self) -> float:
        """Lower bound on ε at `delta`, with the settings' confidence, whatever the mechanism."""
        return self.best.epsilon

    @property
    def mu_bound(self) -> float | None:
        """Lower bound on μ, None where no μ is promised."""
        return None if self.mu is None else max(trial.mu for trial in self.trials)

    @property
    def broken(self) -> bool:
        """Whether a bound contradicts the promise; never where there is none."""
        beyond_mu = self.mu is not None and self.mu_bound is not None and self.mu_bound > self.mu
        return self.epsilon is not None and (self.bound > self.epsilon or beyond_mu)

    def to_json(self) -> dict[str, Any]:
        """All figures, for a page or a machine."""
        mu = self.mu_bound
        return {
            "attack": "one-run",
            "settings": self.settings.model_dump(mode="json"),
            "promised_epsilon": self.epsilon,
            "promised_mu": self.mu,
            "delta": self.delta,
            "confidence": self.settings.confidence,
            "canaries": self.settings.canaries,
            "included": self.included,
            "guesses": self.best.made,
            "correct": self.best.correct,
            "epsilon_bound": self.bound,
            "mu_bound": mu,
            "gaussian_epsilon_bound": None if mu is None else epsilon_of_mu(mu, self.delta),
            "ceiling": self.ceiling,
            "trials": [
                {
                    "guesses": trial.made,
                    "correct": trial.correct,
                    "confidence": trial.confidence,
                    "epsilon_bound": trial.epsilon,
                    "ceiling": trial.ceiling,
                }
                for trial in self.trials
            ],
            "broken": self.broken,
        }


def audit_one_run(
    settings: OneRunSettings, tell: Callable[[str], None] = lambda _: None
) -> OneRunResult:
    """Train once with canaries and count how many are found out.

    Args:
        settings: solver, promise, canaries.
        tell: is told what is being done.

    Raises:
        HushRecError: no such solver, no plan, or the run failed.
    """
    delta = 0.0 if settings.epsilon is None else settings.delta
    each_way = guesses_each_way(settings.canaries, settings.epsilon, delta, settings.confidence)
    scores, included, events = scored_run(settings, tell)
    return OneRunResult(
        settings=settings,
        epsilon=None if settings.epsilon is None else epsilon_of_events(events, delta),
        delta=delta,
        mu=promised_mu(events),
        included=int(included.sum()),
        trials=guess(scores, included, each_way, delta, settings.confidence),
        ceiling=one_run_ceiling(settings.canaries, settings.confidence, delta),
    )


def scored_run(
    settings: OneRunSettings, tell: Callable[[str], None] = lambda _: None
) -> tuple[Floats, NDArray[np.bool_], list[Event]]:
    """Lay out a shadow shop, plant the canaries, train by the real apps, score what was seen.

    Returns:
        Scores and coins, `[canaries]` each, and the events that the plan promised.
    """
    tell("laying out the shadow shop")
    canaries, dataset = Canaries.beside(settings.dataset(), settings.canaries)
    included = canaries.coins(np.random.default_rng([settings.seed, 11]))
    job = settings.job(dataset)
    with tempfile.TemporaryDirectory(prefix="hushrec-") as scratch:
        folder = RunFolder.create(Path(scratch) / "run", force=False)
        prepare(folder, settings.scenario, dataset, job)
        for client in client_folders(folder.path):
            canaries.plant(client, included)
        tell(f"training with {included.sum()} of {settings.canaries} canaries")
        exchanged = list(_train(folder.path))
        schedule = schedule_of(read_job(folder.path))
    tell("scoring the canaries")
    scores = canary_scores(schedule, exchanged, canaries)
    return scores, included, [event_of(release) for release in schedule.plan.releases]


def _train(run: Path) -> Iterator[tuple[Task, Reply]]:
    """Run the job by the real apps; what was asked and answered, in order."""
    grid = RecordingGrid(run)
    context = Context(grid.run.run_id, _SERVER_NODE, {}, RecordDict(), {})
    make_app(run, SilentObserver())(grid, context)
    for message, answer in grid.exchanged:
        if message.metadata.message_type == STEP:
            reply = Reply.from_records(answer.content)
            if reply.code == OK:
                yield Task.from_records(message.content), reply

"""Reconstruction of a user's items from one release, by the strongest attacker for a step.

The attacker knows the step's inputs, every other user's data, how contributions are made and
the length of the history; they see one release of one client on the wire, take everybody
else out, and rank the catalogue by what remains: alone, or joined to the popularity of items
among the others, as a rehearsal on other users says is best. Each release is made anew by
the real apps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import Field
from scipy.special import gammaln, ndtr, ndtri

from common.arrays import Floats, Histories, Ints
from common.config import Settings
from common.errors import Code, DataError
from common.solvers.registry import GRADIENT_SOLVERS
from simulations.attacks.reconstruction_rank import (
    average_precision,
    chance_average_precision,
    log_ratios,
    lone_rows,
    popularity_prior,
    precision,
    rehearsed,
    search,
)
from simulations.attacks.reconstruction_release import Known, observe
from simulations.dataset import load_dataset
from simulations.marketplace import MarketplaceSettings
from simulations.scenario import Scenario

__all__ = [
    "CHANCE",
    "POPULARITY",
    "RELEASE",
    "RELEASE_AND_POPULARITY",
    "ReconstructionResult",
    "ReconstructionSettings",
    "Success",
    "reconstruct_items",
]

RELEASE: Final = "release"
RELEASE_AND_POPULARITY: Final = "release and popularity"
POPULARITY: Final = "popularity of the others"
CHANCE: Final = "chance"
_BATCH: Final = 25
_REHEARSED: Final = 50
_SILENT: Final[Callable[[str], None]] = lambda _: None  # noqa: E731


class ReconstructionSettings(Settings):
    """One attack."""

    data: str | None = None
    """Path of the events; absent: a marketplace."""
    users: int = Field(default=1_000, ge=2, le=100_000)
    """Users of the marketplace. Not used with `data`."""
    items: int = Field(default=500, ge=20, le=100_000)
    """Items of the marketplace. Not used with `data`."""
    clients: int = Field(default=1, ge=1)
    """Clients that the users are dealt to; the first is looked at."""
    solver: str = "subspace"
    """What trains; gradient solvers take one local step: a release of several is no one sum."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the solver."""
    step: int | None = Field(default=None, ge=0)
    """Which step; absent: the first after the popularity sum, if there is one."""
    epsilon: float | None = None
    """Target ε of each client for the whole job; None trains in mode `none`."""
    delta: float | None = None
    """δ; absent: declared population to the power of -1.1."""
    targets: int = Field(default=100, ge=1, le=100_000)
    """Users who are attacked in each release."""
    releases: int = Field(default=8, ge=2, le=10_000)
    """How often the run is made anew, with its noise: users of one release share it."""
    seed: int = Field(default=0, ge=0)
    """Decides data and targets; noise comes from the operating system."""

    @property
    def scenario(self) -> Scenario:
        """How the release is made."""
        private: dict[str, Any] = {"mode": "none", "no_privacy": True}
        if self.epsilon is not None:
            private = {"epsilon": self.epsilon, "delta": self.delta}
        market = MarketplaceSettings(users=self.users, items=self.items, shops=1, seed=self.seed)
        single = {"local_steps": 1} if self.solver in GRADIENT_SOLVERS else {}
        values = {
            "data": self.data,
            "marketplace": None if self.data is not None else market,
            "clients": self.clients,
            "partition": "hash",
            "solver": self.solver,
            "settings": {**single, **self.settings},
            "seed": self.seed,
            **private,
        }
        return Scenario.load(values, where="reconstruction")

    @property
    def step_index(self) -> int:
        """Which step it is."""
        if self.step is not None:
            return self.step
        return 0 if self.solver in ("popularity", "ials") else 1


@dataclass(frozen=True)
class Success:
    """How well a ranking found users' items, by release.

    Attributes:
        precision: share of the |history| best items that are the user's, mean over targets.
        average_precision: mean over targets.
    """

    precision: tuple[float, ...]
    average_precision: tuple[float, ...]

    def to_json(self) -> dict[str, float]:
        """Means over releases with their standard errors."""
        found = {}
        for name in ("precision", "average_precision"):
            values = np.array(getattr(self, name))
            found[name] = float(values.mean())
            found[f"{name}_error"] = float(values.std(ddof=1) / math.sqrt(len(values)))
        return found


@dataclass(frozen=True)
class ReconstructionResult:
    """What the attack found. Exact figures of a simulation, not a private release.

    Attributes:
        settings: what was attacked.
        data: name of the data.
        step: name of the step.
        users: at the client.
        items: in the catalogue.
        history: mean length of the targets' histories.
        success: by way of ranking.
        delta: δ of the job, 0 in mode `none`.
        mu: of the one release, 1 over its noise multiplier; None in mode `none`.
        bits_needed: log2 of the number of histories of that length, mean over targets.
    """

    settings: ReconstructionSettings
    data: str
    step: str
    users: int
    items: int
    history: float
    success: dict[str, Success]
    delta: float
    mu: float | None
    bits_needed: float

    @property
    def bits_released(self) -> float | None:
        """Most bits that the release holds about a user, everybody else known: μ²/2 nats.

        A Gaussian channel with an input of norm at most 1 (Cover, Thomas 2006, section 9.4).
        """
        return None if self.mu is None else self.mu**2 / 2 / math.log(2)

    @property
    def allowed_precision(self) -> float | None:
        """The largest mean precision that the release's promise allows.

        Without the user's data a guess is as good as the popularity of the others makes it
        (or a better guess from them, if there is one). With the data a mean of values from
        0 to 1 goes from p to Φ(Φ⁻¹(p) + μ) at most, as a test would (Dong, Roth, Su 2022).
        """
        if self.mu is None:
            return None
        known = max(np.mean(self.success[name].precision) for name in (POPULARITY, CHANCE))
        return float(ndtr(ndtri(known) + self.mu))

    def to_json(self) -> dict[str, Any]:
        """Everything that the figures in a page come from."""
        return {
            "attack": "reconstruction",
            "settings": self.settings.model_dump(mode="json"),
            "data": self.data,
            "step": self.step,
            "users": self.users,
            "items": self.items,
            "history": self.history,
            "success": {name: found.to_json() for name, found in self.success.items()},
            "delta": self.delta,
            "mu": self.mu,
            "bits_released": self.bits_released,
            "bits_needed": self.bits_needed,
            "allowed_precision": self.allowed_precision,
        }


def reconstruct_items(
    settings: ReconstructionSettings, tell: Callable[[str], None] = _SILENT
) -> ReconstructionResult:
    """Make the releases and attack some users in each of them.

    Raises:
        HushRecError: data, settings or plan are not in order, or the step cannot be attacked.
    """
    scenario = settings.scenario.checked()
    dataset = load_dataset(scenario)
    rng = np.random.default_rng([settings.seed, 11])
    found: list[dict[str, tuple[float, float]]] = []
    attacked: list[Ints] = []
    for number in range(settings.releases):
        tell(f"release {number + 1}/{settings.releases}")
        known = observe(scenario, dataset, settings.step_index)
        users, others = _chosen(known.histories, settings.targets, rng)
        found.append(_attack(known, users, others, rng))
        attacked.append(known.histories.lengths[users])
    release, lengths = known.release, np.concatenate(attacked)
    return ReconstructionResult(
        settings=settings,
        data=dataset.name,
        step=release.step,
        users=known.histories.n_users,
        items=known.histories.n_items,
        history=float(lengths.mean()),
        success={name: _success(name, found) for name in found[0]},
        delta=known.schedule.job.delta,
        mu=None if release.noise_multiplier == 0 else 1.0 / release.noise_multiplier,
        bits_needed=float(np.mean(_bits(known.histories.n_items, lengths))),
    )


def _chosen(histories: Histories, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Some users with events, not with everything, and others to rehearse on; increasing."""
    lengths = histories.lengths
    able = np.flatnonzero((lengths > 0) & (lengths < histories.n_items))
    if len(able) < 2:
        raise DataError(Code.DATA_EMPTY, "no two users with events.", where="reconstruction")
    mixed = rng.permutation(able).astype(np.int64)
    targets = min(count, len(able) - 1)
    return np.sort(mixed[:targets]), np.sort(mixed[targets : targets + _REHEARSED])


def _attack(
    known: Known, users: Ints, others: Ints, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Mean precision and average precision over `users`, by way of ranking."""
    lone = lone_rows(known.imagine, known.release.rows, known.release.width)
    way = _rehearse(known, lone, others, rng) if known.noise_std > 0 else None
    parts = [
        _attack_some(known, lone, users[start : start + _BATCH], way)
        for start in range(0, len(users), _BATCH)
    ]
    means = {
        name: np.concatenate([part[name] for part in parts], axis=1).mean(axis=1)
        for name in parts[0]
    }
    return {name: (float(mean[0]), float(mean[1])) for name, mean in means.items()}


def _rehearse(
    known: Known, lone: Floats, others: Ints, rng: np.random.Generator
) -> tuple[int, float]:
    """How to join release and popularity, tried on `others` with noise of the attacker's own."""
    truth = known.histories.take(others)
    remains = known.imagine(truth)
    remains += known.noise_std * rng.standard_normal(remains.shape)
    prior = popularity_prior(known.histories, others)
    ratios = log_ratios(remains, truth.lengths, known.imagine, lone, known.noise_std, prior)
    return rehearsed(ratios, prior, truth)


def _attack_some(
    known: Known, lone: Floats, users: Ints, way: tuple[int, float] | None
) -> dict[str, Floats]:
    """Precision and average precision of each of `users`, `[2, users]`."""
    truth = known.histories.take(users)
    remains, prior = known.remaining(users), popularity_prior(known.histories, users)
    alone, _ = search(remains, truth.lengths, known.imagine, lone)
    both = alone
    if way is not None:
        ratios = log_ratios(remains, truth.lengths, known.imagine, lone, known.noise_std, prior)
        both = prior + way[1] * ratios[way[0]]
    rank = {RELEASE: alone, RELEASE_AND_POPULARITY: both, POPULARITY: prior}
    found = {
        name: np.stack([precision(scores, truth), average_precision(scores, truth)])
        for name, scores in rank.items()
    }
    by_chance = [chance_average_precision(int(n), truth.n_items) for n in truth.lengths]
    found[CHANCE] = np.stack([truth.lengths / truth.n_items, np.array(by_chance)])
    return found


def _success(name: str, found: list[dict[str, tuple[float, float]]]) -> Success:
    both = [one[name] for one in found]
    return Success(tuple(pair[0] for pair in both), tuple(pair[1] for pair in both))


def _bits(items: int, lengths: Ints) -> Floats:
    """log2 of the number of sets of each length."""
    ways = gammaln(items + 1) - gammaln(lengths + 1) - gammaln(items - lengths + 1)
    return np.asarray(ways / math.log(2), dtype=np.float64)

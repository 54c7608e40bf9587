"""Plans that nobody has asked for yet: from ε to noise, and from noise to ε.

The noise multiplier of a plan is that of its main release, the one with the largest share of
the budget (the last of equals); the others keep the proportions that the planner gives them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import Field

from common.config import Settings
from common.errors import Code, ConfigError, PlanError
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.accounting import epsilon as pld_epsilon
from common.privacy.events import Event, event_of, snapped
from common.privacy.filters import Cap, Filter, best_order, make_filter, total_cost
from common.privacy.guarantees import shops_epsilon
from common.privacy.plan import Mode, PrivacyPlan, Release
from common.privacy.roster import Terms
from common.privacy.words import shorter
from common.schedule import facts_of, schedule_of
from common.solvers.registry import make_solver

__all__ = ["Asked", "WhatIf", "main_release", "total_noise", "what_if"]

_NOBODY: Final = "0" * 32
_NO_ROSTER: Final = "0" * 64
_SETTLED: Final = 1e-4
_MOST_TRIES: Final = 12
_FIRST_GUESS: Final = 8.0


class Asked(Settings):
    """What a job would be, in public facts."""

    solver: str = "subspace"
    """Name of the solver."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the solver."""
    items: int = Field(gt=0, le=50_000_000)
    """Items of the catalogue."""
    population: int = Field(gt=0)
    """Declared users over all clients."""
    clients: int = Field(default=1, gt=0, le=1_000_000)
    """Clients of the federation, taken to be equal."""
    mode: Mode = "local"
    """Who adds the noise."""
    threshold: int | None = Field(default=None, gt=0, le=1_000_000)
    """t: fewest clients of which a secure sum is made; None takes four fifths."""
    colluders: int | None = Field(default=None, gt=0, le=1_000_000)
    """c: clients that may collude with the server; None takes a tenth, at least one."""
    shops: int = Field(default=1, gt=0, le=10_000)
    """m: clients that one person may be a user of."""
    epsilon: float | None = None
    """Target ε; None if `noise_multiplier` is given."""
    noise_multiplier: float | None = Field(default=None, gt=0)
    """σ over clip norm of the main release; None if `epsilon` is given."""
    delta: float = Field(gt=0, lt=1)
    """δ."""
    evaluation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget for one private evaluation."""
    renyi_order: int | None = Field(default=None, ge=2, le=1024)
    """Order of the filter that the plan is aimed at; None takes the best one where users are
    sampled, and the filter of Gaussian DP where they are not."""

    @property
    def terms(self) -> Terms | None:
        """Terms of secure sums, held to what is safe; None in mode `local`.

        Raises:
            ConfigError: `plan-mode`, threshold or colluders without secure sums.
            PolicyError: `policy-threshold`.
        """
        if self.mode == "distributed":
            terms = Terms.usual(self.clients, self.threshold, self.colluders)
            terms.check()
            return terms
        if self.mode == "none" or self.threshold is not None or self.colluders is not None:
            raise ConfigError(
                Code.PLAN_MODE,
                f"mode {self.mode!r} has no plan with a threshold or colluders."
                if self.mode == "local"
                else "in mode `none` there is no plan.",
                where="--mode, --threshold, --colluders",
                remedy="Choose mode `distributed`, or `local` without them.",
            )
        return None

    def job(self, epsilon: float) -> Job:
        """The job with that target ε; nobody sends it."""
        terms = self.terms
        bare = Job(
            job_id=_NOBODY,
            catalogue_version="what-if",
            n_items=self.items,
            clients=self.clients,
            population=self.population,
            signal=self.population / total_noise(self.clients, terms),
            mode=self.mode,
            roster=None if terms is None else _NO_ROSTER,
            threshold=None if terms is None else terms.threshold,
            colluders=None if terms is None else terms.colluders,
            epsilon=epsilon,
            delta=self.delta,
            solver=self.solver,
            settings=self.settings,
            evaluation_share=self.evaluation_share,
        )
        order, steps = (
            self.renyi_order,
            make_solver(bare.solver, bare.settings, facts_of(bare)).steps,
        )
        if order is None and any(step.release.sampling_rate < 1 for step in steps):
            order = best_order(Cap(epsilon=epsilon, delta=self.delta))
        return bare.model_copy(update={"renyi_order": order})


@dataclass(frozen=True)
class WhatIf:
    """A plan and what it would cost.

    Attributes:
        job: the job that it is of.
        plan: every release with its noise.
        pld: ε by PLD.
        filter: what a client would hold it by.
        by_filter: ε by that filter.
        shops: m, clients that one person may be a user of.
    """

    job: Job
    plan: PrivacyPlan
    pld: float
    filter: Filter
    by_filter: float
    shops: int = 1

    @property
    def for_shops(self) -> tuple[float, str]:
        """ε for a user of m clients, and by which accountant."""
        return shops_epsilon(self.events, self.shops, self.plan.delta)

    @property
    def epsilon(self) -> float:
        """The larger of both: what a client's cap must be at least."""
        return max(self.pld, self.by_filter)

    @property
    def events(self) -> list[Event]:
        """What its releases would be charged as."""
        return [event_of(release) for release in self.plan.releases]

    @property
    def noise_multiplier(self) -> float:
        """Of the main release."""
        return main_release(self.plan.releases).noise_multiplier

    def to_json(self) -> dict[str, Any]:
        """What `hushrec plan` says, as JSON."""
        terms = self.job.terms
        several, how = self.for_shops
        return {
            "solver": self.job.solver,
            "settings": self.job.settings,
            "items": self.job.n_items,
            "population": self.job.population,
            "clients": self.job.clients,
            "unit": self.plan.unit,
            "neighbouring": NEIGHBOURING,
            "mode": self.plan.mode,
            "delta": self.plan.delta,
            "noise_multiplier": self.noise_multiplier,
            "epsilon": self.epsilon,
            "epsilon_by_accountant": {ACCOUNTANT: self.pld, self.filter.name: self.by_filter},
            "against": None if terms is None else _against(terms),
            "shops": self.shops,
            "epsilon_of_shops": several if math.isfinite(several) else None,
            "epsilon_of_shops_by": how,
            "noise_in_total": total_noise(self.job.clients, terms),
            "noise_in_total_local": total_noise(self.job.clients, None),
            "rounds": len(self.plan.releases),
            "releases": [release.model_dump(mode="json") for release in self.plan.releases],
        }


def total_noise(clients: int, terms: Terms | None) -> float:
    """Noise in a total of `clients` equal clients, in units of what one party would add.

    One party with all the data, that is: √n where each client adds all of its noise, and
    √(n/h) where they share it.
    """
    return math.sqrt(clients if terms is None else clients / terms.honest)


def main_release(releases: Sequence[Release]) -> Release:
    """The release with the largest share of the budget, the last of equals."""
    return max(enumerate(releases), key=lambda pair: (pair[1].share, pair[0]))[1]


def what_if(asked: Asked) -> WhatIf:
    """The plan for an ε, or the ε of a noise multiplier.

    Raises:
        ConfigError: both or neither of ε and noise multiplier, or settings that are wrong.
        PlanError: no plan meets them.
    """
    if (asked.epsilon is None) == (asked.noise_multiplier is None):
        raise ConfigError(
            Code.CONFIG_INVALID,
            "a plan is made for an ε or for a noise multiplier.",
            where="--epsilon, --noise-multiplier",
            remedy="Give one of the two.",
        )
    if asked.epsilon is not None:
        job = asked.job(asked.epsilon)
        found = _priced(job, schedule_of(job).plan.releases)
    else:
        found = _for_noise(asked, float(asked.noise_multiplier or 0.0))
    return replace(found, shops=asked.shops)


def _for_noise(asked: Asked, multiplier: float) -> WhatIf:
    """The plan whose ε is that of its own noise: shapes may depend on ε, so again until it is."""
    epsilon = _FIRST_GUESS
    for _ in range(_MOST_TRIES):
        job = asked.job(epsilon)
        found = _priced(job, _scaled(schedule_of(job).plan.releases, multiplier))
        if not math.isfinite(found.epsilon) or found.epsilon == 0:
            raise PlanError(
                Code.PLAN_UNREACHABLE,
                f"no ε holds at δ = {asked.delta:g} for a noise multiplier of {multiplier:g}.",
                where="--noise-multiplier",
                remedy="Choose another one, about 1.",
            )
        if abs(found.epsilon - epsilon) <= _SETTLED * epsilon:
            break
        epsilon = found.epsilon
    return found


def _priced(job: Job, releases: Sequence[Release]) -> WhatIf:
    events = [event_of(release) for release in releases]
    chosen = make_filter(Cap(epsilon=job.epsilon or _FIRST_GUESS, delta=job.delta), job.renyi_order)
    pld, by_filter = pld_epsilon(events, job.delta), chosen.epsilon(total_cost(chosen, events))
    plan = PrivacyPlan(
        unit=job.unit,
        mode=job.mode,
        delta=job.delta,
        epsilon=job.epsilon,
        releases=tuple(releases),
    )
    return WhatIf(job, plan, pld, chosen, by_filter)


def _scaled(releases: Sequence[Release], multiplier: float) -> list[Release]:
    """The same shares, with `multiplier` at the main release: 1/σ² ∝ share / (steps · rate²)."""
    main = main_release(releases)
    precision = _relative(main) * multiplier**2
    scaled = []
    for one in releases:
        wanted = math.sqrt(precision / _relative(one))
        if one.shares is None:
            changes: dict[str, Any] = {"noise_multiplier": snapped(one, wanted)}
        else:  # long words have room for any noise that makes sense
            shares = one.shares.model_copy(update={"word_bits": 64})
            changes = {"noise_multiplier": shorter(wanted), "shares": shares}
        scaled.append(one.model_copy(update=changes))
    return scaled


def _against(terms: Terms) -> dict[str, int]:
    """Terms, and how many colluders they bear before masks fall."""
    return {**vars(terms), "most_before_masks_fall": terms.most_before_masks_fall}


def _relative(release: Release) -> float:
    return release.share / (release.steps * release.sampling_rate**2)

"""Membership inference on the published model: was this user in the training data or not.

The attacker knows the histories of everybody who may be in, how the model was trained, and
the finished model; not what clients released on the way. They train shadow models on
coin flips of their own. Each model is the target once, with all others as its shadows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.arrays import Floats
from common.config import Settings
from common.errors import Code, DataError
from common.privacy.events import NoisySumEvent, event_of
from common.privacy.plan import PrivacyPlan
from common.schedule import schedule_of
from simulations.attacks.membership_models import Pool
from simulations.attacks.membership_scores import (
    SIMPLE,
    STATISTICS,
    likelihood_ratios,
    user_statistics,
)
from simulations.attacks.roc import Point, Promise, Roc, largest_visible_epsilon, roc_curve
from simulations.marketplace import MarketplaceSettings
from simulations.scenario import Scenario

__all__ = [
    "LIKELIHOOD_RATIO",
    "LIMITS",
    "THRESHOLD",
    "MembershipResult",
    "MembershipSettings",
    "infer_membership",
    "promise_of",
]

LIMITS: Final = (0.01, 0.001)
"""False-positive rates at which the true-positive rate is told."""
LIKELIHOOD_RATIO: Final = "likelihood ratio"
THRESHOLD: Final = "one threshold"
_SILENT: Final[Callable[[str], None]] = lambda _: None  # noqa: E731
_FEWEST_USERS: Final = 20


class MembershipSettings(Settings):
    """One attack."""

    data: str | None = None
    """Path of the events; absent: a marketplace."""
    users: int = Field(default=1_000, ge=_FEWEST_USERS, le=100_000)
    """Users of the marketplace; about half of them are in each model. Not used with `data`."""
    items: int = Field(default=500, ge=20, le=100_000)
    """Items of the marketplace. Not used with `data`."""
    clients: int = Field(default=1, ge=1)
    """Clients that the users are dealt to."""
    solver: str = "subspace"
    """What trains."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the solver."""
    epsilon: float | None = None
    """Target ε of each client; None trains in mode `none`."""
    delta: float | None = None
    """δ; absent: declared population to the power of -1.1."""
    shadows: int = Field(default=63, ge=7, le=10_000)
    """Shadow models of each target; one more is trained."""
    seed: int = Field(default=0, ge=0)
    """Decides data, partition and coins; noise comes from the operating system."""

    @property
    def scenario(self) -> Scenario:
        """How each model is trained."""
        private: dict[str, Any] = {"mode": "none", "no_privacy": True}
        if self.epsilon is not None:
            private = {"epsilon": self.epsilon, "delta": self.delta}
        market = MarketplaceSettings(users=self.users, items=self.items, shops=1, seed=self.seed)
        values = {
            "data": self.data,
            "marketplace": None if self.data is not None else market,
            "clients": self.clients,
            "partition": "hash",
            "solver": self.solver,
            "settings": self.settings,
            "seed": self.seed,
            **private,
        }
        return Scenario.load(values, where="membership")


@dataclass(frozen=True)
class MembershipResult:
    """What the attack found. Exact figures of a simulation, not a private release.

    Attributes:
        settings: what was attacked.
        data: name of the data.
        users: in the pool.
        models: trained; each was the target once.
        dim: length of the vectors of the first model.
        curves: ROC by attack, over all pairs of user and target.
        auc_by_target: area for each target, by attack, `[models]`.
        promise: what the guarantee allows at best, None in mode `none`.
        delta: δ of the promise, 0 in mode `none`.
    """

    settings: MembershipSettings
    data: str
    users: int
    models: int
    dim: int
    curves: dict[str, Roc]
    auc_by_target: dict[str, tuple[float, ...]]
    promise: Promise | None
    delta: float

    def points(self, attack: str) -> tuple[Point, ...]:
        """TPR at the low FPRs for which there are enough non-members."""
        found = (self.curves[attack].at(limit) for limit in LIMITS)
        return tuple(point for point in found if point is not None)

    def spread(self, attack: str) -> float:
        """Standard deviation of the area over targets."""
        return float(np.std(self.auc_by_target[attack], ddof=1))

    @property
    def visible_epsilon(self) -> float:
        """The ε that a perfect attack on as many pairs would show."""
        roc = self.curves[LIKELIHOOD_RATIO]
        return largest_visible_epsilon(roc.members, roc.non_members, self.delta)

    def allowed(self, point: Point) -> float | None:
        """The largest TPR that the promise allows at the FPR that a point may have at most."""
        if self.promise is None:
            return None
        return float(self.promise.tpr(np.array([point.fpr.interval[1]]))[0])

    def to_json(self) -> dict[str, Any]:
        """Everything that the figures in a page come from."""
        curves = {
            name: {
                **roc.to_json(),
                "auc_spread": self.spread(name),
                "points": [{**p.to_json(), "allowed": self.allowed(p)} for p in self.points(name)],
            }
            for name, roc in self.curves.items()
        }
        return {
            "attack": "membership",
            "settings": self.settings.model_dump(mode="json"),
            "data": self.data,
            "users": self.users,
            "models": self.models,
            "dim": self.dim,
            "curves": curves,
            "promise": None if self.promise is None else self.promise.to_json(),
            "visible_epsilon": self.visible_epsilon,
        }


def infer_membership(
    settings: MembershipSettings, tell: Callable[[str], None] = _SILENT
) -> MembershipResult:
    """Train the models and attack each of them.

    Raises:
        HushRecError: data, settings or plan are not in order.
    """
    pool = Pool.of(settings.scenario)
    histories = pool.histories
    if histories.n_users < _FEWEST_USERS:
        raise DataError(
            Code.DATA_EMPTY,
            f"{histories.n_users} users are too few to tell members from others.",
            where=pool.dataset.name,
            remedy=f"Use data of at least {_FEWEST_USERS} users.",
        )
    coins = pool.coins(settings.shadows + 1, np.random.default_rng([settings.seed, 7]))
    rows, dim = [], 0
    for number, model in enumerate(pool.trained(coins)):
        tell(f"model {number + 1}/{len(coins)}")
        rows.append(user_statistics(model, histories))
        dim = dim or model.dim
    private = pool.job.mode != "none"
    scores = _scores(np.stack(rows), coins)
    return MembershipResult(
        settings=settings,
        data=pool.dataset.name,
        users=histories.n_users,
        models=len(coins),
        dim=dim,
        curves={name: roc_curve(found[coins], found[~coins]) for name, found in scores.items()},
        auc_by_target={name: _areas(found, coins) for name, found in scores.items()},
        promise=promise_of(schedule_of(pool.job).plan) if private else None,
        delta=pool.job.delta,
    )


def promise_of(plan: PrivacyPlan) -> Promise | None:
    """What a plan allows any test about one user; None in mode `none`."""
    if plan.epsilon is None:
        return None
    events = [event_of(release) for release in plan.releases]
    sums = [event for event in events if isinstance(event, NoisySumEvent)]
    if any(event.sampling_rate < 1 for event in sums):
        return Promise(plan.epsilon, plan.delta)
    mu = math.sqrt(math.fsum(event.steps / event.noise_multiplier**2 for event in sums))
    return Promise(plan.epsilon, plan.delta, mu)


def _scores(statistics: Floats, coins: NDArray[np.bool_]) -> dict[str, Floats]:
    """Score of every user in every target, `[models, users]`, by attack."""
    others = ~np.eye(len(coins), dtype=np.bool_)
    ratios = [
        likelihood_ratios(statistics[k], statistics[others[k]], coins[others[k]])
        for k in range(len(coins))
    ]
    return {
        LIKELIHOOD_RATIO: np.stack(ratios),
        THRESHOLD: statistics[:, :, STATISTICS.index(SIMPLE)],
    }


def _areas(scores: Floats, coins: NDArray[np.bool_]) -> tuple[float, ...]:
    return tuple(
        roc_curve(row[coin], row[~coin]).auc for row, coin in zip(scores, coins, strict=True)
    )

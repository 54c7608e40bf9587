"""The shadow shop of an audit: synthetic users, one simulated client, the real job and apps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from common.config import Settings
from common.job import Job
from common.privacy.events import Event, NoisySumEvent
from simulations.dataset import Dataset, load_dataset
from simulations.marketplace import MarketplaceSettings
from simulations.prepare import make_job
from simulations.scenario import Scenario

__all__ = ["ShadowSettings", "promised_mu"]

_PLAIN: Final = {"optimizer": "sgd", "momentum": 0.0}
_EVEN: Final = {**_PLAIN, "learning_rate": 1.0, "warm_up": 0.0, "decay": "constant"}
_KNOWN_STATES: Final[Mapping[str, Mapping[str, Any]]] = {
    "dpsgd": {**_PLAIN, "learning_rate": 1e-3},
    "sequential": _EVEN,
    "neural": _EVEN,
}
"""So slow, each in its own units, that states hardly move."""


class ShadowSettings(Settings):
    """What is audited, on whose data."""

    solver: str = "subspace"
    """What trains."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the solver."""
    known_states: bool = True
    """Where a client takes steps of its own: slow and plain descent, whatever `settings` say. The
    auditor plays the server, which may choose what no promise depends on, and so knows the states
    between two releases."""
    epsilon: float | None = 4.0
    """Target ε of the client; None trains in mode `none`."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """δ of the promise. A one-run bound loses 2 · canaries · δ, so it must be small."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of each bound."""
    users: int = Field(default=1_000, ge=10, le=1_000_000)
    """Users of the shadow shop, canaries not counted; its declared population."""
    items: int = Field(default=300, ge=10, le=100_000)
    """Items of the shadow shop, the canaries' not counted."""
    seed: int = Field(default=0, ge=0)
    """Decides the shadow data and the coins; noise comes from the operating system."""
    fixed_noise: bool = False
    """Take noise from `seed` too, for tests: such an audit tries one noise again and again."""

    @property
    def scenario(self) -> Scenario:
        """The training, without canaries.

        Raises:
            ConfigError: settings that no scenario takes.
        """
        private: dict[str, Any] = {"mode": "none", "no_privacy": True}
        if self.epsilon is not None:
            private = {"epsilon": self.epsilon, "delta": self.delta}
        known = _KNOWN_STATES.get(self.solver, {}) if self.known_states else {}
        market = MarketplaceSettings(
            users=self.users,
            items=self.items,
            categories=min(20, self.items // 2),
            shops=1,
            seed=self.seed,
        )
        values = {
            "marketplace": market,
            "solver": self.solver,
            "settings": {**self.settings, **known},
            "seed": self.seed,
            "fixed_noise": self.fixed_noise,
            **private,
        }
        return Scenario.load(values, where="audit").checked()

    def dataset(self) -> Dataset:
        """The shadow shop."""
        return load_dataset(self.scenario)

    def job(self, dataset: Dataset) -> Job:
        """The job on `dataset`, priced.

        Raises:
            HushRecError: no such solver, or no plan meets ε and δ.
        """
        return make_job(self.scenario, dataset)


def promised_mu(events: Sequence[Event]) -> float | None:
    """μ of all events under Gaussian DP; None where one has no noise, or samples users."""
    sums = [event for event in events if isinstance(event, NoisySumEvent)]
    if len(sums) < len(events) or any(event.sampling_rate < 1 for event in sums):
        return None
    return math.sqrt(math.fsum(event.steps / event.noise_multiplier**2 for event in sums))

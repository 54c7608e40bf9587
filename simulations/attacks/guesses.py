"""How many canaries to name, decided before anything is seen, and how many were right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from common.arrays import Floats
from common.errors import Code, ConfigError
from common.privacy.gdp import gaussian_mu
from simulations.attacks.bounds import one_run_epsilon, one_run_mu

__all__ = ["FEWEST_CANARIES", "Guesses", "accuracy", "guess", "guesses_each_way"]

FEWEST_CANARIES: Final = 20
_SPREADS: Final = 3.0
"""Standard deviations of the coins by which `all` stays below half of the canaries."""
_TRIED: Final = 40


@dataclass(frozen=True)
class Guesses:
    """The canaries that were named, and what that shows.

    Attributes:
        canaries: of whom they were chosen.
        each_way: `in` for so many with the highest scores, `out` for as many with the lowest.
        correct: of 2 · `each_way`.
        delta: δ of the bound.
        confidence: of each bound, after the correction for several numbers of guesses.
    """

    canaries: int
    each_way: int
    correct: int
    delta: float
    confidence: float

    @property
    def made(self) -> int:
        """Canaries named."""
        return 2 * self.each_way

    @property
    def epsilon(self) -> float:
        """Lower bound on ε at `delta`, whatever the mechanism."""
        return one_run_epsilon(self.canaries, self.made, self.correct, self.delta, self.confidence)

    @property
    def mu(self) -> float:
        """Lower bound on μ of a Gaussian-DP mechanism."""
        return one_run_mu(self.canaries, self.made, self.correct, self.confidence)

    @property
    def ceiling(self) -> float:
        """The ε that as many guesses would show if all were right."""
        return one_run_epsilon(self.canaries, self.made, self.made, self.delta, self.confidence)


def guesses_each_way(
    canaries: int, epsilon: float | None, delta: float, confidence: float
) -> tuple[int, ...]:
    """How many to name each way; from public facts, before the run.

    As many as coins surely leave, which shows most where there is no noise; and under a
    promise also as many as would show most if the promise were exactly kept.

    Args:
        canaries: how many there are.
        epsilon: promised, None without privacy.
        delta: promised.
        confidence: of the bound.

    Raises:
        ConfigError: `config-invalid`, fewer than 20 canaries.
    """
    if canaries < FEWEST_CANARIES:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{canaries} canaries show nothing.",
            where="canaries",
            remedy=f"Take at least {FEWEST_CANARIES}; 1,000 show an ε of 5.8 at most.",
        )
    every = canaries // 2 - math.ceil(_SPREADS * math.sqrt(canaries) / 2)
    if epsilon is None:
        return (every,)
    mu = gaussian_mu(epsilon, delta)
    tried = np.unique(np.geomspace(1, every, _TRIED).astype(np.int64))

    def shown(each_way: int) -> float:
        right = math.floor(2 * each_way * accuracy(each_way / canaries, mu))
        return one_run_epsilon(canaries, 2 * each_way, right, delta, confidence)

    best = max((int(number) for number in tried), key=shown)
    return tuple(sorted({best, every}))


def guess(
    scores: Floats,
    included: NDArray[np.bool_],
    each_way: tuple[int, ...],
    delta: float,
    confidence: float,
) -> tuple[Guesses, ...]:
    """Name canaries by score and count what was right, for every number in `each_way`.

    Bounds hold all at once: the confidence that is missing is shared among them.

    Args:
        scores: `[canaries]`, higher if they seem to be in.
        included: `[canaries]`, the coins.
        each_way: how many to name, fixed before the run.
        delta: of the bound.
        confidence: of all bounds together.
    """
    order = np.argsort(scores, kind="stable")
    shared = 1.0 - (1.0 - confidence) / len(each_way)
    return tuple(
        Guesses(
            canaries=len(scores),
            each_way=number,
            correct=int(included[order[-number:]].sum() + (~included[order[:number]]).sum()),
            delta=delta,
            confidence=shared,
        )
        for number in each_way
    )


def accuracy(share: float, mu: float) -> float:
    """How often the surest `share` each way are right, for scores N(0, 1) out and N(μ, 1) in."""
    low, high = -10.0, 10.0 + mu
    for _ in range(60):
        middle = (low + high) / 2
        above = (ndtr(-middle) + ndtr(mu - middle)) / 2
        low, high = (middle, high) if above > share else (low, middle)
    return float(ndtr(mu - high) / 2 / share)

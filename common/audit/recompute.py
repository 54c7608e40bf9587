"""ε once more, from the events alone, by accountants that share no code.

- dp-accounting: privacy-loss distributions, pessimistic; the accountant that reports.
- Opacus: privacy random variables (Gopi, Lee, Wutschitz 2021), upper end; another
  discretisation, another convolution, other authors.
- Where nobody was sampled also the closed form of Gaussian DP (Balle, Wang 2018).

They must agree within `tolerance`. All are given the same part of δ: what the samplers'
distance τ to a rounded Gaussian, (1 + e^ε)·τ, leaves of it.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from opacus.accountants import PRVAccountant
from scipy.optimize import brentq
from scipy.special import log_ndtr

from common.privacy.accounting import epsilon as pld_epsilon
from common.privacy.events import Event, NoisySumEvent, SelectedSumEvent

__all__ = ["CLOSED", "PLD", "PRV", "Recomputed", "nothing_promised", "recompute", "tolerance"]

PLD: Final = "PLD (dp-accounting, pessimistic)"
PRV: Final = "PRV (Opacus, upper end)"
CLOSED: Final = "closed form of Gaussian DP"

_ERRORS: Final = (0.005, 0.05)
"""What PRV may be off by, in ε; the second where the first takes too fine a grid."""
_HUGE: Final = 700.0
_History: TypeAlias = tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Recomputed:
    """ε of the same events by each accountant.

    Attributes:
        delta: δ of all of them.
        sums: noisy sums in the events.
        pld: by dp-accounting; infinite if something left without a mechanism.
        prv: by Opacus; None if it cannot say.
        closed: in closed form; None if users were sampled.
    """

    delta: float
    sums: int
    pld: float
    prv: float | None
    closed: float | None

    @property
    def largest(self) -> float:
        """The largest of them."""
        return max(value for value in (self.pld, self.prv, self.closed) if value is not None)

    @property
    def agrees(self) -> bool:
        """Whether there is a second opinion, and every one is within `tolerance` of PLD."""
        others = [value for value in (self.prv, self.closed) if value is not None]
        return bool(others) and all(_close(self.pld, value) for value in others)

    def to_json(self) -> dict[str, Any]:
        """Figures by accountant; null for infinity and for no answer."""
        by = {PLD: self.pld, PRV: self.prv, CLOSED: self.closed}
        return {
            "delta": self.delta,
            "sums": self.sums,
            "epsilon": {name: _finite(value) for name, value in by.items()},
            "agrees": self.agrees,
            "tolerance": tolerance(self.pld) if math.isfinite(self.pld) else None,
        }


def tolerance(epsilon: float) -> float:
    """How far apart two accountants may be at ε: 0.02 + 0.002·ε.

    PRV's upper end is 0.005 above its estimate; over ten thousand sampled sums PLD, which
    rounds every one of them up, is another 0.01 above it.
    """
    return 0.02 + 0.002 * epsilon


def recompute(events: Sequence[Event], delta: float) -> Recomputed:
    """ε of `events` at `delta` by every accountant, as if all had been fixed in advance."""
    return _recompute(tuple(events), delta)


def nothing_promised(delta: float, sums: int = 0) -> Recomputed:
    """What there is to say of releases without any finite ε that could be shown."""
    return Recomputed(delta, sums, math.inf, math.inf, None)


@lru_cache(maxsize=256)
def _recompute(events: tuple[Event, ...], delta: float) -> Recomputed:
    gaussians = [event for event in events if isinstance(event, NoisySumEvent)]
    sums = sum(event.steps for event in events)
    if not events:
        return Recomputed(delta, 0, 0.0, 0.0, 0.0)
    pld = pld_epsilon(events, delta)
    if math.isinf(pld):  # no larger ε is there for a second opinion to find
        return nothing_promised(delta, sums)
    distance = math.fsum(event.total_variation for event in gaussians)
    precision = math.fsum(e.steps / _multiplier(e) ** 2 for e in gaussians if e.sampling_rate == 1)
    history = _history(gaussians, precision)
    return Recomputed(
        delta=delta,
        sums=sums,
        pld=pld,
        prv=_within(lambda left: _prv(history, left), delta, distance),
        closed=_within(lambda left: _closed(precision, left), delta, distance)
        if all(event.sampling_rate == 1 for event in gaussians)
        else None,
    )


def _history(events: Sequence[NoisySumEvent], precision: float) -> _History:
    """σ, rate and number of sums; the unsampled ones together are one Gaussian."""
    sampled: Counter[tuple[float, float]] = Counter()
    for event in events:
        if event.sampling_rate < 1:
            sampled[_multiplier(event), event.sampling_rate] += event.steps
    plain = [(precision**-0.5, 1.0, 1)] if precision else []
    return (*plain, *((sigma, rate, n) for (sigma, rate), n in sorted(sampled.items())))


def _multiplier(event: NoisySumEvent) -> float:
    """σ over sensitivity; of a choice of rows by its counts and values, put together here."""
    if not isinstance(event, SelectedSumEvent):
        return event.noise_multiplier
    counts = event.count_clip_grid / event.count_sigma_grid
    return 1 / math.hypot(counts, event.clip_grid / event.sigma_grid)


def _within(at: Callable[[float], float | None], delta: float, distance: float) -> float | None:
    """ε at what the samplers' distance leaves of δ; infinite if that is nothing."""
    for part in (0.9, 0.5, 0.1):
        found = at(part * delta)
        if found is None:
            return None
        taken = (1 + math.exp(min(found, _HUGE))) * distance
        if taken <= (1 - part) * delta:
            return at(delta - taken)
    return math.inf


@lru_cache(maxsize=256)
def _prv(history: _History, delta: float) -> float | None:
    for error in _ERRORS:
        accountant = PRVAccountant()
        accountant.history = list(history)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return float(accountant.get_epsilon(delta, eps_error=error))
        except (RuntimeError, ValueError, MemoryError):
            continue
    return None


def _closed(precision: float, delta: float) -> float:
    """ε with δ = Φ(μ/2 - ε/μ) - e^ε·Φ(-μ/2 - ε/μ) (theorem 8), μ² = `precision`."""
    mu = math.sqrt(precision)

    def excess(epsilon: float) -> float:
        upper = math.exp(log_ndtr(mu / 2 - epsilon / mu))
        return upper - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)) - delta

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-10))


def _close(one: float, other: float) -> bool:
    if math.isinf(one) or math.isinf(other):
        return one == other
    return abs(one - other) <= tolerance(max(one, other))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

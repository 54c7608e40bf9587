"""ε of a list of events: privacy-loss distributions, pessimistic; RDP for cross-checks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any, Final

from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    NoisySumEvent,
    NoPrivacyEvent,
)
from common.privacy.plan import Mode, Unit
from common.privacy.roster import Terms

__all__ = [
    "ACCOUNTANT",
    "NEIGHBOURING",
    "Guarantee",
    "beyond_measure",
    "epsilon",
    "for_shops",
    "rdp_epsilon",
    "rounded_up",
    "slack",
]

ACCOUNTANT: Final = "PLD (dp-accounting, pessimistic)"
NEIGHBOURING: Final = "add/remove one user"
_MOST: Final = 1e4
"""Σ μ² above which ε is said to be infinite: it is in the thousands, and its distribution
would take gigabytes. A ledger that is checked may hold any number."""
# connect-the-dots at 1e-3 is within 1e-4 of the value at 1e-4, in a tenth of the time
_INTERVAL: Final = 1e-3


@dataclass(frozen=True)
class Guarantee:
    """An ε with everything that it means nothing without.

    Attributes:
        epsilon: ε; infinite without privacy.
        delta: δ at which it holds.
        unit: what is protected.
        mode: who adds the noise.
        neighbouring: the relation between data sets.
        accountant: how ε was computed.
        reproducible_noise: the noise came from a seed, so nothing is protected.
        as_if_fixed: more was released than one plan fixed in advance: several plans, or a
            step twice. The accountant adds up as if all had been fixed before the first.
        terms: of secure sums, in mode `distributed`; None where several plans differ in them.
        colluders: the fewest c of several plans, which holds where they differ too.
    """

    epsilon: float
    delta: float
    unit: Unit
    mode: Mode
    neighbouring: str = NEIGHBOURING
    accountant: str = ACCOUNTANT
    reproducible_noise: bool = False
    as_if_fixed: bool = False
    terms: Terms | None = None
    colluders: int | None = None

    @property
    def holds(self) -> bool:
        """Whether anything is promised."""
        return not (self.mode == "none" or self.reproducible_noise or math.isinf(self.epsilon))

    def __str__(self) -> str:
        if not self.holds:
            return "no privacy guarantee"
        label = ", as if all plans had been fixed in advance" if self.as_if_fixed else ""
        return (
            f"ε = {rounded_up(self.epsilon, 3):g} at δ = {self.delta:.3g}, unit {self.unit} "
            f"({self.neighbouring}), mode {self.mode}{self._against}, by {self.accountant}{label}"
        )

    @property
    def _against(self) -> str:
        """Whom it holds against, where that is not everybody."""
        c = self.colluders if self.terms is None else self.terms.colluders
        if c is None:
            return ""
        whom = f"against the server and up to {c} colluding client{'' if c == 1 else 's'}"
        if self.terms is None:
            return f" ({whom})"
        return f" ({whom}, at least {self.terms.threshold} of {self.terms.clients} in every sum)"


def rounded_up(value: float, decimals: int) -> float:
    """A finite ε to that many decimals, never below what it is."""
    return float(Decimal(value).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_CEILING))


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Smallest ε that the accountant shows for all events together at `delta`.

    The samplers' distance τ to a rounded Gaussian costs (1 + e^ε)·τ of δ, so the
    distribution is evaluated at what is left of δ.

    Returns:
        ε, 0 for no events, infinity if something left without privacy or as good as that.
    """
    listed = list(events)
    if not listed:
        return 0.0
    if any(isinstance(event, NoPrivacyEvent) for event in listed) or beyond_measure(listed):
        return math.inf
    gaussians = [event for event in listed if isinstance(event, NoisySumEvent)]
    distance = math.fsum(event.total_variation for event in gaussians)
    return _with_slack(_compose(gaussians), delta, distance)


def for_shops(events: Iterable[Event], shops: int) -> list[Event]:
    """What to account for, for a person who is a user of `shops` clients that release alike.

    Releases of single clients compose: so many times the sums. A secure sum is one release
    to which each of the clients adds: the person moves it by up to `shops` clips, so that the
    guarantee is that of so many times the sensitivity. For accounting; never for a ledger.
    """
    return [_for_shops(event, shops) for event in events]


def _for_shops(event: Event, shops: int) -> Event:
    if isinstance(event, DistributedDiscreteGaussianEvent):
        return event.model_copy(update={"clip_grid": event.clip_grid * shops})
    return event.model_copy(update={"steps": event.steps * shops})


def beyond_measure(events: Iterable[Event]) -> bool:
    """Whether no accountant needs to be asked: ε would be in the thousands, or overflows.

    A sampled sum counts with q²·(e^(1/σ²) - 1), its μ² in the limit of many (Bu, Dong, Long,
    Su 2020, theorem 5): the size of its distribution grows with that.
    """
    try:
        return not math.fsum(_magnitude(event) for event in events) <= _MOST
    except OverflowError:
        return True


def _magnitude(event: Event) -> float:
    if not isinstance(event, NoisySumEvent):
        return 0.0
    event.total_variation  # noqa: B018 - raises OverflowError where values cannot be counted
    one = event.noise_multiplier**-2
    if event.sampling_rate >= 1:
        return event.steps * one
    if one > _MOST:
        return math.inf
    return event.steps * event.sampling_rate**2 * math.expm1(min(one, 700.0))


def slack(event_distance: float, at_epsilon: float) -> float:
    """What a distance of τ in total variation adds to δ: (1 + e^ε)·τ."""
    return (1.0 + math.exp(min(at_epsilon, 700.0))) * event_distance


def rdp_epsilon(events: Iterable[NoisySumEvent], delta: float) -> float:
    """ε by Rényi differential privacy, without the samplers' slack; for cross-checks."""
    from dp_accounting import dp_event  # heavy; most messages to a client need no accountant
    from dp_accounting.rdp.rdp_privacy_accountant import RdpAccountant

    accountant = RdpAccountant()
    for event in events:
        gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
        sampled = dp_event.PoissonSampledDpEvent(event.sampling_rate, gaussian)
        accountant.compose(dp_event.SelfComposedDpEvent(sampled, event.steps))
    return float(accountant.get_epsilon(delta))


def _with_slack(distribution: Any, delta: float, distance: float) -> float:
    """Smallest ε found with δ(ε) + slack(ε) <= `delta`.

    An ε computed for a part of δ is valid if the slack at that ε fits into the rest. From
    a valid ε, what is left of δ only grows, so repeating keeps it valid and tightens it.
    """
    for part in (0.9, 0.5, 0.1):
        found = float(distribution.get_epsilon_for_delta(part * delta))
        if slack(distance, found) > (1 - part) * delta:
            continue
        for _ in range(2):
            left = delta - slack(distance, found)
            found = min(found, float(distribution.get_epsilon_for_delta(left)))
        return found
    return math.inf


def _compose(events: Sequence[NoisySumEvent]) -> Any:
    """The privacy-loss distribution of all events.

    Unsampled Gaussians compose to one Gaussian with μ² = Σ steps/σ² exactly, so they are
    reduced before anything is discretised.
    """
    plain = math.fsum(e.steps / e.noise_multiplier**2 for e in events if e.sampling_rate >= 1)
    sampled: Counter[tuple[float, float]] = Counter()
    for event in events:
        if event.sampling_rate < 1:
            sampled[event.noise_multiplier, event.sampling_rate] += event.steps
    parts = [_gaussian(plain**-0.5, 1.0)] if plain else []
    parts += [_gaussian(*key).self_compose(n) for key, n in sorted(sampled.items())]
    total = parts[0]
    for part in parts[1:]:
        total = total.compose(part)
    return total


@lru_cache(maxsize=64)
def _gaussian(sigma: float, rate: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld  # as above

    return pld.from_gaussian_mechanism(
        sigma,
        sampling_prob=rate,
        value_discretization_interval=_INTERVAL,
        pessimistic_estimate=True,
        use_connect_dots=True,
    )

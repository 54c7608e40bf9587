"""What a total of secure sums is to the server and its colluders: a sum with honest shares.

They know their own shares, and take them out. What is left has at least h = t - c shares of
noise, so an attack on that is an attack on the promise.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from common.arrays import Floats, Ints
from common.job import Job
from common.privacy.contributions import Contributions
from common.privacy.events import DistributedDiscreteGaussianEvent
from common.privacy.mechanisms import OnFailure
from common.privacy.plan import NoiseShares, Release
from common.privacy.roster import Terms
from common.privacy.shared_noise import SharedSum, natural, noise_std_of
from common.privacy.stream import NoiseSource
from common.privacy.words import shorter
from common.schedule import facts_of
from common.solvers.aggregation import Aggregation
from common.solvers.registry import make_solver
from simulations.attacks.defects import MechanismMaker

__all__ = ["HonestShares", "alone_settings", "alone_words", "honest_shares"]

_WORD_BITS: Final = 64
"""Long words have room for any number of declared users."""


class HonestShares:
    """The real mechanisms of h honest clients, added up modulo 2^k as the server adds them up.

    Guarantee:
        That of `DistributedDiscreteGaussianEvent`, with equality: no share more than h.
    """

    def __init__(self, terms: Terms, population: int, release: Release, noise: NoiseSource) -> None:
        shares = NoiseShares(**vars(terms), population=population, word_bits=_WORD_BITS)
        multiplier = shorter(release.noise_multiplier)
        self._release = release.model_copy(
            update={"shares": shares, "noise_multiplier": multiplier}
        )
        self._shares = [SharedSum(self._release, noise) for _ in range(terms.honest)]

    @property
    def event(self) -> DistributedDiscreteGaussianEvent:
        """What each of their ledgers would store."""
        return self._shares[0].event

    @property
    def is_private(self) -> bool:
        """False if the noise is reproducible."""
        return all(one.is_private for one in self._shares)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of all of them."""
        return noise_std_of(self._release, len(self._shares))

    def sample(self, n_users: int) -> Ints:
        """Everybody; all users are at the first of the clients."""
        return self._shares[0].sample(n_users)

    def sum(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Floats:
        """The total of all of them, in natural units."""
        first, *others = self._shares
        total = first.words(contributions, on_failure)
        for other in others:
            total = total + other.words([])  # modulo 2^k
        return natural(total, self._release)


def honest_shares(job: Job, population: int) -> MechanismMaker | None:
    """The mechanisms of a job of secure sums as an adversary meets them; None in other modes.

    Args:
        job: whose terms.
        population: declared users of the shadow shop.
    """
    return None if job.terms is None else partial(HonestShares, job.terms, population)


def alone_settings(job: Job) -> dict[str, Any]:
    """Settings with which one client alone makes the sums of `job`, of secure sums one a round.

    What a server makes of several clients' releases is left out: an attacker has the releases.
    """
    settings = {n: v for n, v in job.settings.items() if n not in Aggregation.model_fields}
    if job.mode != "distributed" or job.solver != "dpsgd":
        return settings
    rounds = len(make_solver(job.solver, job.settings, facts_of(job)).steps) - 1
    return {**settings, "rounds": rounds, "local_steps": 1}


def alone_words(job: Job) -> str:
    """How secure sums were attacked; empty in other modes."""
    if job.terms is None:
        return ""
    terms = job.terms
    return (
        f"In mode distributed, totals are attacked as the server and {terms.colluders} colluding "
        f"clients have them, with the noise of h = {terms.honest} honest shares alone: one step "
        "repeated adds up the real shares; in the other attacks one client in the place of "
        f"{terms.clients} adds noise of that size. What a single client sends is masked, and not "
        "attacked here: `hushrec seen` tests it."
    )

"""Sums for mode `distributed`: each client adds a share of the noise, masks come on top.

A client hands over its quantised sum and one share, modulo 2^k. That is nothing to release:
the share alone is less noise than anybody planned. `common.secure_sum` masks it, so that the
server learns the total alone, in which at least h = t - c shares are unknown to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from common.arrays import Floats, Ints, Words
from common.privacy.contributions import Contributions
from common.privacy.events import DistributedDiscreteGaussianEvent, event_of
from common.privacy.mechanisms import release_of
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.samplers.exact import discrete_gaussian
from common.privacy.stream import NoiseSource
from common.privacy.summing import ClippedSum, OnFailure, undeclared

__all__ = ["SharedSum", "Words", "natural", "noise_std_of", "shared_mechanism_for"]


class SharedSum(ClippedSum):
    """Clipped integer sums with one client's share of the noise, once.

    Guarantee:
        For the unit of the plan (one user of one client added or removed), and m clips for a
        user of m clients: the total of at least `event.threshold` clients' words is a
        Gaussian sum with σ over sensitivity of `event.noise_multiplier`, up to
        `event.total_variation`, to the server and `event.colluders` clients together. That
        holds of the total alone: the words themselves are for masking and nothing else. Not
        private if `noise` is reproducible.
    """

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        event = _event(release)
        super().__init__(release, event.clip_grid, noise)
        self._event = event

    @property
    def event(self) -> DistributedDiscreteGaussianEvent:
        """What the ledger stores before anything is computed."""
        return self._event

    def words(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Words:
        """Sum what users contribute and add one share of the noise.

        Failures are told and contained as in `GaussianSum.sum`.

        Args:
            contributions: batches; users strictly increasing over all of them.
            on_failure: is told what making or checking a contribution raised.

        Returns:
            `[rows, width]` modulo 2^`event.word_bits`, uint32 or uint64; not yet masked.

        Raises:
            ReleaseError: `release-undeclared`, the sum has been made: another attempt is
                another mechanism, with noise of its own and a charge of its own.
            PrivacyError: `contribution-invalid`, without `on_failure` only. The sum is used
                up all the same.
        """
        total = self._gather(contributions, on_failure)
        total += self._share(total.shape)
        unsigned = total.view(np.uint64)
        return unsigned if self._event.word_bits == 64 else unsigned.astype(np.uint32)

    def _share(self, shape: tuple[int, ...]) -> Ints:
        """One client's noise."""
        return discrete_gaussian(shape, Fraction(self._event.share_variance), self._noise)


def shared_mechanism_for(plan: PrivacyPlan, index: int, noise: NoiseSource) -> SharedSum:
    """The mechanism of the plan's release number `index`, for one attempt at its sum.

    Raises:
        ReleaseError: `release-undeclared`, the plan has no such release, or one client adds
            all of its noise (`mechanisms.mechanism_for`).
    """
    return SharedSum(release_of(plan, index), noise)


def natural(total: Words, release: Release) -> Floats:
    """A total, unmasked, in natural units.

    Args:
        total: `[rows, width]`, words of as many bits as `release.shares` says; read as two's
            complement.
        release: what was summed.

    Returns:
        `[rows, width]`.

    Raises:
        ReleaseError: `release-undeclared`, clients do not share its noise, or the words have
            another size or shape.
    """
    event = _event(release)
    if total.dtype != f"uint{event.word_bits}" or total.shape != (event.rows, event.width):
        raise undeclared(
            release,
            f"is [{event.rows}, {event.width}] of {event.word_bits} bits, and a total is "
            f"{list(total.shape)} {total.dtype}",
        )
    signed = total.view(f"int{event.word_bits}")
    return signed.astype(np.float64) * (release.clip_norm / event.clip_grid)


def noise_std_of(release: Release, survivors: int) -> float:
    """Standard deviation of the noise on each entry of a total, natural units.

    Args:
        release: what was summed.
        survivors: clients whose words are in the total, at least the threshold.
    """
    event = _event(release)
    sigma = math.sqrt(survivors * event.share_variance)
    return sigma * release.clip_norm / event.clip_grid


def _event(release: Release) -> DistributedDiscreteGaussianEvent:
    event = event_of(release)
    if not isinstance(event, DistributedDiscreteGaussianEvent):
        raise undeclared(release, "has no noise planned that clients share")
    return event

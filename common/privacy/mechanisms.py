"""What a release is made with: `summing` adds up over users, noise comes on top here.

A mechanism is made for one planned release; sampling, clipping, noise and the ledger's
event all come from it, so that they cannot drift apart. Where clients share the noise it is
`shared_noise.SharedSum`; where rows are chosen, `selected.SelectedSum`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from common.arrays import Floats, Ints
from common.errors import Code, ReleaseError
from common.privacy.contributions import Contributions
from common.privacy.events import Event, GaussianSumEvent, NoPrivacyEvent, event_of
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.samplers import make_sampler
from common.privacy.samplers.parallel import over_chunks
from common.privacy.selected import SelectedSum
from common.privacy.stream import NoiseSource
from common.privacy.summing import ClippedSum, OnFailure, undeclared

__all__ = [
    "ExactSum",
    "GaussianSum",
    "OnFailure",
    "SumMechanism",
    "local_sum",
    "mechanism_for",
    "release_of",
]


class SumMechanism(Protocol):
    """What a release is made with."""

    @property
    def event(self) -> Event:
        """What the ledger stores before anything is computed."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether the sums carry noise that nobody can draw again."""
        ...

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each entry that leaves, natural units."""
        ...

    def sample(self, n_users: int) -> Ints:
        """Positions of the users who take part in the next sum, increasing."""
        ...

    def sum(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Floats:
        """The sum over users, `[rows, width]`, as it may be released."""
        ...


class GaussianSum(ClippedSum):
    """Clipped integer sums with Gaussian noise.

    Guarantee:
        For the unit of the plan (one user added or removed): each of `release.steps` sums
        is the Gaussian mechanism with σ over sensitivity of `event.noise_multiplier`, with
        Poisson sampling at `release.sampling_rate`, up to `event.total_variation`. A user
        takes part at most once in a sum, and only if `sample` chose them; the sampled set
        stays secret. Not private if `noise` is reproducible.
    """

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        event = event_of(release)
        if not isinstance(event, GaussianSumEvent):
            raise undeclared(release, "has no noise planned that one client adds")
        super().__init__(release, event.clip_grid, noise)
        self._event = event
        self._sampler = make_sampler(release.sampler, event.sigma_grid)

    @property
    def event(self) -> GaussianSumEvent:
        """What the ledger stores; covers all sums of the release."""
        return self._event

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each entry, natural units."""
        return self._event.sigma_grid * self._unit

    def sum(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Floats:
        """Sum what users contribute and add the noise.

        That anything fails here depends on data, so a client gives `on_failure`: then what
        was added before stays, nothing more comes, and the sum leaves with all its noise.
        That is the last resort and no part of the guarantee: users who do not come because
        another one failed are more than one clip. Solvers contain each user's failure.

        Args:
            contributions: batches; users strictly increasing over all of them.
            on_failure: is told what making or checking a contribution raised.

        Returns:
            `[rows, width]` in natural units.

        Raises:
            ReleaseError: `release-undeclared`, all sums of the release have been made.
            PrivacyError: `contribution-invalid`, a user twice or not sampled, rows out of
                order or range, or a wrong width; without `on_failure` only. The sum is
                used up all the same.
        """
        total = self._gather(contributions, on_failure)
        over_chunks(total, self._noise, self._finish)
        return total.view(np.float64)

    def hand_over(self) -> tuple[Release, NoiseSource]:
        """What the sums are made with, for one who makes all of them; none are made here then.

        Raises:
            ReleaseError: `release-undeclared`, sums were made, or handed over before.
        """
        if self._sums > 0 or self._chosen is not None:
            raise undeclared(self._release, "has sums already: no other can make them all")
        self._sums = self._release.steps
        return self._release, self._noise

    def _finish(self, part: Ints, stream: NoiseSource) -> None:
        """Add the noise and go over to natural units, in the memory of the sum itself."""
        part += self._sampler.draw(part.shape, stream)
        part.view(np.float64)[...] = part * self._unit


class ExactSum:
    """Plain sums for mode `none`: no clipping, no noise, no guarantee."""

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        self._release = release
        self._noise = noise.spawn()
        self._sums = 0

    @property
    def event(self) -> NoPrivacyEvent:
        """Says that this left without privacy."""
        release = self._release
        return NoPrivacyEvent(rows=release.rows, width=release.width, steps=release.steps)

    @property
    def is_private(self) -> bool:
        """Never."""
        return False

    @property
    def noise_std(self) -> float:
        """There is none."""
        return 0.0

    def sample(self, n_users: int) -> Ints:
        """Who takes part in the next sum."""
        return self._noise.poisson_sample(n_users, self._release.sampling_rate)

    def sum(
        self,
        contributions: Iterable[Contributions],
        on_failure: OnFailure | None = None,  # noqa: ARG002 - nothing is promised: fail aloud
    ) -> Floats:
        """The exact sum, `[rows, width]`; whatever a contribution raises goes on.

        Raises:
            ReleaseError: `release-undeclared`, all sums of the release have been made.
        """
        if self._sums >= self._release.steps:
            raise undeclared(self._release, f"covers {self._release.steps} sums only")
        self._sums += 1
        total = np.zeros((self._release.rows, self._release.width))
        for batch in contributions:
            batch.add_to(total)
        return total


def mechanism_for(plan: PrivacyPlan, index: int, noise: NoiseSource) -> SumMechanism:
    """The mechanism of the plan's release number `index`.

    Raises:
        ReleaseError: `release-undeclared`, the plan has no such release, or clients share
            its noise (`shared_noise.shared_mechanism_for`).
    """
    release = release_of(plan, index)
    if release.shares is not None:
        raise undeclared(release, "is summed securely, with noise that clients share")
    return ExactSum(release, noise) if plan.mode == "none" else local_sum(release, noise)


def local_sum(release: Release, noise: NoiseSource) -> GaussianSum | SelectedSum:
    """The mechanism of a release whose noise one client adds, all of it."""
    if release.selection is None:
        return GaussianSum(release, noise)
    return SelectedSum(release, noise)


def release_of(plan: PrivacyPlan, index: int) -> Release:
    """The plan's release number `index`.

    Raises:
        ReleaseError: `release-undeclared`, the plan has no such release.
    """
    if not 0 <= index < len(plan.releases):
        raise ReleaseError(
            Code.RELEASE_UNDECLARED,
            f"the plan has {len(plan.releases)} releases.",
            where=f"release {index}",
            remedy="Declare every release in the plan.",
        )
    return plan.releases[index]

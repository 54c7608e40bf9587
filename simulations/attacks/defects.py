"""Mechanisms that are broken on purpose, to see that an audit notices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from common.arrays import Floats, Ints
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.events import GaussianSumEvent
from common.privacy.mechanisms import GaussianSum, OnFailure, SumMechanism, local_sum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource

__all__ = ["ClipsEvents", "MechanismMaker", "weakened"]

MechanismMaker: TypeAlias = Callable[[Release, NoiseSource], SumMechanism]
"""Makes the mechanism of a release, as a client does for each that it answers."""

_BLOCK = 1 << 17


def weakened(share: float) -> MechanismMaker:
    """The real mechanism with `share` of the planned noise; with 1 it is not broken."""
    return partial(_with_noise, share)


def _with_noise(share: float, release: Release, noise: NoiseSource) -> SumMechanism:
    multiplier = release.noise_multiplier * share
    return local_sum(release.model_copy(update={"noise_multiplier": multiplier}), noise)


class ClipsEvents:
    """The real mechanism, which takes each event for a user: clips events, where a user has many.

    For releases without sampling: it knows no users that could be sampled.
    """

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        self._real = GaussianSum(release, noise)

    @property
    def event(self) -> GaussianSumEvent:
        """What the ledger would store: users, clipped."""
        return self._real.event

    @property
    def is_private(self) -> bool:
        """As the real one says."""
        return self._real.is_private

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise."""
        return self._real.noise_std

    def sample(self, n_users: int) -> Ints:
        """Everybody."""
        return np.arange(n_users)

    def sum(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Floats:
        """The noised sum of clipped events."""
        return self._real.sum(_by_event(contributions), on_failure)


def _by_event(contributions: Iterable[Contributions]) -> Iterator[SparseRows]:
    """Each row of each user as a user of its own."""
    seen = 0
    for batch in contributions:
        for block in batch.expand(_BLOCK):
            events = len(block.rows)
            users = np.arange(seen, seen + events)
            yield SparseRows(users, np.arange(events + 1), block.rows, block.values)
            seen += events

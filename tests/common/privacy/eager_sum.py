"""Running totals, slow and obvious: every sum has its noise on every row at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.arrays import Floats, Ints
from common.privacy.contributions import Contributions
from common.privacy.mechanisms import SumMechanism
from common.privacy.plan import Release

__all__ = ["EagerSum"]


class EagerSum:
    """The running total of a mechanism's sums, all rows of them: the oracle of `DeferredSum`."""

    def __init__(self, mechanism: SumMechanism, release: Release) -> None:
        self._mechanism = mechanism
        self._total: Floats = np.zeros((release.rows, release.width))

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of one sum on each entry, natural units."""
        return self._mechanism.noise_std

    def read(self, rows: Ints) -> Floats:
        """The total on some rows, `[len(rows), width]`, with the noise of all sums so far."""
        return self._total[rows]

    def add(self, contributions: Iterable[Contributions]) -> None:
        """Add the next sum to the total; raises what the mechanism does."""
        self._total = self._total + self._mechanism.sum(contributions)

    def settle(self) -> Floats:
        """The whole total, `[rows, width]`."""
        return self._total

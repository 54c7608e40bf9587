"""Sums of which one client sees few rows at a time: noise is drawn for a row when it is read.

Where a client takes many noisy steps by itself and only the end leaves it, a state that is
linear in the sums (SGD without momentum) is a function of their running total. A step reads few
rows of it. Noise on a row that nobody has read yet is independent of all that was computed, so
it can be drawn later, and several sums' noise at once. docs/privacy/deferred.md has the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Ints
from common.privacy.contribution_checks import invalid
from common.privacy.contributions import Contributions
from common.privacy.events import GaussianSumEvent, event_of
from common.privacy.mechanisms import GaussianSum, OnFailure, SumMechanism
from common.privacy.plan import Release
from common.privacy.samplers import make_sampler
from common.privacy.samplers.exact import ExactSampler, discrete_gaussian
from common.privacy.samplers.parallel import over_parts
from common.privacy.samplers.shares import closeness
from common.privacy.stream import NoiseSource
from common.privacy.summing import ClippedSum, undeclared

__all__ = ["MOST_DEFERRED", "DeferredSum", "deferred_from"]

MOST_DEFERRED: Final = 1 << 20
"""Sums of a release whose noise may be deferred; their noise is within the sampler's reach."""
_PART_VALUES = 1 << 18


class DeferredSum(ClippedSum):
    """Clipped integer sums with Gaussian noise, added up; noise is drawn for what is read.

    Guarantee:
        That of `mechanisms.GaussianSum` for all sums of the release, with the distance
        `total_variation`: what is read and what `settle` returns has the joint law of the
        running total of its sums, whatever is read when, and however that depends on users.
        It is made in integers (modulo 2^64, which 2^33 contributions do not reach), so that no
        rounding tells when a row was read. Which rows are read stays on the client, as the
        sampled set does.
    """

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        event = event_of(release)
        if not isinstance(event, GaussianSumEvent):
            raise undeclared(release, "has no noise planned that one client adds")
        if release.steps > MOST_DEFERRED:
            raise undeclared(release, f"has more than {MOST_DEFERRED} sums to defer")
        super().__init__(release, event.clip_grid, noise)
        self._event = event
        self._sampler = make_sampler(release.sampler, event.sigma_grid)
        self._total: Ints | None = np.zeros((release.rows, release.width), dtype=np.int64)
        # how many sums' noise each row has
        self._settled = np.zeros(release.rows, dtype=np.int32)
        self._adding = False

    @property
    def event(self) -> GaussianSumEvent:
        """What the ledger stores; covers all sums of the release."""
        return self._event

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise of one sum on each entry, natural units."""
        return self._event.sigma_grid * self._unit

    @property
    def total_variation(self) -> float:
        """The event's, and what one draw in the place of several adds: below 10^-290."""
        event = self._event
        if event.sampler == "fast":
            return event.total_variation
        apart = closeness(event.sigma_grid**2, event.steps) * event.rows * event.width / 2
        return min(1.0, event.total_variation + apart)

    def read(self, rows: Ints) -> Floats:
        """The total on some rows, with the noise of all sums so far.

        Args:
            rows: `[rows]`, strictly increasing.

        Returns:
            `[len(rows), width]` in natural units.

        Raises:
            PrivacyError: `contribution-invalid`, rows out of order or range, or while a sum is
                being added, which has no noise yet.
            ReleaseError: `release-undeclared`, the release is settled.
        """
        total = self._running()
        inside = len(rows) == 0 or (rows[0] >= 0 and rows[-1] < len(total))
        if not inside or np.any(np.diff(rows) <= 0):
            raise invalid(self._release, "rows are read twice, out of order or out of range")
        pending = self._sums - self._settled[rows]
        total[rows] += self._draw(pending, self._noise)
        self._settled[rows] = self._sums
        return total[rows].astype(np.float64) * self._unit

    def add(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> None:
        """Add the next sum to the total; its noise comes when rows are read, or at the end.

        Failures are told and contained as in `GaussianSum.sum`.

        Args:
            contributions: batches; users strictly increasing over all of them. They depend on
                what was read before, and on nothing that is read meanwhile.
            on_failure: is told what making or checking a contribution raised.

        Raises:
            ReleaseError: `release-undeclared`, all sums of the release have been made, or it
                is settled.
            PrivacyError: `contribution-invalid`, without `on_failure` only. The sum is used up
                all the same.
        """
        total = self._running()
        with self._being_added():
            self._gather_into(total, contributions, on_failure)

    def settle(self) -> Floats:
        """The whole total with all noise, for the sums that were made.

        Returns:
            `[rows, width]` in natural units, in the memory of the total.

        Raises:
            ReleaseError: `release-undeclared`, the release is settled.
        """
        total, self._total = self._running(), None
        pending = self._sums - self._settled
        usual = int(np.bincount(pending).argmax())
        at_once = max(1, _PART_VALUES // self._release.width)
        parts = [slice(at, at + at_once) for at in range(0, len(total), at_once)]

        def finish(rows: slice, stream: NoiseSource) -> None:
            total[rows] += self._draw(pending[rows], stream, usual)
            total[rows].view(np.float64)[...] = total[rows] * self._unit

        over_parts(parts, self._noise, finish)
        return total.view(np.float64)

    def _running(self) -> Ints:
        if self._total is None:
            raise undeclared(self._release, "is settled: nothing more comes of it")
        if self._adding:
            raise invalid(self._release, "read while a sum is being added, which has no noise yet")
        return self._total

    @contextmanager
    def _being_added(self) -> Iterator[None]:
        self._adding = True
        try:
            yield
        finally:
            self._adding = False

    def _draw(self, pending: NDArray[np.int32], stream: NoiseSource, usual: int = 0) -> Ints:
        """Noise of `pending[i]` sums on row i, `[rows, width]`.

        Exact noise of 2^k sums is one draw, as the sum of discrete Gaussians is one (with a
        distance that `total_variation` has), and so is that of `usual` sums, which is worth a
        table of its own. Other noise has as many draws as there are sums.
        """
        out = np.zeros((len(pending), self._release.width), dtype=np.int64)
        most = int(pending.max(initial=0))
        if not isinstance(self._sampler, ExactSampler):
            for count in range(most):
                self._draw_some(out, pending > count, 1, stream)
            return out
        common = (pending == usual) & (usual > 0)
        self._draw_some(out, common, usual, stream)
        for bit in range(most.bit_length()):
            self._draw_some(out, ~common & (pending >> bit & 1 == 1), 1 << bit, stream)
        return out

    def _draw_some(
        self, out: Ints, rows: NDArray[np.bool_], sums: int, stream: NoiseSource
    ) -> None:
        """Add the noise of `sums` sums, drawn at once, to some rows."""
        count = int(np.count_nonzero(rows))
        if count == 0:
            return
        shape = (count, out.shape[1])
        if sums == 1:
            drawn = self._sampler.draw(shape, stream)
        else:
            drawn = discrete_gaussian(shape, Fraction(sums * self._event.sigma_grid**2), stream)
        if count == len(out):
            out += drawn
        else:
            out[rows] += drawn


def deferred_from(mechanism: SumMechanism) -> DeferredSum | None:
    """The running total of all sums of a mechanism that has made none, in its place.

    None where the noise cannot wait: it is no `GaussianSum`, and its sums are others.
    """
    if type(mechanism) is not GaussianSum:
        return None
    return DeferredSum(*mechanism.hand_over())

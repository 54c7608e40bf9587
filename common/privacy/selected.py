"""Sums of which only rows leave that enough users touch, by a count that has noise itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.arrays import Floats, Ints
from common.privacy.contribution_checks import check_gathered
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.events import SelectedSumEvent, event_of
from common.privacy.gathered import PADDING, GatheredRows
from common.privacy.gathered_sum import add_gathered
from common.privacy.grid import quantise
from common.privacy.plan import Release, RowSelection
from common.privacy.samplers import make_sampler
from common.privacy.scatter import add_rows
from common.privacy.stream import NoiseSource
from common.privacy.summing import ClippedSum, OnFailure, checked, undeclared

__all__ = ["SelectedSum"]


class SelectedSum(ClippedSum):
    """Clipped integer sums with Gaussian noise on chosen rows, and zeros on all others.

    A user counts for the rows that they yield, whatever the values there; a solver that wants
    fewer to count yields fewer. Counts are made for all rows but the dense ones.

    Guarantee:
        For the unit of the plan (one user added or removed): each of `release.steps` sums,
        with the choice of its rows, is a function of one Gaussian mechanism with σ over
        sensitivity of `event.noise_multiplier`, with Poisson sampling at
        `release.sampling_rate`, up to `event.total_variation`. A user takes part at most once
        in a sum, and only if `sample` chose them; the sampled set stays secret. Which rows
        are zero is released. Not private if `noise` is reproducible.
    """

    def __init__(self, release: Release, noise: NoiseSource) -> None:
        event = event_of(release)
        if release.selection is None or not isinstance(event, SelectedSumEvent):
            raise undeclared(release, "has no noised choice of rows planned")
        super().__init__(release, event.clip_grid, noise)
        self._event = event
        self._selection: RowSelection = release.selection
        self._sampler = make_sampler(release.sampler, event.sigma_grid)
        self._count_sampler = make_sampler(release.sampler, event.count_sigma_grid)
        self._counted = release.rows - event.dense_rows
        self._counts: Ints = np.zeros((self._counted, 1), dtype=np.int64)

    @property
    def event(self) -> SelectedSumEvent:
        """What the ledger stores; covers all sums of the release, and every choice."""
        return self._event

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each entry of a kept row, natural units."""
        return self._event.sigma_grid * self._unit

    @property
    def count_noise_std(self) -> float:
        """Standard deviation of the noise on each count, natural units."""
        return self._event.count_sigma_grid * self._count_unit

    def sum(
        self, contributions: Iterable[Contributions], on_failure: OnFailure | None = None
    ) -> Floats:
        """Sum what users contribute, choose rows, and add noise to those.

        Noise that nobody would see is not drawn: work grows with the rows that are kept, and
        one draw for each row that may be.

        Args:
            contributions: batches; users strictly increasing over all of them.
            on_failure: is told what making or checking a contribution raised
                (`GaussianSum.sum`).

        Returns:
            `[rows, width]` in natural units; rows that were not chosen are exactly zero.

        Raises:
            ReleaseError: `release-undeclared`, all sums of the release have been made.
            PrivacyError: `contribution-invalid`, as in `GaussianSum.sum`; without
                `on_failure` only. The sum is used up all the same.
        """
        self._counts = np.zeros((self._counted, 1), dtype=np.int64)
        total = self._gather(contributions, on_failure)
        kept = self._kept()
        units = total[kept]
        units += self._sampler.draw(units.shape, self._noise)
        found = np.zeros(total.shape)
        found[kept] = units.astype(np.float64) * self._unit
        return found

    def _add(self, total: Ints, contributions: Iterable[Contributions]) -> None:
        """Add what users contribute to `total`, and the rows that they touch to the counts."""
        last = -1
        for batch in contributions:
            if isinstance(batch, GatheredRows):
                check_gathered(batch, last, self._release, self._chosen)
                self._add_gathered(total, batch)
                self._count_gathered(batch)
                last = int(batch.users[-1]) if len(batch.users) else last
                continue
            for block in checked((batch,), self._release, self._chosen, last):
                units = quantise(block, self._release.clip_norm, self._event.clip_grid)
                self._count(block)
                add_rows(total, block.rows, units)
                last = int(block.users[-1])

    def _count(self, block: SparseRows) -> None:
        """A 1 for each row of each user that may be chosen, clipped."""
        counted = block.rows < self._counted
        before = np.concatenate([[0], np.cumsum(counted)])
        rows = block.rows[counted]
        ones = SparseRows(block.users, before[block.indptr], rows, np.ones((len(rows), 1)))
        clip_norm, grid = self._selection.clip_norm, self._event.count_clip_grid
        add_rows(self._counts, rows, quantise(ones, clip_norm, grid))

    def _count_gathered(self, batch: GatheredRows) -> None:
        """As `_count`; a row that is both a user's own and shared is one row."""
        users, dense = len(batch.users), np.asarray(batch.dense_rows, dtype=np.int64)
        shared = np.concatenate([batch.shared_rows, dense])
        shared = shared[shared < self._counted]
        alone = (batch.own_rows < self._counted) & ~np.isin(batch.own_rows, shared)
        ones = GatheredRows(
            batch.users,
            np.where(alone, batch.own_rows, PADDING),
            np.ones((*batch.own_rows.shape, 1)),
            shared,
            np.ones((users, len(shared), 1)),
            range(self._counted, self._counted),
            np.empty((users, 0)),
        )
        clip_norm, grid = self._selection.clip_norm, self._event.count_clip_grid
        add_gathered(self._counts, ones, clip_norm, grid)

    def _kept(self) -> Ints:
        """The rows whose noised count is at least the threshold, and all dense ones."""
        noised = self._counts + self._count_sampler.draw(self._counts.shape, self._noise)
        enough = noised[:, 0].astype(np.float64) * self._count_unit >= self._selection.threshold
        dense = np.arange(self._counted, self._release.rows)
        return np.concatenate([np.flatnonzero(enough), dense])

    @property
    def _count_unit(self) -> float:
        """One unit of the counts' grid, in natural units."""
        return self._selection.clip_norm / self._event.count_clip_grid

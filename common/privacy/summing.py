"""The only place that sums over users: check, clip, quantise, add up in integers.

What every mechanism does before it adds noise, whoever adds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.arrays import Ints
from common.errors import Code, ReleaseError
from common.privacy.contribution_checks import (
    check_cut,
    check_gathered,
    check_rank_one,
    check_rows,
    check_users,
    invalid,
)
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.gathered import GatheredRows
from common.privacy.gathered_sum import add_gathered, has_twofold_rows
from common.privacy.grid import LARGEST_POPULATION, quantise
from common.privacy.plan import Release
from common.privacy.rank_one import RankOne
from common.privacy.rank_one_sum import add_rank_one
from common.privacy.scatter import add_rows
from common.privacy.stream import NoiseSource

__all__ = ["ClippedSum", "OnFailure", "checked", "undeclared"]

_BLOCK_VALUES = 1 << 17

OnFailure: TypeAlias = Callable[[BaseException], None]
"""Is told why contributions ended early; on the client, since the reason may quote data."""


def undeclared(release: Release, what: str) -> ReleaseError:
    """What is raised where a release is asked for that no plan has."""
    return ReleaseError(
        Code.RELEASE_UNDECLARED,
        f"the release {what}.",
        where=f"release {release.step!r}",
        remedy="Declare every release in the plan.",
    )


class ClippedSum:
    """The part of a mechanism that looks at users: sampling, clipping, adding up.

    Guarantee:
        One user more or less moves what `_gather` returns by at most `clip_grid` in L2 norm,
        rounding included. A user takes part at most once in a sum, and only if `sample`
        chose them, where it was asked; the sampled set stays secret.
    """

    def __init__(self, release: Release, clip_grid: int, noise: NoiseSource) -> None:
        self._release = release
        self._clip_grid = clip_grid
        self._noise = noise.spawn()
        self._sums = 0
        self._chosen: NDArray[np.bool_] | None = None

    @property
    def is_private(self) -> bool:
        """False if the noise is reproducible."""
        return self._noise.is_private

    def sample(self, n_users: int) -> Ints:
        """Choose who takes part in the next sum, each with `release.sampling_rate`.

        Raises:
            PrivacyError: `contribution-invalid`, more users than a sum can hold, or a
                second sample before the first was summed.
        """
        if n_users > LARGEST_POPULATION:
            raise invalid(self._release, f"{n_users} users are more than {LARGEST_POPULATION}")
        if self._chosen is not None:
            raise invalid(self._release, "sampled twice for one sum")
        users = self._noise.poisson_sample(n_users, self._release.sampling_rate)
        self._chosen = np.zeros(n_users, dtype=np.bool_)
        self._chosen[users] = True
        return users

    def _gather(self, contributions: Iterable[Contributions], on_failure: OnFailure | None) -> Ints:
        """What users contribute, `[rows, width]` in units of the grid, without noise.

        Raises:
            ReleaseError: `release-undeclared`, all sums of the release have been made.
            PrivacyError: `contribution-invalid`, without `on_failure` only.
        """
        total = np.zeros((self._release.rows, self._release.width), dtype=np.int64)
        self._gather_into(total, contributions, on_failure)
        return total

    def _gather_into(
        self, total: Ints, contributions: Iterable[Contributions], on_failure: OnFailure | None
    ) -> None:
        """Add what users contribute to `total`; `_gather` has what may be raised."""
        self._begin()
        try:
            self._add(total, contributions)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if on_failure is None:
                raise
            on_failure(error)
        self._chosen = None

    def _add(self, total: Ints, contributions: Iterable[Contributions]) -> None:
        """Add what users contribute to `total`, in units of the grid, whole blocks at a time."""
        last = -1
        for batch in contributions:
            if isinstance(batch, GatheredRows):
                check_gathered(batch, last, self._release, self._chosen)
                self._add_gathered(total, batch)
                last = int(batch.users[-1]) if len(batch.users) else last
            elif isinstance(batch, RankOne):
                check_rank_one(batch, last, self._release, self._chosen)
                add_rank_one(total, batch, self._release.clip_norm, self._clip_grid)
                last = int(batch.users[-1]) if len(batch.users) else last
            else:
                last = self._add_written_out(total, batch, last)

    def _add_gathered(self, total: Ints, batch: GatheredRows) -> None:
        """Add checked rows, by the fast path where it can; users are independent."""
        release, slow = self._release, has_twofold_rows(batch)
        if not np.any(slow):
            add_gathered(total, batch, release.clip_norm, self._clip_grid)
            return
        for user, by_hand in enumerate(slow):
            alone = batch.take(slice(user, user + 1))
            if by_hand:
                self._add_written_out(total, alone, int(alone.users[0]) - 1)
            else:
                add_gathered(total, alone, release.clip_norm, self._clip_grid)

    def _add_written_out(self, total: Ints, batch: Contributions, last: int) -> int:
        """Add rows that are checked as they are written out; the last user."""
        release, grid = self._release, self._clip_grid
        for block in checked((batch,), release, self._chosen, last):
            add_rows(total, block.rows, quantise(block, release.clip_norm, grid))
            last = int(block.users[-1])
        return last

    @property
    def _unit(self) -> float:
        """One unit of the grid, in natural units."""
        return self._release.clip_norm / self._clip_grid

    def _begin(self) -> None:
        if self._sums >= self._release.steps:
            raise undeclared(self._release, f"covers {self._release.steps} sums only")
        if self._chosen is None and self._release.sampling_rate < 1:
            raise invalid(self._release, "summed without a sample")
        self._sums += 1


def checked(
    contributions: Iterable[Contributions],
    release: Release,
    chosen: NDArray[np.bool_] | None,
    last: int = -1,
) -> Iterable[SparseRows]:
    """Blocks of whole users behind `last`, checked: what is summed is what was looked at."""
    for batch in contributions:
        for raw in batch.expand(_BLOCK_VALUES):
            block = _as_numbers(raw, release)
            if len(block.users) == 0:
                continue
            _check_shape(block, release)
            check_users(block.users, last, release, chosen)
            check_rows(block.indptr, block.rows, release)
            last = int(block.users[-1])
            yield block


def _as_numbers(block: SparseRows, release: Release) -> SparseRows:
    """Signed positions and float64 values, whatever the solver yielded."""
    positions = (block.users, block.indptr, block.rows)
    if any(array.dtype.kind not in "iu" or array.ndim != 1 for array in positions):
        raise invalid(release, "users, indptr or rows are not vectors of integers")
    users, indptr, rows = (array.astype(np.int64, copy=False) for array in positions)
    return SparseRows(users, indptr, rows, block.values.astype(np.float64, copy=False))


def _check_shape(block: SparseRows, release: Release) -> None:
    entries = len(block.rows)
    if block.values.shape != (entries, release.width):
        raise invalid(release, f"values {block.values.shape}, not ({entries}, {release.width})")
    check_cut(block.indptr, len(block.users), entries, release)

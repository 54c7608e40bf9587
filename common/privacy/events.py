"""What the ledger stores of a release: parameters of a mechanism, never an ε.

The vocabulary is append-only: a kind is never removed and never given another meaning.

kind                            what it says
gaussian-sum                    `steps` Poisson-sampled sums with integer noise of σ
                                `sigma_grid` on vectors of norm at most `clip_grid`, for one
                                user added or removed
selected-gaussian-sum           the same, where noised counts choose the rows that leave
distributed-discrete-gaussian   one secure sum of vectors of norm at most `clip_grid`, in
                                whose total `threshold - colluders` clients, unknown to the
                                server and the colluders, each have a share of the noise
no-privacy                      something left without a mechanism: no finite ε covers it
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from common.config import Settings
from common.errors import Code, LedgerError, PlanError
from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import (
    NoiseShares,
    Release,
    ReleaseShape,
    RowSelection,
    SafeTerms,
    Sampler,
)
from common.privacy.samplers import grid_sigma, make_sampler
from common.privacy.samplers.base import LARGEST_SIGMA_GRID
from common.privacy.samplers.shares import SMALLEST_SHARE_VARIANCE, shares_total_variation
from common.privacy.selection import SelectedSumEvent, halves
from common.privacy.words import shorter, size

__all__ = [
    "DistributedDiscreteGaussianEvent",
    "Event",
    "GaussianSumEvent",
    "NoPrivacyEvent",
    "NoisySumEvent",
    "SelectedSumEvent",
    "event_of",
    "read_event",
    "snap",
    "snapped",
]


class GaussianSumEvent(Settings):
    """Noisy sums of integer contributions."""

    kind: Literal["gaussian-sum"] = "gaussian-sum"
    sampler: Sampler
    """Which law the noise has."""
    sigma_grid: int = Field(gt=0)
    """Standard deviation of the noise in grid units."""
    clip_grid: int = Field(gt=0, le=LARGEST_CLIP_GRID)
    """Largest norm of one user's contribution in grid units."""
    rows: int = Field(gt=0)
    """Rows of each sum."""
    width: int = Field(gt=0)
    """Columns of each sum."""
    sampling_rate: float = Field(gt=0, le=1)
    """Probability with which a user takes part in each sum (Poisson)."""
    steps: int = Field(gt=0)
    """Number of sums."""

    @property
    def noise_multiplier(self) -> float:
        """σ over clip norm, rounded down."""
        return math.nextafter(self.sigma_grid / self.clip_grid, 0.0)

    @property
    def draws(self) -> int:
        """Noise values in all sums together."""
        return self.rows * self.width * self.steps

    @property
    def total_variation(self) -> float:
        """Bound on the distance of all noise to rounded Gaussians."""
        return make_sampler(self.sampler, self.sigma_grid).total_variation(self.draws)


class DistributedDiscreteGaussianEvent(SafeTerms):
    """One secure sum of integer contributions, the noise of which clients share.

    Guarantee:
        Against the server and `colluders` clients together, who may do as they like and see
        every total: in each one at least `honest` clients have a share of the noise that they
        do not know (2t > n + c, and survivors' lists agreed by t signatures). The event is
        one Gaussian sum with σ over sensitivity of `noise_multiplier`, up to
        `total_variation` (Kairouz, Liu, Steinke 2021; docs/privacy/shared-noise.md).
    """

    kind: Literal["distributed-discrete-gaussian"] = "distributed-discrete-gaussian"
    share_variance: int = Field(ge=SMALLEST_SHARE_VARIANCE, le=LARGEST_SIGMA_GRID**2)
    """Variance parameter of the discrete Gaussian that each client adds, grid units²."""
    clip_grid: int = Field(gt=0, le=LARGEST_CLIP_GRID)
    """Largest norm of one user's contribution in grid units, after rounding."""
    word_bits: Literal[32, 64]
    """k: the total is known modulo 2^k."""
    rows: int = Field(gt=0)
    """Rows of the sum."""
    width: int = Field(gt=0)
    """Columns of the sum."""

    @property
    def noise_multiplier(self) -> float:
        """σ of `honest` shares over clip norm, rounded down."""
        return _root(self.honest * self.share_variance, self.clip_grid)

    @property
    def sampling_rate(self) -> float:
        """Everybody takes part: who was left out would be known."""
        return 1.0

    @property
    def steps(self) -> int:
        """Number of sums."""
        return 1

    @property
    def draws(self) -> int:
        """Noise values in the sum."""
        return self.rows * self.width

    @property
    def total_variation(self) -> float:
        """Bound on the distance of all noise to rounded Gaussians."""
        return shares_total_variation(self.share_variance, self.honest, self.draws)


class NoPrivacyEvent(Settings):
    """A release without a mechanism (mode `none`)."""

    kind: Literal["no-privacy"] = "no-privacy"
    rows: int = Field(gt=0)
    """Rows of each sum."""
    width: int = Field(gt=0)
    """Columns of each sum."""
    steps: int = Field(gt=0)
    """Number of sums."""


NoisySumEvent: TypeAlias = GaussianSumEvent | SelectedSumEvent | DistributedDiscreteGaussianEvent
"""Priced by noise multiplier, sampling rate, steps and distance, whoever adds the noise."""
Event: TypeAlias = NoisySumEvent | NoPrivacyEvent
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def read_event(values: Mapping[str, Any]) -> Event:
    """An event from its stored form (`event.model_dump(mode="json")`).

    Raises:
        LedgerError: `ledger-broken`, an unknown kind or a bad field.
    """
    try:
        return _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise LedgerError(
            Code.LEDGER_BROKEN,
            f"an event cannot be read: {error.errors(include_url=False)[0]['msg']}.",
            where=f"event {values.get('kind')!r}",
            remedy="Use a version of HushRec at least as new as the one that wrote it.",
        ) from None


def event_of(release: Release) -> Event:
    """The event of a planned release; its σ over clip is at least the planned multiplier.

    Raises:
        PlanError: `plan-unreachable`, the multiplier has no grid.
    """
    if release.noise_multiplier == 0:
        return NoPrivacyEvent(rows=release.rows, width=release.width, steps=release.steps)
    if release.shares is not None:
        return _shared(release, release.shares)
    if release.selection is not None:
        return _selected(release, release.selection)
    sigma, clip = _grid(release.sampler, release.noise_multiplier, release.step)
    return GaussianSumEvent(
        sampler=release.sampler,
        sigma_grid=sigma,
        clip_grid=clip,
        rows=release.rows,
        width=release.width,
        sampling_rate=release.sampling_rate,
        steps=release.steps,
    )


def snap(sampler: Sampler, noise_multiplier: float, step: str) -> float:
    """The multiplier that the grid really gives, at least `noise_multiplier`."""
    sigma, clip = _grid(sampler, noise_multiplier, step)
    exact = sigma / clip
    return exact if Fraction(exact) * clip <= sigma else math.nextafter(exact, 0.0)


def snapped(shape: ReleaseShape, noise_multiplier: float) -> float:
    """The multiplier to plan for `noise_multiplier`, never below it, where a client adds all.

    That of the grid; where rows are chosen, and there are two grids, the shortest close one.
    """
    if shape.selection is not None:
        return shorter(noise_multiplier)
    return snap(shape.sampler, noise_multiplier, shape.step)


def _selected(release: Release, selection: RowSelection) -> SelectedSumEvent:
    counts, values = halves(selection, release.noise_multiplier)
    count_sigma, count_clip = _grid(release.sampler, counts, release.step)
    sigma, clip = _grid(release.sampler, values, release.step)
    return SelectedSumEvent(
        sampler=release.sampler,
        sigma_grid=sigma,
        clip_grid=clip,
        count_sigma_grid=count_sigma,
        count_clip_grid=count_clip,
        rows=release.rows,
        width=release.width,
        dense_rows=selection.dense_rows,
        sampling_rate=release.sampling_rate,
        steps=release.steps,
    )


def _shared(release: Release, shares: NoiseShares) -> DistributedDiscreteGaussianEvent:
    try:
        variance, clip = size(shares, release.noise_multiplier)
    except ValueError as error:
        raise _no_grid(error, release.step) from None
    return DistributedDiscreteGaussianEvent(
        clients=shares.clients,
        threshold=shares.threshold,
        colluders=shares.colluders,
        share_variance=variance,
        clip_grid=clip,
        word_bits=shares.word_bits,
        rows=release.rows,
        width=release.width,
    )


@functools.lru_cache(maxsize=1 << 10)
def _root(variance: int, clip_grid: int) -> float:
    """The largest float not above the square root of `variance`, over `clip_grid`."""
    found = math.sqrt(variance) / clip_grid
    while (Fraction(found) * clip_grid) ** 2 > variance:
        found = math.nextafter(found, 0.0)
    return found


def _grid(sampler: Sampler, noise_multiplier: float, step: str) -> tuple[int, int]:
    try:
        return _known_grid(sampler, noise_multiplier)
    except ValueError as error:
        raise _no_grid(error, step) from None


def _no_grid(error: ValueError, step: str) -> PlanError:
    return PlanError(
        Code.PLAN_UNREACHABLE,
        f"{error}.",
        where=f"release {step!r}",
        remedy="Choose another ε, or other shares of it.",
    )


@functools.lru_cache(maxsize=1 << 10)
def _known_grid(sampler: Sampler, noise_multiplier: float) -> tuple[int, int]:
    sigma = grid_sigma(sampler, noise_multiplier)
    clip = math.floor(Fraction(sigma) / Fraction(noise_multiplier))
    if clip > LARGEST_CLIP_GRID:
        raise ValueError(f"noise multiplier {noise_multiplier!r} is next to no noise")
    return sigma, clip

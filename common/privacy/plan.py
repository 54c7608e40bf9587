"""The plan: frozen before a run, and the one source of clipping, sampling, noise and event."""

from __future__ import annotations

import math
from typing import Any, Literal, Self, TypeAlias

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from common.config import Settings
from common.errors import PolicyError
from common.privacy.roster import Terms

__all__ = [
    "Mode",
    "NoiseShares",
    "PrivacyPlan",
    "Release",
    "ReleaseShape",
    "RowSelection",
    "SafeTerms",
    "Sampler",
    "Unit",
]

Unit: TypeAlias = Literal["user", "interaction"]
Mode: TypeAlias = Literal["local", "distributed", "none"]
Sampler: TypeAlias = Literal["exact", "fast"]


class RowSelection(Settings):
    """Noise on few rows: those that enough users touch, by a count with noise of its own.

    DP-AdaFEST (Ghazi et al. 2023, algorithm 1); docs/privacy/selection.md.
    """

    share: float = Field(default=0.1, ge=1e-3, le=0.999)
    """Share of the release's 1/σ² for choosing rows; the values on them have the rest."""
    clip_norm: float = Field(default=1.0, ge=1e-6, le=1e6)
    """Largest L2 norm of one user's part in the counts, 1 for each row touched: who touches n
    rows counts as 1 on each, or as clip_norm / √n if that is less."""
    threshold: float = Field(ge=0, le=1e12)
    """τ: a row is kept if its noised count is at least this."""
    dense_rows: int = Field(default=0, ge=0)
    """So many rows at the end are always kept, and never counted: they are no embeddings."""


class ReleaseShape(Settings):
    """What a step asks to release, before anybody decided how much noise that takes."""

    step: str
    """Name of the step, `solver.step`, unique within a job."""
    rows: int = Field(gt=0)
    """Rows of the sum: items, or entries of a small vector."""
    width: int = Field(gt=0)
    """Columns of the sum."""
    share: float = Field(gt=0)
    """Share of the budget, in units of 1/σ² (shares are normalised over the plan)."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest L2 norm of one user's contribution (Frobenius norm of its matrix)."""
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Probability with which each user takes part in each noisy sum (Poisson)."""
    steps: int = Field(default=1, gt=0)
    """Noisy sums inside the release (local steps of a gradient solver)."""
    sampler: Sampler = "exact"
    """`exact` discrete Gaussian, or `fast` for tens of millions of draws. Shares of noise are
    always exact."""
    selection: RowSelection | None = None
    """How rows are chosen for each noisy sum; None: all of them leave, each with its noise."""

    @model_validator(mode="after")
    def _some_rows_to_choose(self) -> Self:
        if self.selection is not None and self.selection.dense_rows >= self.rows:
            raise ValueError("all rows are dense: there is nothing to choose among")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a selection in the form that releases had before there was any."""
        values: dict[str, Any] = handler(self)
        if self.selection is None:
            values.pop("selection", None)
        return values


class SafeTerms(Settings):
    """How many clients a secure sum is made of: safe terms (`Terms.check`), or none at all."""

    clients: int = Field(gt=0, le=1_000_000)
    """n: clients on the roster."""
    threshold: int = Field(gt=0)
    """t: fewest clients of which a total is made."""
    colluders: int = Field(gt=0)
    """c: clients that may collude with the server, and know their own shares of the noise."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        try:
            self.terms.check()
        except PolicyError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def terms(self) -> Terms:
        """How many must answer, and how many may be against the others."""
        return Terms(self.clients, self.threshold, self.colluders)

    @property
    def honest(self) -> int:
        """Honest shares of noise in every total, h = t - c."""
        return self.terms.honest


class NoiseShares(SafeTerms):
    """How clients share the noise of one secure sum, and the words that it is made in."""

    population: int = Field(gt=0)
    """Declared users over all clients: the words have room for a multiple of them."""
    word_bits: Literal[32, 64]
    """k: words are integers modulo 2^k."""


class Release(ReleaseShape):
    """One planned release of one client."""

    noise_multiplier: float = Field(ge=0)
    """σ of each entry divided by `clip_norm`; 0 only in mode `none`. In mode `distributed` that
    of `shares.honest` shares together, whatever else is in a total. With a `selection` that of
    counts and values together: each has more noise."""
    shares: NoiseShares | None = None
    """Who adds which part of the noise; None where a client adds all of its own."""

    @model_validator(mode="after")
    def _one_secure_sum(self) -> Self:
        if self.shares is not None and (self.sampling_rate < 1 or self.steps > 1):
            raise ValueError("a release with shared noise is one sum over everybody")
        if self.shares is not None and self.selection is not None:
            raise ValueError("rows cannot be chosen in a sum whose noise is shared")
        return self

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on an entry that has any, natural units."""
        part = 1.0 if self.selection is None else 1.0 - self.selection.share
        return self.noise_multiplier / math.sqrt(part) * self.clip_norm

    @property
    def count_noise_std(self) -> float:
        """Standard deviation of the noise on each count that chooses rows, 0 without any."""
        if self.selection is None:
            return 0.0
        return self.noise_multiplier / math.sqrt(self.selection.share) * self.selection.clip_norm


class PrivacyPlan(Settings):
    """Everything that decides a job's guarantee at one client.

    Guarantee:
        Unit `unit` under add/remove; (`epsilon`, `delta`) by PLD over all releases.
        Holds against whom `mode` says.
    """

    unit: Unit
    mode: Mode
    delta: float = Field(ge=0, lt=1)
    epsilon: float | None
    """Target ε; None in mode `none`, where no guarantee is given."""
    releases: tuple[Release, ...] = Field(min_length=1)
    """In order of the job's steps."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bare = self.mode == "none"
        if bare != (self.epsilon is None):
            raise ValueError("mode `none` has no epsilon, every other mode has one")
        if any((release.noise_multiplier == 0) != bare for release in self.releases):
            raise ValueError("noise is 0 in mode `none` and nowhere else")
        shared = self.mode == "distributed"
        if any((release.shares is not None) != shared for release in self.releases):
            raise ValueError("noise is shared in mode `distributed` and nowhere else")
        if self.unit != "user" and any(r.selection is not None for r in self.releases):
            raise ValueError("a choice of rows is proven for unit `user` only")
        names = [release.step for release in self.releases]
        if len(set(names)) < len(names):
            raise ValueError("two releases have the same step")
        return self

    @property
    def terms(self) -> Terms | None:
        """Terms of its secure sums; None where a client adds all of its noise."""
        shares = self.releases[0].shares
        return None if shares is None else shares.terms

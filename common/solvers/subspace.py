"""Matrix factorisation by noisy subspace iteration: few rounds, each one clipped sum.

Step 0 is the popularity sum. It fixes a weight for each item, w = (pop/mean + offset)^-β,
and the direction p of w∘pop, which every user's row shares.
In step t = 1…T the server sends w and a basis B `[items, dim]` orthogonal to p. With x the
user's row (w on their own items, norm 1) and u = xB/‖xB‖, the contribution is the outer
product x uᵀ: Frobenius norm 1, so that nothing is lost to clipping.
The server takes the part along p out of the noised total Y_t, sets it beside all earlier
ones, each divided by its noise, and takes the SVD V s Wᵀ of the stack. The next basis is
V/s: whitened, so that weak directions of taste are asked about as loudly as strong ones.
Without noise and with one round this is randomised SVD (Halko, Martinsson, Tropp 2011,
section 4.3) with whitening in the place of orthonormalisation.
The left singular vectors of all releases together, times their singular values, and p as
one more column, are the item embeddings. Every release has sensitivity 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from common.arrays import Floats, Histories, Ints, State
from common.config import Settings as BaseSettings
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.contributions import Contributions
from common.privacy.gdp import gaussian_mu
from common.privacy.plan import ReleaseShape
from common.privacy.rank_one import RankOne
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step
from common.solvers.popularity import POPULARITY, popularity_contribution, popularity_from

__all__ = ["Subspace"]

WEIGHT: Final = "item_weight"
BASIS: Final = "basis"
START: Final = "start"
RELEASES: Final = "releases"
"""All noised totals so far, each without its part along p and divided by its noise."""

_TINY: Final = 1e-12


class Subspace:
    """The solver `subspace`."""

    class Settings(BaseSettings):
        """What can be chosen; the defaults were chosen on validation events."""

        rounds: int = Field(default=6, ge=1, le=100)
        """T, rounds after the popularity sum."""
        embedding_dim: int | None = Field(default=None, ge=1, le=512)
        """Dimensions of the subspace; absent: as many as the noise lets through."""
        dim_factor: float = Field(default=1.8, gt=0, le=100)
        """How many that is: factor · √(μ · signal / √items), signal in declared users."""
        popularity_share: float = Field(default=0.1, ge=1e-4, le=0.9999)
        """Share of the budget for the popularity sum; the rounds share the rest equally."""
        weight_exponent: float = Field(default=0.4, ge=0, le=2)
        """β: how much less a popular item counts in a user's row."""
        weight_offset: float = Field(default=0.5, ge=1e-3, le=1e3)
        """Added to relative popularity before the power."""
        spectrum_floor: float = Field(default=0.05, ge=1e-3, le=1)
        """Singular values below this share of the largest are not whitened further."""
        unobserved_weight: float = Field(default=0.3, ge=0, le=1e3)
        """α0 of the fold-in."""
        regularisation: float = Field(default=0.1, ge=1e-6, le=1e6)
        """λ of the fold-in; embeddings are scaled to a mean square column norm of 1."""

    model_kind: ClassVar[str] = MatrixFactorisation.kind

    def __init__(self, settings: Settings, facts: PublicFacts) -> None:
        self.settings = settings
        self.facts = facts

    @property
    def dim(self) -> int:
        """Dimensions of the subspace, a function of settings and public facts."""
        settings, facts = self.settings, self.facts
        largest = facts.n_items - 1
        if settings.embedding_dim is not None:
            return max(1, min(settings.embedding_dim, largest))
        if facts.epsilon is None:
            return max(1, min(64, largest))
        mu = gaussian_mu(facts.epsilon, facts.delta)
        rule = settings.dim_factor * np.sqrt(mu * facts.signal / np.sqrt(facts.n_items))
        return int(np.clip(round(float(rule)), min(4, largest), min(64, largest)))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Popularity, then the rounds."""
        items, settings = self.facts.n_items, self.settings
        share = (1 - settings.popularity_share) / settings.rounds
        popularity = ReleaseShape(
            step="subspace.popularity", rows=items, width=1, share=settings.popularity_share
        )
        inputs = {
            WEIGHT: ArraySpec((items,), positive=True),
            BASIS: ArraySpec((items, self.dim), max_abs=1.01 / settings.spectrum_floor),
        }
        rounds = (
            Step(
                ReleaseShape(step=f"subspace.round{t}", rows=items, width=self.dim, share=share),
                inputs,
            )
            for t in range(1, settings.rounds + 1)
        )
        return (Step(popularity, {}), *rounds)

    @property
    def fold_in(self) -> FoldIn:
        """Ridge on the embeddings."""
        return FoldIn(
            unobserved_weight=self.settings.unobserved_weight,
            regularisation=self.settings.regularisation,
        )

    @property
    def model_settings(self) -> FoldIn:
        """The same, by the name that a solver of any kind has for it."""
        return self.fold_in

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the model; one more column than the subspace has, for popularity."""
        return MatrixFactorisation.specs_of(self.facts.n_items, self.dim + 1)

    def initial_state(self, seed: int) -> State:
        """A random basis to start from; public."""
        rng = np.random.default_rng(seed)
        return {START: rng.standard_normal((self.facts.n_items, self.dim))}

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """The outer product x uᵀ of each user; norm 1, or 0 where u vanishes."""
        if step == 0:
            yield popularity_contribution(data.histories, users)
            return
        chosen = data.histories.take(users)
        left = _rows(chosen, state[WEIGHT])
        yield RankOne(
            users, chosen.indptr, chosen.items, left, _project(chosen, left, state[BASIS])
        )

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """Fix weights and direction after step 0, then refine the subspace."""
        if step == 0:
            return self._begin(state, total)
        direction = _direction(state)
        release = total.values - np.outer(direction, direction @ total.values)
        release /= total.noise_std if total.noise_std > 0 else 1.0
        earlier = state.get(RELEASES)
        releases = release if earlier is None else np.hstack([earlier, release])
        shrunk = _shrink_rows(releases, state[POPULARITY]) if total.noise_std > 0 else releases
        basis = self._whitened(shrunk)
        return {**state, RELEASES: releases, BASIS: basis}

    def finish(self, state: State) -> MatrixFactorisation:
        """Embeddings from all releases; popularity alone before the first round."""
        popularity = state[POPULARITY]
        direction = _direction(state)[:, None]
        embeddings = np.hstack([self._tastes(state), direction])
        return MatrixFactorisation.from_embeddings(embeddings, popularity, self.fold_in)

    def _tastes(self, state: State) -> Floats:
        """Columns beside popularity, `[items, dim]`: what stands out of the noise, else zero.

        Noise of standard deviation 1 alone has singular values up to √items + √columns
        (Vershynin 2018, theorem 4.4.5): weaker directions are nothing but noise.
        """
        tastes: Floats = np.zeros((self.facts.n_items, self.dim))
        if RELEASES not in state:
            return tastes
        releases = state[RELEASES]
        left, spectrum = _left_singular(releases, self.dim)
        edge = sum(np.sqrt(releases.shape)) if self.facts.private else 0.0
        kept = spectrum > edge
        if kept.any():
            scale = spectrum[kept] / np.sqrt(np.mean(spectrum[kept] ** 2))
            tastes[:, : kept.sum()] = left[:, kept] * scale
        return tastes

    def _begin(self, state: State, total: NoisyTotal) -> State:
        settings = self.settings
        popularity = popularity_from(total)
        relative = popularity / popularity.mean()
        weight = (relative + settings.weight_offset) ** -settings.weight_exponent
        started: State = {POPULARITY: popularity, WEIGHT: weight}
        direction = _direction(started)
        start = state[START] - np.outer(direction, direction @ state[START])
        return {**started, BASIS: np.linalg.qr(start)[0]}

    def _whitened(self, releases: Floats) -> Floats:
        """V/s of the stack, scaled so that the strongest direction has norm 1."""
        left, spectrum = _left_singular(releases, self.dim)
        floor = max(self.settings.spectrum_floor * spectrum[0], _TINY)
        whitened: Floats = left * (spectrum[0] / np.maximum(spectrum, floor))
        return whitened


def _left_singular(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    """The first left singular vectors and singular values, through the smaller Gramian.

    Squaring costs the digits of directions 1e-8 below the first; they are noise or floored.
    """
    eigenvalues, right = np.linalg.eigh(matrix.T @ matrix)
    order = np.argsort(eigenvalues)[::-1][:count]
    spectrum = np.sqrt(np.maximum(eigenvalues[order], 0.0))
    left: Floats = (matrix @ right[:, order]) / np.maximum(spectrum, _TINY)
    missing = count - left.shape[1]
    return np.pad(left, ((0, 0), (0, missing))), np.pad(spectrum, (0, missing))


def _direction(state: State) -> Floats:
    """p: what every row shares, norm 1."""
    direction: Floats = state[POPULARITY] * state[WEIGHT]
    return direction / np.linalg.norm(direction)


def _rows(histories: Histories, weight: Floats) -> Floats:
    """Each user's row at their own items, norm 1, `[events]`."""
    values = weight[histories.items].astype(np.float64)
    norms = np.sqrt(np.bincount(histories.user_of_event, values**2, minlength=histories.n_users))
    rows: Floats = values / np.repeat(np.maximum(norms, _TINY), histories.lengths)
    return rows


def _project(histories: Histories, left: Floats, basis: Floats) -> Floats:
    """U = xB/‖xB‖ of each user, `[users, dim]`; zero where xB vanishes."""
    from scipy.sparse import csr_array  # heavy; the server never needs it

    rows = csr_array(
        (left, histories.items, histories.indptr), shape=(histories.n_users, histories.n_items)
    )
    projected = np.asarray(rows @ basis.astype(np.float64))
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.where(norms > _TINY, projected / np.maximum(norms, _TINY), 0.0)


def _shrink_rows(releases: Floats, popularity: Floats) -> Floats:
    """Wiener factor of each row: signal energy as popularity predicts it, noise 1 per entry."""
    energy = max(float((releases**2).sum()) - releases.size, 1e-3 * releases.size)
    expected = popularity / popularity.sum() * energy
    shrunk: Floats = releases * (expected / (expected + releases.shape[1]))[:, None]
    return shrunk

"""Exact federated implicit ALS: every epoch is one sum over users, solved on the server.

Client: u = argmin of the user's half (`common.models.fold_in`); on row i of each own item
the contribution is w_ui [uuᵀ, u, 1], on one extra row [uuᵀ, u, 1]. Server: with A_i, b_i, n_i
the sums on row i and G, n those on the extra row,
v_i = (A_i + α0 G + λ (n_i + α0 n)^ν I)⁻¹ b_i (Rendle et al. 2021, "Revisiting the performance
of iALS on item recommendation benchmarks"). Summed over clients this is the central model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.linalg.lapack import dposv

from common.arrays import Floats, Ints, State
from common.config import Settings
from common.errors import Code, PlanError
from common.models.fold_in import FoldIn, fold_in_users
from common.models.mf import MatrixFactorisation
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.plan import ReleaseShape
from common.privacy.rank_one import RankOne
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step

__all__ = ["GramRows", "Ials", "IalsSettings"]


class IalsSettings(Settings):
    """Settings of exact implicit ALS. A total has items · dim (dim + 3) / 2 values."""

    embedding_dim: int = Field(default=64, gt=0, le=512)
    """Length of the vectors."""
    rounds: int = Field(default=12, gt=0, le=1_000)
    """Epochs: each is one sum over all users."""
    regularisation: float = Field(default=0.0065, ge=1e-4, le=1e4)
    """λ."""
    unobserved_weight: float = Field(default=0.3, gt=0, le=1e3)
    """α0."""
    frequency_exponent: float = Field(default=1.0, ge=0, le=1)
    """ν, how much the regularisation grows with the number of events."""
    init_stddev: float = Field(default=0.1, ge=1e-6, le=1e3)
    """Standard deviation of the norm of a first item vector (divided by √dim per entry)."""
    user_factor: float = Field(default=1.6, ge=0.01, le=100)
    """λ of users in units of λ while training; 1 is Rendle et al. (chosen on validation)."""
    serving_factor: float = Field(default=0.65, ge=0.01, le=100)
    """λ of users in units of λ in serving; 1 is Rendle et al. (chosen on validation)."""

    def fold_in_with(self, factor: float) -> FoldIn:
        """The user half, with λ times `factor`."""
        return FoldIn(
            unobserved_weight=self.unobserved_weight,
            regularisation=self.regularisation * factor,
            frequency_exponent=self.frequency_exponent,
        )


@dataclass(frozen=True)
class GramRows:
    """Contributions `left[e] * [upper triangle of uuᵀ, u, 1]` on row `rows[e]`.

    A `RankOne` whose right side is never written out for the plain sum.

    Attributes:
        users: `[batch]`, strictly increasing.
        indptr: `[batch + 1]`.
        rows: `[entries]`, strictly increasing within a user.
        left: `[entries]`, non-negative.
        vectors: `[batch, dim]`, u.
    """

    users: Ints
    indptr: Ints
    rows: Ints
    left: Floats
    vectors: Floats

    def expand(self, max_values: int) -> Iterator[SparseRows]:
        """Write the contributions out, whole users at a time."""
        for user in range(len(self.users)):
            own = slice(self.indptr[user], self.indptr[user + 1])
            right = pack(self.vectors[user])[None]
            indptr = self.indptr[user : user + 2] - self.indptr[user]
            one = self.users[user : user + 1]
            yield from RankOne(one, indptr, self.rows[own], self.left[own], right).expand(
                max_values
            )

    def add_to(self, total: Floats) -> None:
        """Add the sum to `total`: one symmetric product per row."""
        if len(self.rows) == 0:
            return
        dim = self.vectors.shape[1]
        upper = _upper(dim)
        order = np.argsort(self.rows, kind="stable")
        owner = np.repeat(np.arange(len(self.users)), np.diff(self.indptr))[order]
        left = self.left[order]
        rows, starts = np.unique(self.rows[order], return_index=True)
        for row, start, stop in zip(rows, starts, [*starts[1:], len(order)], strict=True):
            vectors, weights = self.vectors[owner[start:stop]], left[start:stop]
            scaled = np.sqrt(weights)[:, None] * vectors
            total[row, : len(upper)] += (scaled.T @ scaled).ravel().take(upper)
            total[row, len(upper) : -1] += weights @ vectors
            total[row, -1] += weights.sum()


class Ials:
    """Exact implicit ALS over a federation; mode `none` only.

    Raises:
        PlanError: `plan-mode`, privacy was asked for: these contributions are not bounded.
    """

    Settings: ClassVar[type[IalsSettings]] = IalsSettings

    model_kind: ClassVar[str] = MatrixFactorisation.kind

    def __init__(self, settings: IalsSettings, facts: PublicFacts) -> None:
        if facts.private:
            raise _not_private()
        self.settings = settings
        self.facts = facts

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per epoch."""
        dim = self.settings.embedding_dim
        inputs = {"item_embeddings": ArraySpec((self.facts.n_items, dim))}
        rows, width = self.facts.n_items + 1, packed_width(dim)
        shapes = (
            ReleaseShape(step=f"ials.epoch_{epoch}", rows=rows, width=width, share=1.0)
            for epoch in range(1, self.settings.rounds + 1)
        )
        return tuple(Step(shape, inputs) for shape in shapes)

    @property
    def fold_in(self) -> FoldIn:
        """The user half as the finished model is served."""
        return self.settings.fold_in_with(self.settings.serving_factor)

    @property
    def model_settings(self) -> FoldIn:
        """The same, by the name that a solver of any kind has for it."""
        return self.fold_in

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the finished model."""
        return MatrixFactorisation.specs_of(self.facts.n_items, self.settings.embedding_dim)

    def initial_state(self, seed: int) -> State:
        """Draw small Gaussian item vectors; no item is popular yet."""
        dim = self.settings.embedding_dim
        stddev = self.settings.init_stddev / np.sqrt(dim)
        vectors = np.random.default_rng(seed).normal(0.0, stddev, (self.facts.n_items, dim))
        popularity = np.ones(self.facts.n_items, np.float32)
        return {"item_embeddings": vectors.astype(np.float32), "popularity": popularity}

    def contribute(
        self,
        step: int,  # noqa: ARG002 - all epochs are alike
        state: State,
        data: ClientData,
        users: Ints,
    ) -> Iterator[Contributions]:
        """Solve the users' vectors exactly and contribute their products, in one batch."""
        histories = data.histories.take(users)
        active = np.flatnonzero(histories.lengths)
        histories = histories.take(active)
        weight = np.ones(self.facts.n_items)
        fold_in = self.settings.fold_in_with(self.settings.user_factor)
        vectors = fold_in_users(histories, state["item_embeddings"], weight, fold_in)
        ends = histories.indptr[1:]
        yield GramRows(
            users=users[active],
            indptr=histories.indptr + np.arange(len(active) + 1),
            rows=np.insert(histories.items, ends, self.facts.n_items),
            left=np.insert(histories.weights, ends, 1.0),
            vectors=vectors,
        )

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:  # noqa: ARG002
        """Solve the item vectors.

        Raises:
            PlanError: `plan-mode`, the total is noisy; this solver cannot use it.
        """
        if total.noise_std != 0.0:
            raise _not_private()
        vectors = solve_items(total.values, self.settings)
        popularity = np.maximum(total.values[:-1, -1], 0.5).astype(np.float32)
        return {"item_embeddings": vectors.astype(np.float32), "popularity": popularity}

    def finish(self, state: State) -> MatrixFactorisation:
        """Make the model from the last state."""
        return MatrixFactorisation.from_embeddings(
            state["item_embeddings"], state["popularity"], self.fold_in
        )


def packed_width(dim: int) -> int:
    """Columns of a total: upper triangle of uuᵀ, u, and 1."""
    return dim * (dim + 1) // 2 + dim + 1


def pack(vector: Floats) -> Floats:
    """`[upper triangle of uuᵀ, u, 1]` of one vector, `[packed_width]`."""
    upper = np.outer(vector, vector).ravel().take(_upper(len(vector)))
    return np.concatenate([upper, vector, np.ones(1)])


def solve_items(total: Floats, settings: IalsSettings) -> Floats:
    """Item vectors `[items, dim]` from a total `[items + 1, packed_width]`."""
    dim, unobserved = settings.embedding_dim, settings.unobserved_weight
    upper = _upper(dim)
    mass = total[:-1, -1] + unobserved * total[-1, -1]
    ridge = settings.regularisation * np.power(np.maximum(mass, 0.0), settings.frequency_exponent)
    everywhere = unobserved * total[-1, : len(upper)].astype(np.float64)
    system: Floats = np.zeros((dim, dim))
    vectors: Floats = np.zeros((len(total) - 1, dim))
    for item in np.flatnonzero(total[:-1, -1]):
        system.put(upper, everywhere + total[item, : len(upper)])
        system.flat[:: dim + 1] += ridge[item]
        # the transposed view is column-major, its lower triangle is our upper one
        vectors[item] = dposv(system.T, total[item, len(upper) : -1], lower=True)[1]
    return vectors


def _upper(dim: int) -> Ints:
    """Flat positions of the upper triangle of a `[dim, dim]` matrix."""
    rows, columns = np.triu_indices(dim)
    return (rows * dim + columns).astype(np.int64)


def _not_private() -> PlanError:
    return PlanError(
        Code.PLAN_MODE,
        "ials has no privacy: what a user contributes to its sums is not bounded.",
        where="solver",
        remedy="Use --solver subspace or dpsgd, or say --no-privacy with --mode none.",
    )

"""Popularity: one sum, the first step of other solvers and a recommender of its own.

A user contributes 1/√n on each of their n items: norm 1, nothing is lost to clipping, and a
shopper of everything counts no more than anybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from common.arrays import Floats, Histories, Ints, State
from common.config import Settings as BaseSettings
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.plan import ReleaseShape
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step

__all__ = ["Popularity", "popularity_contribution", "popularity_from"]

POPULARITY: Final = "popularity"


def popularity_contribution(histories: Histories, users: Ints) -> SparseRows:
    """1/√n_u on each item of each of `users`; L2 norm 1, or 0 without events. Sensitive."""
    chosen = histories.take(users)
    # by sqrt, which is rounded right: a power may round by its place in the array
    values = np.repeat(1.0 / np.sqrt(np.maximum(chosen.lengths, 1)), chosen.lengths)
    return SparseRows(users, chosen.indptr, chosen.items, values[:, None])


def popularity_from(total: NoisyTotal) -> Floats:
    """Released popularity, `[items]`, positive: the noised sum, at least half its noise."""
    floor = max(total.noise_std / 2, 1e-3)
    return np.maximum(total.values[:, 0], floor)


class Popularity:
    """Noised popularity with the whole budget: the control that a model must beat."""

    class Settings(BaseSettings):
        """Nothing to choose but the number of rounds, which is one."""

        rounds: int = Field(default=1, ge=1, le=1)
        """One sum is all there is."""

    model_kind: ClassVar[str] = MatrixFactorisation.kind

    def __init__(self, settings: Settings, facts: PublicFacts) -> None:
        self.settings = settings
        self.facts = facts

    @property
    def steps(self) -> tuple[Step, ...]:
        """The one sum."""
        return (
            Step(
                ReleaseShape(step="popularity.count", rows=self.facts.n_items, width=1, share=1.0),
                {},
            ),
        )

    @property
    def fold_in(self) -> FoldIn:
        """Nobody is folded in: every shopper is shown the same."""
        return FoldIn()

    @property
    def model_settings(self) -> FoldIn:
        """The same, by the name that a solver of any kind has for it."""
        return self.fold_in

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the model."""
        return MatrixFactorisation.specs_of(self.facts.n_items, 1)

    def initial_state(self, seed: int) -> State:
        """Nothing is known."""
        del seed
        return {}

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """The popularity contribution of each user."""
        del step, state
        yield popularity_contribution(data.histories, users)

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """Keep the popularity."""
        del step
        return {**state, POPULARITY: popularity_from(total)}

    def finish(self, state: State) -> MatrixFactorisation:
        """A model whose vectors are zero, so that popularity alone ranks."""
        popularity: Any = state[POPULARITY]
        zeros = np.zeros((self.facts.n_items, 1), dtype=np.float32)
        return MatrixFactorisation.from_embeddings(zeros, popularity, FoldIn())

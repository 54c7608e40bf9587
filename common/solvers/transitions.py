"""The solver `transitions`: what comes after what, by one more clipped sum behind the subspace.

The first steps are those of `subspace`. Its item vectors, whitened over events, say what an
event means as one of the last ones. Then one sum: a user with n events contributes, on the row
of every event but the first, the context that they bought it in (norm 1, `contexts_before`),
times 1/√(n - 1). A user's contribution has norm 1 at most, so nothing is lost to clipping, and
one release says of every item in which contexts it comes: it is the first step of gradient
descent on the cross-entropy of the next item, which is all that a budget has room for.

The server takes from each row what the noise explains, as `subspace` does, and divides by
popularity^β. Everything is linear algebra on what is released; no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from common.arrays import Floats, Ints, State
from common.models.recency import contexts_before
from common.models.transitions import CONTEXT, NEXT, Decay, Transitions, TransitionsSettings
from common.privacy.contributions import Contributions, SparseRows
from common.privacy.plan import ReleaseShape
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step
from common.solvers.contained import contained
from common.solvers.first_steps import first_steps
from common.solvers.popularity import POPULARITY
from common.solvers.subspace import Subspace

__all__ = ["TransitionsSolver", "TransitionsSolverSettings"]

_FLATTEST: Final = 1e-4
"""Directions of events weaker than this share of the strongest are not whitened further."""


class TransitionsSolverSettings(Subspace.Settings):
    """Settings of the subspace, and of the sum behind it."""

    decays: tuple[Decay, ...] = Field(default=(0.8, 0.5), min_length=1, max_length=4)
    """γ: an event k before the last one counts γ^k; one context for each."""
    length: int = Field(default=15, ge=1, le=200)
    """Latest events that are read."""
    next_share: float = Field(default=0.4, ge=1e-3, le=0.999)
    """Share of the budget for the sum of contexts; the subspace has the rest."""
    popularity_exponent: float = Field(default=0.5, ge=0, le=1)
    """β: how much less a popular item counts for how often it comes."""


class TransitionsSolver:
    """The subspace of tastes, then one sum of contexts.

    Guarantee:
        Unit `user`: a contribution depends on one user's events and public state. Of whom
        none can be made there is none, and of everybody else there is.
    """

    Settings: ClassVar[type[TransitionsSolverSettings]] = TransitionsSolverSettings
    model_kind: ClassVar[str] = "transitions"

    def __init__(self, settings: TransitionsSolverSettings, facts: PublicFacts) -> None:
        self.settings = settings
        self.facts = facts
        own = {name: getattr(settings, name) for name in Subspace.Settings.model_fields}
        self._subspace = Subspace(Subspace.Settings(**own), facts)

    @property
    def model_settings(self) -> TransitionsSettings:
        """What the finished model needs beside its arrays."""
        return TransitionsSettings(
            context_dim=self._subspace.dim + 1,
            decays=self.settings.decays,
            length=self.settings.length,
        )

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the finished model."""
        return Transitions.specs(self.facts.n_items, self.model_settings, {})

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those of the subspace, then the sum of contexts."""
        share = self.settings.next_share
        shape = ReleaseShape(
            step="transitions.next",
            rows=self.facts.n_items,
            width=self.model_settings.dim,
            share=share,
        )
        inputs = {CONTEXT: self.model_specs[CONTEXT]}
        return (*first_steps(self._subspace, 1 - share), Step(shape, inputs))

    def initial_state(self, seed: int) -> State:
        """What the subspace begins with."""
        return self._subspace.initial_state(seed)

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """What the subspace asks for, or the contexts of each event but the first."""
        if step < self._sums:
            yield from self._subspace.contribute(step, state, data, users)
            return
        settings, vectors = self.settings, np.asarray(state[CONTEXT], np.float64)

        def of(batch: Ints) -> list[Contributions]:
            own = data.histories.take(batch)
            contexts = contexts_before(own, vectors, settings.decays, settings.length)
            weights = 1.0 / np.sqrt(np.maximum(own.lengths - 1, 1))
            values = contexts * np.repeat(weights, own.lengths)[:, None]
            return [SparseRows(batch, own.indptr, own.items, values)]

        yield from contained(users, of)

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """The next step of the subspace and, after its last, contexts; then what comes next."""
        if step < self._sums:
            after = {**state, **self._subspace.advance(step, state, total)}
            return after if step < self._sums - 1 else self._begin(after)
        return {**state, NEXT: self._next(state[POPULARITY], total)}

    def finish(self, state: State) -> Transitions:
        """The model from the last state."""
        arrays = {name: state[name] for name in self.model_specs}
        return Transitions.from_arrays(arrays, self.model_settings)

    @property
    def _sums(self) -> int:
        """Steps of the subspace."""
        return len(self._subspace.steps)

    def _begin(self, state: State) -> State:
        """Whitened vectors of items: over events, coordinates of variance 1."""
        vectors = self._subspace.finish(state).item_embeddings.astype(np.float64)
        popularity = state[POPULARITY]
        spread = (vectors * popularity[:, None]).T @ vectors / popularity.sum()
        variances, directions = np.linalg.eigh(spread)
        floor = max(_FLATTEST * float(variances.max()), np.finfo(np.float64).tiny)
        context = vectors @ directions / np.sqrt(np.maximum(variances, floor))
        return {POPULARITY: popularity, CONTEXT: context, NEXT: np.zeros(self._next_shape)}

    @property
    def _next_shape(self) -> tuple[int, int]:
        return self.facts.n_items, self.model_settings.dim

    def _next(self, popularity: Floats, total: NoisyTotal) -> Floats:
        """Rows of the total, less what the noise explains, by popularity^β."""
        relative = popularity / popularity.mean()
        divisor = np.maximum(relative, np.finfo(np.float64).tiny)[:, None]
        rows: Floats = total.values / divisor**self.settings.popularity_exponent
        if total.noise_std == 0:
            return rows
        noise = total.noise_std**2
        energy = float(np.square(total.values).sum()) - noise * total.values.size
        expected = popularity / popularity.sum() * max(energy, 1e-3 * noise * total.values.size)
        shrunk: Floats = rows * (expected / (expected + noise * rows.shape[1]))[:, None]
        return shrunk

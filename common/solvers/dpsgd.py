"""Matrix factorisation by differentially private gradient descent.

Round 0 releases popularity. Every other round has noisy steps:
1. the shoppers of the step refresh their own vectors, u = the ridge solution of implicit ALS
   over their own events (`common.models.fold_in`); u never leaves;
2. one sample is one user: loss ½ Σ_own w (1 − s)² + ½ α Σ_negatives s², its gradient by the
   item table at fixed u is an outer product, whose norm has a closed form
   (`common.solvers.dpsgd_gradients`);
3. a mechanism clips and sums the gradients and adds noise; Opacus' optimiser steps on the total
   (`common.solvers.descent`).
Where a client adds all of its own noise it takes `local_steps` of them by itself, and the server
averages the clients' tables by declared population (FedAvg), or combines them by another rule of
`common.solvers.aggregation`. Where the noise is added to the total, a round is one step on one
secure sum at the server's table: a client that went on from its own part would train on its own
share of the noise alone, which promises too little.

The score of item i for u is u_0 p_i + Σ_k u_k g_i table_ik: column 0 of the embeddings is the
released popularity p, a bias with a strength of each shopper's own; it is not trained again.
g = (popularity / mean + 0.2)^-β preconditions the table, so that a clipped gradient is not all
about a few popular items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np

from common.arrays import Floats, Ints, State
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from common.privacy.contributions import Contributions
from common.privacy.plan import ReleaseShape
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step
from common.solvers.contained import contained
from common.solvers.descent import Descent
from common.solvers.dpsgd_gradients import UserGradients
from common.solvers.dpsgd_settings import LOCAL_STEPS, ROUNDS, DpSgdSettings
from common.solvers.local_steps import (
    LARGEST_SEED,
    SEED,
    check_central,
    first_seed,
    local_step,
    seed_of,
    stepped,
)
from common.solvers.popularity import POPULARITY, popularity_contribution, popularity_from

__all__ = ["DpSgd", "DpSgdSettings"]

TABLE: Final = "item_table"
_WEIGHT_OFFSET: Final = 0.2
_MOST_SHARED: Final = 1 << 22
"""Residuals on negatives that are in memory together."""
_SUMS: Final = ROUNDS * LOCAL_STEPS
"""As many noisy steps are best where the noise is added to the total (on validation events)."""


class DpSgd:
    """DP-SGD over users for matrix factorisation.

    Guarantee:
        Unit `user`: a contribution depends on one user's events and public state. Negatives
        are one public draw for everybody: a draw per position in the log would move for all
        users behind a removed one.

    Raises:
        PlanError: `plan-mode`, the noise is added to the total, and settings ask for local
            steps, sampled users, a choice of rows or another aggregation than the average.
        ConfigError: `config-invalid`, too few clients for the aggregation.
    """

    Settings = DpSgdSettings

    model_kind: ClassVar[str] = MatrixFactorisation.kind

    def __init__(self, settings: DpSgdSettings, facts: PublicFacts) -> None:
        self.settings = settings
        self.facts = facts
        settings.check_clients(facts.clients, central=facts.central)
        if facts.central:
            check_central(
                local_steps=settings.local_steps,
                sampling_rate=settings.sampling_rate,
                row_selection=settings.row_selection,
            )

    @property
    def rounds(self) -> int:
        """Rounds after the first."""
        if self.settings.rounds is not None:
            return self.settings.rounds
        return _SUMS if self.facts.central else ROUNDS

    @property
    def local_steps(self) -> int:
        """Noisy sums in a round."""
        if self.facts.central:
            return 1
        return LOCAL_STEPS if self.settings.local_steps is None else self.settings.local_steps

    @property
    def steps(self) -> tuple[Step, ...]:
        """The popularity round, then rounds of local steps, or of one sum each."""
        settings, items = self.settings, self.facts.n_items
        count = ReleaseShape(
            step="dpsgd.popularity", rows=items, width=1, share=settings.popularity_share
        )
        share = (1 - settings.popularity_share) / self.rounds
        rounds = (
            ReleaseShape(
                step=f"dpsgd.round_{number}",
                rows=items,
                width=settings.embedding_dim - 1,
                share=share,
                clip_norm=settings.clip_norm,
                sampling_rate=settings.sampling_rate,
                steps=self.local_steps,
                sampler=settings.sampler,
                selection=settings.row_selection,
            )
            for number in range(1, self.rounds + 1)
        )
        inputs = self._inputs()
        if self.facts.central:
            return (Step(count, {}), *(Step(shape, inputs) for shape in rounds))
        combine = self.settings.combine
        return (
            self._first(count),
            *(Step(shape, inputs, "average", (TABLE,), combine) for shape in rounds),
        )

    @property
    def model_settings(self) -> FoldIn:
        """The same, by the name that a solver of any kind has for it."""
        return self.fold_in

    @property
    def model_specs(self) -> Mapping[str, ArraySpec]:
        """Arrays of the finished model."""
        return MatrixFactorisation.specs_of(self.facts.n_items, self.settings.embedding_dim)

    @property
    def fold_in(self) -> FoldIn:
        """The user half, in training and in serving."""
        return FoldIn(
            unobserved_weight=self.settings.unobserved_weight,
            regularisation=self.settings.regularisation,
        )

    def initial_state(self, seed: int) -> State:
        """A small Gaussian table, and the public seed of the negatives."""
        shape = (self.facts.n_items, self.settings.embedding_dim - 1)
        table = np.random.default_rng(seed).normal(0.0, self.settings.init_stddev, shape)
        return {TABLE: table, SEED: first_seed(seed), POPULARITY: np.ones(self.facts.n_items)}

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """Popularity, or clipped gradients of the users; those without events have none."""
        if step == 0:
            yield popularity_contribution(data.histories, users)
            return
        active = users[data.histories.lengths[users] > 0]
        gradients = self.gradients(step, state)
        at_once = _MOST_SHARED // max(1, min(self.settings.negatives, self.facts.n_items))
        yield from contained(active, lambda some: [gradients.of(data.histories, some)], at_once)

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """Keep the popularity, or step on the noised gradient."""
        if step == 0:
            users = total.population if self.settings.robust else 1.0
            return {**state, POPULARITY: popularity_from(total) / users}
        return stepped(state, TABLE, total, self._descent(), central=self.facts.central)

    def finish(self, state: State) -> MatrixFactorisation:
        """The model from the last state."""
        return MatrixFactorisation.from_embeddings(
            self._embeddings(state), state[POPULARITY], self.fold_in
        )

    def gradients(self, step: int, state: State) -> UserGradients:
        """What makes gradients of users in a noisy step, from public state alone."""
        return UserGradients(
            self.fold_in,
            self._embeddings(state),
            self._scale(state),
            self._negatives(step, state),
            clip_norm=self.settings.clip_norm,
            negative_weight=self.settings.negative_weight,
        )

    def _first(self, shape: ReleaseShape) -> Step:
        """The popularity sum, guarded too under a robust rule.

        Each client then returns its own popularity for each of its declared users, and the rule
        combines them: whoever may lie in a sum of all needs no other lie.
        """
        if not self.settings.robust:
            return Step(shape, {})
        inputs = {POPULARITY: self._popularity_spec()}
        return Step(shape, inputs, "average", (POPULARITY,), self.settings.combine)

    def _popularity_spec(self) -> ArraySpec:
        return ArraySpec((self.facts.n_items,), max_abs=1e12, positive=True)

    def _inputs(self) -> dict[str, ArraySpec]:
        items = self.facts.n_items
        return {
            TABLE: ArraySpec((items, self.settings.embedding_dim - 1)),
            POPULARITY: self._popularity_spec(),
            SEED: ArraySpec((1,), max_abs=LARGEST_SEED),
        }

    def _descent(self) -> Descent:
        """The step rule; for `sgd` independent of clip norm and size of the table."""
        settings = self.settings
        rate = settings.learning_rate
        if settings.optimizer == "sgd":
            entries = self.facts.n_items * (settings.embedding_dim - 1)
            rate *= np.sqrt(entries) / settings.clip_norm
        return Descent(settings.optimizer, rate, settings.momentum, settings.clip_norm)

    def _scale(self, state: State) -> Floats:
        """g, `[items]`."""
        relative = state[POPULARITY] / state[POPULARITY].mean() + _WEIGHT_OFFSET
        return np.asarray(relative**-self.settings.popularity_exponent, dtype=np.float64)

    def _embeddings(self, state: State) -> Floats:
        """Popularity (of RMS 1) and the scaled table, `[items, dim]`."""
        column = state[POPULARITY] / np.sqrt(np.mean(np.square(state[POPULARITY])))
        return np.column_stack([column, state[TABLE] * self._scale(state)[:, None]])

    def _negatives(self, step: int, state: State) -> Ints:
        """The items that are negatives in this step, where a user has no event on them.

        Drawn from the whole catalogue, held-out items too: a pool without them would tell
        which they are. The draw is by the public seed and the noisy steps before this one.
        """
        items = self.facts.n_items
        if self.settings.negatives >= items:
            return np.arange(items)
        time = (step - 1) * self.local_steps + local_step(state)
        rng = np.random.default_rng([seed_of(state), time])
        return np.sort(rng.choice(items, self.settings.negatives, replace=False))

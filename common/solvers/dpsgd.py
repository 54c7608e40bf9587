"""Matrix factorisation by differentially private gradient descent, with Opacus.

Round 0 releases popularity. Every other round has noisy steps:
1. the shoppers of the step refresh their own vectors, u = the ridge solution of implicit ALS
   over their own events (`common.models.fold_in`); u never leaves;
2. one sample is one user: loss ½ Σ_own w (1 − s)² + ½ α Σ_negatives s², its gradient by the
   item table at fixed u (`common.solvers.dpsgd_gradients`), clipped by Opacus
   (`common.solvers.dpsgd_opacus`);
3. a mechanism sums the clipped gradients and adds noise; Opacus' optimiser steps on the total.
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
from typing import ClassVar, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from common.arrays import Floats, Ints, State
from common.errors import Code, PlanError
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from common.privacy.contributions import Contributions, RankOne
from common.privacy.plan import ReleaseShape, RowSelection, Sampler
from common.solvers.aggregation import Aggregation
from common.solvers.base import ArraySpec, ClientData, NoisyTotal, PublicFacts, Step
from common.solvers.dpsgd_gradients import UserGradients
from common.solvers.dpsgd_opacus import MOMENTS, Descent
from common.solvers.popularity import popularity_contribution, popularity_from

__all__ = ["DpSgd", "DpSgdSettings"]

TABLE: Final = "item_table"
POPULARITY: Final = "popularity"
SEED: Final = "seed"
LOCAL_STEP: Final = "local_step"
_BATCH_USERS: Final = 64
_MOST_STEPS: Final = 10_000
_WEIGHT_OFFSET: Final = 0.2
_LARGEST_SEED: Final = 1 << 20
_ROUNDS, _LOCAL_STEPS = 5, 2
_SUMS: Final = _ROUNDS * _LOCAL_STEPS
"""As many noisy steps are best where the noise is added to the total (on validation events)."""


class DpSgdSettings(Aggregation):
    """Settings of the gradient solver."""

    embedding_dim: int = Field(default=24, gt=1, le=512)
    """Length of the vectors; column 0 is popularity, the others are trained."""
    rounds: int | None = Field(default=None, gt=0, le=10_000)
    """Rounds of the federation after the popularity round. Absent: 5, or 10 where the noise is
    added to the total and a round is one step."""
    local_steps: int | None = Field(default=None, gt=0, le=10_000)
    """Noisy steps that a client takes in a round; with `rounds` at most 10,000 in all. Absent:
    2, or 1 where the noise is added to the total, and then nothing else is possible."""
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Probability with which a user takes part in a step (Poisson)."""
    clip_norm: float = Field(default=0.05, ge=1e-6, le=1e6)
    """Largest norm of one user's gradient; so small that nearly all are clipped to it."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """What steps on the noised gradient. Its moments begin anew in each round of local steps."""
    learning_rate: float = Field(default=3.0, ge=1e-6, le=1e6)
    """`sgd`: a step moves the table by an RMS of this at most; `adam`: of about this."""
    momentum: float = Field(default=0.0, ge=0, le=0.9999)
    """Of `sgd`; decay of the first moment of `adam`."""
    negatives: int = Field(default=200, ge=0, le=50_000_000)
    """Items drawn for each step, the same for all users; from `n_items` on, all items."""
    negative_weight: float = Field(default=0.1, ge=0, le=1e3)
    """α: weight of a negative beside an event's weight of 1."""
    sampler: Sampler = "exact"
    """Law of the noise; `fast` where steps times items run to tens of millions of draws."""
    row_selection: RowSelection | None = None
    """Noise on the items alone that enough users of a step have: `threshold`, `share` and
    `clip_norm` of the counts that choose them. An item counts as had by whom it is a negative
    for, too. Absent: all items."""
    popularity_share: float = Field(default=0.05, ge=1e-4, le=0.9999)
    """Share of the budget for the popularity round."""
    popularity_exponent: float = Field(default=0.15, ge=0, le=1)
    """β of the preconditioner."""
    init_stddev: float = Field(default=0.1, ge=1e-6, le=1e3)
    """Standard deviation of the first table."""
    unobserved_weight: float = Field(default=0.3, gt=0, le=1e3)
    """α0 of the fold-in."""
    regularisation: float = Field(default=1.0, ge=1e-6, le=1e6)
    """λ of the fold-in."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.rounds or _ROUNDS) * (self.local_steps or _LOCAL_STEPS) > _MOST_STEPS:
            raise ValueError(f"rounds times local_steps is more than {_MOST_STEPS}")
        if self.row_selection is not None and self.row_selection.dense_rows > 0:
            raise ValueError("row_selection has dense_rows: every row is an item")
        return self


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
            _check_central(settings)

    @property
    def rounds(self) -> int:
        """Rounds after the first."""
        if self.settings.rounds is not None:
            return self.settings.rounds
        return _SUMS if self.facts.central else _ROUNDS

    @property
    def local_steps(self) -> int:
        """Noisy sums in a round."""
        if self.facts.central:
            return 1
        return _LOCAL_STEPS if self.settings.local_steps is None else self.settings.local_steps

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
        drawn = np.array([float(seed % _LARGEST_SEED)])
        return {TABLE: table, SEED: drawn, POPULARITY: np.ones(self.facts.n_items)}

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """Popularity, or clipped gradients of the users; those without events have none."""
        if step == 0:
            yield popularity_contribution(data.histories, users)
            return
        active = users[data.histories.lengths[users] > 0]
        gradients = self._gradients(step, state)
        for start in range(0, len(active), _BATCH_USERS):
            batch = active[start : start + _BATCH_USERS]
            alone = (gradients.of(data.histories, batch[u : u + 1]) for u in range(len(batch)))
            if parts := [part for part in alone if part is not None]:
                yield RankOne.joined(parts)

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """Keep the popularity, or step on the noised gradient.

        Moments and the number of local steps so far are no inputs: at a client they end with
        the round. On the server moments stay in the state, and so in its checkpoints.
        """
        if step == 0:
            users = total.population if self.settings.robust else 1.0
            return {**state, POPULARITY: popularity_from(total) / users}
        moments = {name: state[name] for name in state if name.startswith(MOMENTS)}
        batch_size = total.sampling_rate * total.population
        table, moments = self._descent().step(state[TABLE], moments, total.values, batch_size)
        after = {**state, **moments, TABLE: table}
        if not self.facts.central:
            after[LOCAL_STEP] = np.array([_local_step(state) + 1.0])
        return after

    def finish(self, state: State) -> MatrixFactorisation:
        """The model from the last state."""
        return MatrixFactorisation.from_embeddings(
            self._embeddings(state), state[POPULARITY], self.fold_in
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
            SEED: ArraySpec((1,), max_abs=_LARGEST_SEED),
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

    def _gradients(self, step: int, state: State) -> UserGradients:
        return UserGradients(
            self.fold_in,
            state[TABLE],
            self._embeddings(state),
            self._scale(state),
            self._negatives(step, state),
            clip_norm=self.settings.clip_norm,
            negative_weight=self.settings.negative_weight,
        )

    def _negatives(self, step: int, state: State) -> Ints:
        """The items that are negatives in this step, where a user has no event on them.

        Drawn from the whole catalogue, held-out items too: a pool without them would tell
        which they are. The draw is by the public seed and the noisy steps before this one.
        """
        items = self.facts.n_items
        if self.settings.negatives >= items:
            return np.arange(items)
        seed = abs(round(float(state[SEED][0])))
        time = (step - 1) * self.local_steps + _local_step(state)
        rng = np.random.default_rng([seed, time])
        return rng.choice(items, self.settings.negatives, replace=False)


def _check_central(settings: DpSgdSettings) -> None:
    if settings.local_steps not in (None, 1):
        raise PlanError(
            Code.PLAN_MODE,
            f"{settings.local_steps} local steps in mode `distributed`: between secure sums a "
            "client would train on its own share of the noise alone.",
            where="local_steps",
            remedy="Leave it out, and ask for more rounds: each is one sum.",
        )
    if settings.sampling_rate < 1:
        raise PlanError(
            Code.PLAN_MODE,
            f"a sampling rate of {settings.sampling_rate:g} in mode `distributed`: a secure sum "
            "is planned and charged as one over all users.",
            where="sampling_rate",
            remedy="Leave it out: 1 is the default.",
        )
    if settings.row_selection is not None:
        raise PlanError(
            Code.PLAN_MODE,
            "a choice of rows in mode `distributed`, where none is proven.",
            where="row_selection",
            remedy="Leave it out, or use mode `local`.",
        )


def _local_step(state: State) -> int:
    """Local steps that were taken since the server sent the state."""
    return round(float(state[LOCAL_STEP][0])) if LOCAL_STEP in state else 0

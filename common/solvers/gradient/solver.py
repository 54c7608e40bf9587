"""Private gradient descent on a network over vectors of items.

The first steps release popularity, the subspace of tastes, or what `transitions` does. Every
other round has noisy steps: shoppers are sampled, each one's gradient is made of their own events
(`gradients`), a mechanism clips, sums and adds noise, and Opacus' optimiser steps on the total
(`descent`). What is released has the vectors of the items in its first rows, where they are
trained, and the network's other parameters behind them, `[items + rows, dim]`.

Where a client adds all of its own noise it takes `local_steps` of them by itself, and the server
combines what the clients have come to. Where the noise is added to the total, a round is one
step on one secure sum at the server's state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from common.arrays import Ints, State
from common.models.networks.base import Dropout, Network
from common.models.networks.packing import Packing
from common.models.shared_arrays import DENSE, FEATURES, TABLE
from common.privacy.contributions import Contributions, PlainSum
from common.privacy.plan import ReleaseShape, RowSelection, Sampler
from common.solvers.base import (
    ArraySpec,
    ClientData,
    Given,
    NoisyTotal,
    PublicFacts,
    Solver,
    Step,
)
from common.solvers.contained import contained
from common.solvers.descent import Descent
from common.solvers.first_steps import first_steps
from common.solvers.gradient.checks import check_mode, check_selection
from common.solvers.gradient.examples import Batch, Draw, ExampleMaker
from common.solvers.gradient.gradients import Gradients, device
from common.solvers.gradient.settings import GradientSettings
from common.solvers.gradient.start import first_solver, first_values
from common.solvers.local_steps import (
    LARGEST_SEED,
    SEED,
    first_seed,
    local_step,
    seed_of,
    stepped,
)
from common.solvers.popularity import POPULARITY

__all__ = ["GradientSolver"]

PARAMETERS: Final = "parameters"
_SAMPLED_USERS: Final = 64
_PRIVATE_NEGATIVES: Final = 500
_LAST_RATE: Final = 0.02
_DROPOUT: Final = 0.2
_MAX_TIME: Final = 1 << 20
"""More than a job has steps: seeds of different jobs and steps differ."""


class GradientSolver:
    """What `neural` and `sequential` have in common.

    Guarantee:
        Unit `user`: a contribution depends on one user's events and public state. Shared
        items and places in histories are one public draw for everybody in a step. Of whom a
        gradient cannot be made there is none, and of everybody else there is.

    Args:
        settings: of the training.
        facts: public.
        network: whose losses are trained.
        examples: how they are made of histories.
        name: of the solver, in the names of its releases.
        dim: length of the vectors.
        width: features of an item that the network reads behind its vector; 0 for none.
        first: whose steps come first; None for what `settings.start` says.

    Raises:
        PlanError: `plan-mode`, settings that the mode forbids.
        ConfigError: `config-invalid`, too few clients for the aggregation, or a choice of rows
            where vectors of items are not trained.
    """

    def __init__(
        self,
        settings: GradientSettings,
        facts: PublicFacts,
        *,
        network: Network,
        examples: ExampleMaker,
        name: str,
        dim: int,
        width: int = 0,
        first: Solver | None = None,
    ) -> None:
        self.settings = settings
        self.facts = facts
        self.dim = dim
        self._public = {FEATURES: ArraySpec((facts.n_items, width))} if width else {}
        self._network = network
        self._examples = examples
        self._name = name
        self._packing = Packing.of(network.initial(np.random.default_rng(0)), dim)
        self._first = first or first_solver(settings, facts)
        settings.check_clients(facts.clients, central=facts.central)
        check_mode(settings, facts)
        check_selection(settings, train_items=self.train_items)

    @property
    def rounds(self) -> int:
        """Rounds after the start."""
        return self.settings.rounds or (10 if self.facts.private else 40)

    @property
    def local_steps(self) -> int:
        """Noisy sums in a round."""
        if self.facts.central:
            return 1
        return self.settings.local_steps or (1 if self.facts.private else 200)

    @property
    def sampling_rate(self) -> float:
        """Of each user in a step."""
        if self.settings.sampling_rate is not None:
            return self.settings.sampling_rate
        if self.facts.private:
            return 1.0
        return min(1.0, _SAMPLED_USERS * self.facts.clients / self.facts.population)

    @property
    def train_items(self) -> bool:
        """Whether vectors of items are trained on."""
        chosen = self.settings.train_items
        return not self.facts.private if chosen is None else chosen

    @property
    def sampler(self) -> Sampler:
        """Law of the noise in a step."""
        return self.settings.sampler or ("fast" if self.train_items else "exact")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The start, then rounds of local steps, or of one sum each."""
        start = self.settings.start_share
        share = (1 - start) / self.rounds
        shapes = (
            ReleaseShape(
                step=f"{self._name}.round_{number}",
                rows=self._trained_items + self._packing.rows,
                width=self.dim,
                share=share,
                clip_norm=self.settings.clip_norm,
                sampling_rate=self.sampling_rate,
                steps=self.local_steps,
                sampler=self.sampler,
                selection=self._selection,
            )
            for number in range(1, self.rounds + 1)
        )
        inputs = self._inputs()
        first = first_steps(self._first, start)
        if self.facts.central:
            return (*first, *(Step(shape, inputs) for shape in shapes))
        combine = self.settings.combine
        return (
            *first,
            *(Step(shape, inputs, "average", (PARAMETERS,), combine) for shape in shapes),
        )

    def initial_state(self, seed: int) -> State:
        """What the start begins with, the public seed of every draw, and no features."""
        unknown = {name: np.zeros(spec.shape, np.float32) for name, spec in self._public.items()}
        return {**self._first.initial_state(seed), SEED: first_seed(seed), **unknown}

    def contribute(
        self, step: int, state: State, data: ClientData, users: Ints
    ) -> Iterator[Contributions]:
        """What the start asks for, or gradients of the users who have events."""
        if step < self._starts:
            plain = Given(data.histories.unweighted(), data.heldout)  # no start reads ratings
            yield from self._first.contribute(step, state, plain, users)
            return
        active = users[data.histories.lengths[users] > 0]
        if len(active) == 0:
            return
        time = self._time(step, state)
        draw = self._draw(time, state)
        gradients = self._gradients(state)

        def examples(some: Ints) -> Batch:
            return self._examples.batch(data.histories.take(some), draw)

        if self.facts.private:
            yield from contained(
                active, lambda some: gradients.of_each(some, examples(some), draw.shared)
            )
            return
        batch = examples(active)
        of_items, of_dense = gradients.of_all(batch, draw.shared, self._dropout(time, state))
        yield PlainSum(active, np.concatenate([of_items, of_dense]))

    def advance(self, step: int, state: State, total: NoisyTotal) -> State:
        """The next step of the start, or a step on the noised gradient."""
        if step < self._starts:
            after = {**state, **self._first.advance(step, state, total)}
            return self._begin(after) if step == self._starts - 1 else after
        descent = self._descent(self._time(step, state))
        return stepped(state, PARAMETERS, total, descent, central=self.facts.central)

    def arrays_of(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Arrays of the finished model from the last state."""
        arrays = {
            TABLE: self._table(state),
            DENSE: state[PARAMETERS][self._trained_items :],
            POPULARITY: state[POPULARITY],
            **{name: state[name] for name in self._public},
        }
        return {name: np.asarray(array, np.float32) for name, array in arrays.items()}

    @property
    def _starts(self) -> int:
        """Steps of the start."""
        return len(self._first.steps)

    @property
    def _trained_items(self) -> int:
        """Rows of `PARAMETERS` that are vectors of items."""
        return self.facts.n_items if self.train_items else 0

    @property
    def _selection(self) -> RowSelection | None:
        """The choice among items; the network's own rows are kept whatever is chosen."""
        chosen = self.settings.row_selection
        return chosen and chosen.model_copy(update={"dense_rows": self._packing.rows})

    def _inputs(self) -> dict[str, ArraySpec]:
        items = self.facts.n_items
        inputs = {
            PARAMETERS: ArraySpec((self._trained_items + self._packing.rows, self.dim)),
            POPULARITY: ArraySpec((items,), max_abs=1e12, positive=True),
            SEED: ArraySpec((1,), max_abs=LARGEST_SEED),
            **self._public,
        }
        return inputs if self.train_items else {**inputs, TABLE: ArraySpec((items, self.dim))}

    @property
    def _kept(self) -> tuple[str, ...]:
        """What training needs of the start's state."""
        return (SEED, POPULARITY, *self._public)

    def _begin(self, state: State) -> State:
        """First parameters, from public randomness and what the start released.

        What only the start needed goes.
        """
        seed, kept = seed_of(state), {name: state[name] for name in self._kept}
        stddev = self.settings.init_stddev
        table, found = first_values(self._first, state, self.dim, stddev, seed)
        initial = self._network.initial(np.random.default_rng([seed, 1]))
        dense = self._packing.pack({**initial, **found})
        if self.train_items:
            return {**kept, PARAMETERS: np.concatenate([table, dense.astype(np.float64)])}
        return {**kept, PARAMETERS: dense.astype(np.float64), TABLE: table}

    def _table(self, state: State) -> NDArray[Any]:
        return state[PARAMETERS][: self._trained_items] if self.train_items else state[TABLE]

    def _gradients(self, state: State) -> Gradients:
        return Gradients(
            self._network,
            self._table(state),
            state[PARAMETERS][self._trained_items :],
            self._packing,
            self.train_items,
            state.get(FEATURES),
        )

    def _time(self, step: int, state: State) -> int:
        """Noisy steps before this one."""
        return (step - self._starts) * self.local_steps + local_step(state)

    def _draw(self, time: int, state: State) -> Draw:
        """Shared items and places, by the public seed and the steps before this one.

        Drawn from the whole catalogue, held-out items too: a pool without them would tell
        which they are.
        """
        items = self.facts.n_items
        rng = np.random.default_rng([seed_of(state), 3, time])
        place = float(rng.random())
        asked = self.settings.negatives or (_PRIVATE_NEGATIVES if self.facts.private else items)
        shared = np.arange(items)
        if asked < items:
            shared = np.sort(rng.choice(items, asked, replace=False))
        popularity = np.asarray(state[POPULARITY], np.float64)
        return Draw(shared, place, np.log(popularity / popularity.mean()))

    def _dropout(self, time: int, state: State) -> Dropout | None:
        rate = _DROPOUT if self.settings.dropout is None else self.settings.dropout
        if rate == 0:
            return None
        generator = torch.Generator(device()).manual_seed(seed_of(state) * _MAX_TIME + time)
        return Dropout(rate, generator)

    def _descent(self, time: int) -> Descent:
        settings = self.settings
        rate = settings.learning_rate * self._share_of_rate(time)
        return Descent(settings.optimizer, rate, settings.momentum, settings.clip_norm)

    def _share_of_rate(self, time: int) -> float:
        """What part of the learning rate a step has: warm-up, then decay."""
        steps = self.rounds * self.local_steps
        warm = math.ceil(self.settings.warm_up * steps)
        if time < warm:
            return (time + 1) / warm
        if self.settings.decay == "constant":
            return 1.0
        done = (time - warm) / max(1, steps - warm)
        return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

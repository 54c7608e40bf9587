"""The workload of one step of a gradient solver: users, their events, a table and a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.models.sequential import SequentialModelSettings
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from common.solvers.base import PublicFacts
from common.solvers.gradient.examples import Batch, Draw, rivals, windows
from common.solvers.gradient.gradients import Gradients
from common.solvers.sequential import Sequential

__all__ = ["Load", "World"]


@dataclass(frozen=True)
class Load:
    """Sizes of a step.

    Attributes:
        items: in the catalogue; the vectors of all of them are trained.
        users: in a step, all of them sampled.
        events: that are predicted; a user has one more, all of different items.
        shared: negatives, the same for everybody.
        dim: length of a vector.
        blocks: of attention.
    """

    items: int
    users: int = 256
    events: int = 100
    shared: int = 500
    dim: int = 64
    blocks: int = 2

    @property
    def settings(self) -> SequentialModelSettings:
        """The network."""
        return SequentialModelSettings(
            embedding_dim=self.dim, length=self.events, blocks=self.blocks
        )


@dataclass(frozen=True)
class _Data:
    histories: Histories
    heldout: Ints | None = None


class World:
    """Everything that is made before a step is timed, by public seeds; no table is kept."""

    def __init__(self, load: Load) -> None:
        rng = np.random.default_rng(0)
        self.load = load
        self.settings = load.settings
        self.dense = self.settings.packing.pack(self.settings.loss.initial(rng))
        self._data = _Data(_histories(load, rng))
        self.shared: Ints = np.sort(rng.choice(load.items, load.shared, replace=False))
        own = windows(self._data.histories, load.events + 1, 0.0)
        popularity: Floats = np.zeros(load.items)
        self.batch = Batch(own, rivals(own, Draw(self.shared, 0.0, popularity)))

    @property
    def rows(self) -> int:
        """Of the released matrix: items, and behind them the dense parameters."""
        return self.load.items + self.settings.packing.rows

    def table(self) -> NDArray[np.float32]:
        """Vectors of the items, made anew each time, `[items, dim]`."""
        shape = self.load.items, self.load.dim
        drawn = np.random.default_rng(1).random(shape, dtype=np.float32)
        return np.subtract(drawn, np.float32(0.5), out=drawn)

    def gradients(self) -> Gradients:
        """What is differentiated."""
        packing = self.settings.packing
        return Gradients(self.settings.loss, self.table(), self.dense, packing, train_items=True)

    def client_step(self) -> Callable[[], Floats]:
        """One noisy sum as a client makes it; each call is the next one of a release.

        All that a client does to a checked state: sample, draw, windows of histories, gradients,
        clip, sum, noise. The state is in float64, as a client widens it.
        """
        solver = self._solver()
        state: dict[str, Any] = {}
        for name, spec in solver.steps[-1].inputs.items():
            state[name] = np.ones(spec.shape)
            if len(spec.shape) == 2:
                state[name][: self.load.items] = self.table()
                state[name][self.load.items :] = self.dense
        release = Release(
            **{**solver.steps[-1].release.model_dump(), "steps": 1 << 20}, noise_multiplier=1.5
        )
        mechanism = GaussianSum(release, NoiseSource.system())

        def step() -> Floats:
            users = mechanism.sample(self.load.users)
            last = len(solver.steps) - 1
            return mechanism.sum(solver.contribute(last, state, self._data, users))

        return step

    def _solver(self) -> Sequential:
        load = self.load
        facts = PublicFacts(
            n_items=load.items,
            population=load.users,
            clients=1,
            epsilon=8.0,
            delta=1e-6,
            signal=float(load.users),
            private=True,
        )
        settings = Sequential.Settings(
            **self.settings.model_dump(),
            rounds=1,
            negatives=load.shared,
            train_items=True,
            start="random",
            clip_norm=1.0,
            sampler="fast",
        )
        return Sequential(settings, facts)


def _histories(load: Load, rng: np.random.Generator) -> Histories:
    """`events + 1` different items for each user, in an order that is not the items'."""
    count = load.events + 1
    rows = [np.sort(rng.choice(load.items, count, replace=False)) for _ in range(load.users)]
    order = np.concatenate([rng.permutation(count) for _ in range(load.users)])
    indptr = np.arange(load.users + 1) * count
    return Histories(indptr, np.concatenate(rows), np.ones(indptr[-1]), load.items, order)

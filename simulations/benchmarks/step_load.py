"""The workload of one step of a gradient solver: users, their events, a table and a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.arrays import Floats, Histories, Ints
from common.models.networks.base import Network
from common.privacy.gathered import GatheredRows
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from common.solvers.base import PublicFacts
from common.solvers.gradient.examples import Draw, ExampleMaker
from common.solvers.gradient.gradients import Gradients
from common.solvers.neural import Neural, NeuralSettings, Parts
from common.solvers.sequential import Sequential, SequentialSettings, Windows

__all__ = ["Load", "NetworkName", "World", "histories"]

NetworkName: TypeAlias = Literal["attention", "neural", "mf"]


@dataclass(frozen=True)
class Load:
    """Sizes of a step.

    Attributes:
        items: in the catalogue; the vectors of all of them are trained.
        users: in a step, all of them sampled.
        events: of a user, all of different items. `attention` predicts each and is given one
            more; of `neural` about half are given, and the others looked for; `mf` has all.
        shared: negatives, the same for everybody.
        dim: length of a vector.
        network: `attention`, `neural`, the two towers with the head, or `mf`, none at all.
    """

    items: int
    users: int = 256
    events: int = 100
    shared: int = 500
    dim: int = 64
    network: NetworkName = "attention"

    @property
    def own(self) -> int:
        """Items that a user has."""
        return self.events + (self.network == "attention")

    @property
    def facts(self) -> PublicFacts:
        """Of one client who asks for privacy."""
        return PublicFacts(
            n_items=self.items,
            population=self.users,
            clients=1,
            epsilon=8.0,
            delta=1e-6,
            signal=float(self.users),
            private=True,
        )

    @property
    def settings(self) -> SequentialSettings | NeuralSettings:
        """A network at its defaults, and how it is trained; `mf_load` has those of `mf`."""
        asked: dict[str, Any] = {
            "embedding_dim": self.dim,
            "length": self.events,
            "rounds": 1,
            "negatives": self.shared,
            "train_items": True,
            "start": "random",
            "clip_norm": 1.0,
            "sampler": "fast",
        }
        if self.network == "attention":
            return SequentialSettings(**asked, network="attention")
        return NeuralSettings(**asked)


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
        self._network, maker = _parts(self.settings)
        self.packing = self.settings.packing
        self.dense = self.packing.pack(_away(self._network.initial(rng), rng))
        self._data = _Data(histories(load, rng))
        self.shared: Ints = np.sort(rng.choice(load.items, load.shared, replace=False))
        popularity: Floats = rng.normal(size=load.items)
        self.batch = maker.batch(self._data.histories, Draw(self.shared, 0.0, popularity))

    @property
    def rows(self) -> int:
        """Of the released matrix: items, and behind them the dense parameters."""
        return self.load.items + self.packing.rows

    def table(self) -> NDArray[np.float32]:
        """Vectors of the items, made anew each time, `[items, dim]`."""
        shape = self.load.items, self.load.dim
        drawn = np.random.default_rng(1).random(shape, dtype=np.float32)
        return np.subtract(drawn, np.float32(0.5), out=drawn)

    def gradients(self) -> Gradients:
        """What is differentiated."""
        return Gradients(self._network, self.table(), self.dense, self.packing, train_items=True)

    def contributions(self) -> list[GatheredRows]:
        """Gradients of the users, unclipped."""
        users = np.arange(self.load.users)
        return list(self.gradients().of_each(users, self.batch, self.shared))

    def plain_step(self) -> Callable[[], object]:
        """The gradient of the same losses by autograd, of all users together."""
        gradients = self.gradients()
        return lambda: gradients.of_all(self.batch, self.shared, None)

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

    def _solver(self) -> Sequential | Neural:
        if isinstance(self.settings, NeuralSettings):
            return Neural(self.settings, self.load.facts)
        return Sequential(self.settings, self.load.facts)


def _parts(settings: SequentialSettings | NeuralSettings) -> tuple[Network, ExampleMaker]:
    """What is differentiated, and how its examples are made."""
    if isinstance(settings, NeuralSettings):
        return settings.network, Parts(settings)
    return settings.loss, Windows(settings.length)


def _away(
    initial: Mapping[str, NDArray[np.float32]], rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Away from the first values, at which layers that begin at zero hide others' gradients."""
    return {
        name: values + rng.normal(0.0, 0.05, values.shape).astype(np.float32)
        for name, values in initial.items()
    }


def histories(load: Load, rng: np.random.Generator) -> Histories:
    """`own` different items for each user, in an order that is not the items'."""
    count = load.own
    rows = [np.sort(rng.choice(load.items, count, replace=False)) for _ in range(load.users)]
    order = np.concatenate([rng.permutation(count) for _ in range(load.users)])
    indptr = np.arange(load.users + 1) * count
    return Histories(indptr, np.concatenate(rows), np.ones(indptr[-1]), load.items, order)

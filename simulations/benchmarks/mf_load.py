"""Matrix factorisation by private gradient descent as the workload of one step.

There is no network: the vectors of the items are all that is trained, and a user's gradient is
an outer product. Every variant folds its users in first, at the table as it is, by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from common.arrays import Floats, Histories, Ints
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.rank_one import RankOne
from common.privacy.stream import NoiseSource
from common.solvers.dpsgd import TABLE, DpSgd
from common.solvers.dpsgd_gradients import UserGradients
from common.solvers.dpsgd_settings import DpSgdSettings
from common.solvers.local_steps import SEED, first_seed
from common.solvers.popularity import POPULARITY
from simulations.benchmarks.step_load import Load, histories

__all__ = ["MfTwin", "MfWorld"]

_LINEAR_UP_TO: Final = 100_000
_LARGEST_CLIP: Final = 1e6
"""As good as none."""


@dataclass(frozen=True)
class _Data:
    histories: Histories
    heldout: Ints | None = None


class MfTwin(nn.Module):
    """The table as a layer of torch's, with the losses of a batch.

    Up to 100,000 items a linear layer from a user's vector to all items: there it is the faster
    way in every mode of Opacus, whose norms of a linear layer are in closed form too. Beyond
    that an embedding, which looks up the rows of the loss alone.

    Args:
        table: vectors of the items, `[items, dim]`.
    """

    def __init__(self, table: NDArray[np.float32]) -> None:
        super().__init__()
        items, dim = table.shape
        linear = items <= _LINEAR_UP_TO
        self.items = nn.Linear(dim, items, bias=False) if linear else nn.Embedding(items, dim)
        self.items.weight = nn.Parameter(torch.tensor(table))

    def forward(self, rows: torch.Tensor, example: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each user, `[batch]`, for `rows` `[batch, own + shared]` of the table."""
        person = example["person"]
        if isinstance(self.items, nn.Linear):
            products = self.items(person).gather(1, rows)
        else:
            products = (self.items(rows) @ person[:, :, None]).squeeze(-1)
        error = products * example["scale"] + example["offset"] - example["target"]
        losses: torch.Tensor = 0.5 * (example["weight"] * error * error).sum(-1)
        return losses


class MfWorld:
    """Everything that is made before a step is timed, by public seeds."""

    def __init__(self, load: Load) -> None:
        rng = np.random.default_rng(0)
        self.load = load
        self._data = _Data(histories(load, rng))
        self._users = np.arange(load.users, dtype=np.int64)
        self._state = {
            TABLE: rng.normal(0.0, 0.1, (load.items, load.dim)),
            POPULARITY: rng.uniform(0.5, 2.0, load.items),
            SEED: first_seed(0),
        }

    @property
    def rows(self) -> int:
        """Of the released matrix."""
        return self.load.items

    def contributions(self) -> list[RankOne]:
        """Gradients of the users, unclipped."""
        gradients = _solver(self.load, _LARGEST_CLIP).gradients(1, self._state)
        return [gradients.of(self._data.histories, self._users)]

    def client_step(self) -> Callable[[], Floats]:
        """One noisy sum as a client makes it; each call is the next one of a release."""
        solver = _solver(self.load, 1.0)
        release = Release(
            **{**solver.steps[1].release.model_dump(), "steps": 1 << 20}, noise_multiplier=1.5
        )
        mechanism = GaussianSum(release, NoiseSource.system())

        def step() -> Floats:
            users = mechanism.sample(self.load.users)
            return mechanism.sum(solver.contribute(1, self._state, self._data, users))

        return step

    def plain_step(self) -> Callable[[], Floats]:
        """The gradient of the same losses by autograd, of all users together."""
        twin, inputs = self.twin(), self.inputs()

        def step() -> Floats:
            twin.zero_grad(set_to_none=True)
            twin(*inputs()).sum().backward()
            return gradient_of(twin)

        return step

    def twin(self) -> MfTwin:
        """With this world's table."""
        return MfTwin(self._state[TABLE].astype(np.float32))

    def inputs(self) -> Callable[[], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        """What the twin is given: users are folded in at each call, as in a client's step."""
        solver, own = _solver(self.load, 1.0), self._data.histories
        rows, fixed = _rows(solver.gradients(1, self._state), own)
        tensors = {name: torch.from_numpy(np.float32(v)) for name, v in fixed.items()}

        def made() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            gradients = solver.gradients(1, self._state)
            vectors = gradients.vectors(own)
            moving = {
                "person": vectors[:, 1:],
                "offset": gradients.embeddings[rows, 0] * vectors[:, :1],
                "scale": gradients.scale[rows],
            }
            now = {name: torch.from_numpy(np.float32(v)) for name, v in moving.items()}
            return torch.from_numpy(rows), {**tensors, **now}

        return made


def gradient_of(twin: MfTwin) -> Floats:
    """What `backward` or Opacus left at the table, `[items, dim]`."""
    found = twin.items.weight.grad
    if found is None:
        return np.zeros(tuple(twin.items.weight.shape))
    return np.asarray(found.numpy(), dtype=np.float64)


def _rows(gradients: UserGradients, own: Histories) -> tuple[Ints, dict[str, NDArray[Any]]]:
    """Rows of the table, `[users, own + shared]`, their weights in the loss, and its targets."""
    shared = np.tile(gradients.negatives, (own.n_users, 1))
    mine = own.items.reshape(own.n_users, -1)
    beside = np.stack([~np.isin(gradients.negatives, some) for some in mine])
    weight = np.concatenate([np.ones(mine.shape), beside * gradients.negative_weight], axis=1)
    target = np.concatenate([np.ones(mine.shape), np.zeros(shared.shape)], axis=1)
    return np.concatenate([mine, shared], axis=1), {"weight": weight, "target": target}


def _solver(load: Load, clip_norm: float) -> DpSgd:
    """The solver at its defaults but for sizes; column 0 of the vectors is not trained."""
    settings = DpSgdSettings(
        embedding_dim=load.dim + 1,
        rounds=1,
        local_steps=1,
        negatives=load.shared,
        clip_norm=clip_norm,
        sampler="fast",
    )
    return DpSgd(settings, load.facts)

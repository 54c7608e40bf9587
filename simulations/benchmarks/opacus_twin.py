"""The attention network as a module of torch's own layers, and a step of a network by Opacus.

The twin has the parameters of `common.models.networks.attention` under other shapes, and the same
loss. Own and shared items are looked up in one call with a batch dimension, as Opacus needs it;
the weight of the popularity is a linear layer of one number, applied once for each user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn
from torch.nn import functional

from common.arrays import Floats
from common.models.networks.base import BLOCKED, POPULARITY, candidate_losses
from common.models.networks.packing import Packing
from common.models.sequential import SequentialModelSettings
from common.solvers.gradient.examples import Batch
from common.solvers.neural import NeuralSettings
from simulations.benchmarks.step_load import World
from simulations.benchmarks.towers_twin import TowersTwin

__all__ = [
    "AttentionTwin",
    "Mode",
    "Twin",
    "fill",
    "inputs_of",
    "opacus_step",
    "packed_gradient",
    "turned",
    "twin_of",
]

Mode = Literal["hooks", "ghost"]


class _Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm without bias."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.wide, self.narrow = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[batch, events, dim]` to the same."""
        x = x + self._attend(self.norm1(x))
        fed: torch.Tensor = self.narrow(functional.gelu(self.wide(self.norm2(x))))
        return x + fed

    def parameters_by_name(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Ours beside the layers' own."""
        yield "norm1", self.norm1.weight
        yield "query_key_value", self.query_key_value.weight
        yield "output", self.output.weight
        yield "norm2", self.norm2.weight
        yield "wide", self.wide.weight
        yield "wide_bias", self.wide.bias
        yield "narrow", self.narrow.weight
        yield "narrow_bias", self.narrow.bias

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        batch, events, dim = x.shape
        mixed = self.query_key_value(x).reshape(batch, events, 3, self.heads, dim // self.heads)
        query, key, value = (t.transpose(1, 2) for t in mixed.unbind(2))
        later = torch.ones(events, events, dtype=torch.bool).triu(1)
        weights = query @ key.transpose(-1, -2) / math.sqrt(dim // self.heads)
        seen = weights.masked_fill(later, BLOCKED).softmax(-1) @ value
        together: torch.Tensor = self.output(seen.transpose(1, 2).flatten(2))
        return together


class AttentionTwin(nn.Module):
    """The network and the table, with the losses of a batch.

    Args:
        settings: of the network.
        items: in the catalogue.
    """

    def __init__(self, settings: SequentialModelSettings, items: int) -> None:
        super().__init__()
        dim = settings.embedding_dim
        self.length = settings.length
        self.items, self.position = nn.Embedding(items, dim), nn.Embedding(settings.length, dim)
        self.blocks = nn.ModuleList(_Block(dim, settings.heads) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(dim)
        self.popularity = nn.Linear(1, 1, bias=False)

    def forward(self, rows: torch.Tensor, example: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each user, `[batch]`, for `rows` `[batch, own + shared]` of the table."""
        vectors, batch, last = self.items(rows), len(rows), self.length
        own, shared = vectors[:, : last + 1], vectors[:, last + 1 :]
        x = own[:, :-1] + self.position(torch.arange(last).repeat(batch, 1))
        for block in self.blocks:
            x = block(x)
        hidden, weight = self.norm(x), self.popularity(torch.ones(batch, 1))
        losses = candidate_losses(hidden, own, shared, example, weight)
        of_next = torch.diagonal(losses, offset=1, dim1=1, dim2=2)
        return (of_next * example["present"][:, 1:]).sum(-1) / last

    def parameters_by_name(self) -> dict[str, torch.Tensor]:
        """Every dense parameter under our name; `turned` has what the layers turn round."""
        found: dict[str, torch.Tensor] = {"position": self.position.weight}
        for number, block in enumerate(self.blocks):
            if isinstance(block, _Block):
                found |= {f"{number}.{name}": p for name, p in block.parameters_by_name()}
        found |= {"norm": self.norm.weight, "norm_bias": self.norm.bias}
        return found | {POPULARITY: self.popularity.weight}


Twin: TypeAlias = AttentionTwin | TowersTwin


def twin_of(world: World) -> Twin:
    """With the parameters of `world`, and no value of a generator of torch's."""
    settings, items = world.settings, world.load.items
    with torch.device("meta"):
        twin: Twin
        if isinstance(settings, NeuralSettings):
            twin = TowersTwin(settings.network, items)
        else:
            twin = AttentionTwin(settings, items)
    twin.to_empty(device="cpu")
    fill(twin, world.table(), world.packing.unpack(world.dense))
    return twin


def fill(twin: Twin, table: NDArray[Any], dense: Mapping[str, NDArray[Any]]) -> None:
    """Set the vectors of the items and the other parameters, which are under our names."""
    with torch.no_grad():
        twin.items.weight.copy_(torch.from_numpy(table))
        for name, parameter in twin.parameters_by_name().items():
            values = turned(name, dense[name]).reshape(parameter.shape)
            parameter.copy_(torch.from_numpy(values))
        for name, parameter in twin.named_parameters():
            if name.endswith(("norm1.bias", "norm2.bias")):
                parameter.zero_().requires_grad_(False)


class _PerUser:
    """A criterion whose losses are those that the module returns."""

    reduction = "sum"

    def __call__(self, losses: torch.Tensor) -> torch.Tensor:
        return losses


def inputs_of(world: World) -> Callable[[], tuple[Any, ...]]:
    """What the twin of a network is given, the same at each call."""
    rows = torch.from_numpy(_rows(world))
    example = {name: torch.from_numpy(v.copy()) for name, v in world.batch.example.items()}
    return lambda: (rows, example)


def opacus_step(
    twin: nn.Module,
    inputs: Callable[[], tuple[Any, ...]],
    mode: Mode,
    *,
    clip_norm: float,
    noise_multiplier: float,
) -> Callable[[], None]:
    """One step by Opacus: clip, sum and noise, into the `grad` of each parameter.

    The optimiser's step on it is left out. Noise is of torch's own generator, as Opacus draws it
    without `secure_mode`. The twin's losses of each user are for what `inputs` returns.
    """
    trained = [parameter for parameter in twin.parameters() if parameter.requires_grad]
    inner = torch.optim.SGD(trained, lr=0.1)
    wanted: dict[str, Any] = {
        "noise_multiplier": noise_multiplier,
        "max_grad_norm": clip_norm,
        "expected_batch_size": None,
        "loss_reduction": "sum",
        "generator": torch.Generator().manual_seed(0),
    }
    if mode == "hooks":
        module = GradSampleModule(twin, loss_reduction="sum")
        optimizer = DPOptimizer(inner, **wanted)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            module(*inputs()).sum().backward()
            optimizer.pre_step()

        return step
    module = GradSampleModuleFastGradientClipping(
        twin, loss_reduction="sum", max_grad_norm=clip_norm, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(inner, **wanted)
    loss = DPLossFastGradientClipping(module, optimizer, _PerUser(), loss_reduction="sum")

    def ghost_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(module(*inputs())).backward()
        optimizer.pre_step()

    return ghost_step


def packed_gradient(twin: Twin, packing: Packing) -> Floats:
    """What Opacus left at each parameter, `[rows, dim]`, packed as ours."""
    dense = {
        name: turned(name, _gradient(parameter)).reshape(packing.shapes[name])
        for name, parameter in twin.parameters_by_name().items()
    }
    return np.concatenate([_gradient(twin.items.weight), packing.pack(dense)]).astype(np.float64)


def turned(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Between ours and a layer's: weights of linear layers are transposed."""
    return values if name == "position" else values.T


def _rows(world: World) -> NDArray[np.int64]:
    """Own and shared items of each user, `[batch, own + shared]`."""
    batch: Batch = world.batch
    beside = np.broadcast_to(world.shared, (len(batch.own), len(world.shared)))
    return np.concatenate([np.maximum(batch.own, 0), beside], axis=1)


def _gradient(parameter: torch.Tensor) -> NDArray[Any]:
    found = parameter.grad
    return np.zeros(parameter.shape) if found is None else found.numpy()

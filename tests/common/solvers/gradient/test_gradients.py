"""Gradients of each user: equal to Opacus `hooks` on the same network made of torch's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn
from torch.nn import functional

from common.arrays import Floats, Histories
from common.models.networks.base import BLOCKED, POPULARITY
from common.models.networks.packing import Packing
from common.privacy.contributions import PlainSum
from common.solvers.base import PublicFacts
from common.solvers.gradient.examples import Batch, Draw
from common.solvers.gradient.gradients import Gradients
from common.solvers.registry import make_solver
from simulations.benchmarks.opacus_twin import fill
from simulations.benchmarks.towers_twin import TowersTwin

ITEMS, USERS, DIM, LENGTH, WIDTH = 25, 41, 8, 6, 3
SHARED = np.array([0, 2, 3, 7, 8, 11, 19, 24])
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("sequential", {"length": LENGTH, "blocks": 2}),
    "gru": ("sequential", {"network": "gru", "length": LENGTH}),
    "neural": ("neural", {"length": LENGTH, "feature_width": WIDTH, "head": 4, "blocks": 2}),
    "ridge": ("neural", {"length": LENGTH, "pooling": "ridge", "feature_width": WIDTH}),
    "explicit": ("neural", {"length": LENGTH, "loss": "explicit", "head": 0, "blocks": 1}),
}


def histories(rng: np.random.Generator) -> Histories:
    counts = rng.integers(1, 12, USERS)
    rows = [np.sort(rng.choice(ITEMS, count, replace=False)) for count in counts]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    order = np.concatenate([rng.permutation(count) for count in counts]).astype(np.int64)
    return Histories(indptr, items, rng.uniform(1, 5, len(items)), ITEMS, order)


class Case:
    """Users of one step, with parameters away from their first values."""

    def __init__(self, kind: str, *, train_items: bool = True) -> None:
        name, settings = KINDS[kind]
        rng = np.random.default_rng(7)
        facts = PublicFacts(ITEMS, USERS, 1, None, 0.0, float(USERS), private=False)
        solver: Any = make_solver(name, {"embedding_dim": DIM, **settings}, facts)
        self.network, self.settings = solver._network, solver.settings
        initial = self.network.initial(rng)
        self.dense = {k: v + rng.normal(0, 0.2, v.shape) for k, v in initial.items()}
        self.packing = Packing.of(initial, DIM)
        self.table = rng.normal(size=(ITEMS, DIM))
        width = solver.settings.feature_width if name == "neural" else 0
        self.features = rng.normal(size=(ITEMS, width)) if width else None
        draw = Draw(SHARED, 0.37, rng.normal(size=ITEMS))
        self.batch: Batch = solver._examples.batch(histories(rng), draw)
        self.gradients = Gradients(
            self.network, self.table, self.packing.pack(self.dense), self.packing, train_items,
            self.features,
        )  # fmt: skip

    def of_each(self) -> Floats:
        """Written out, `[users, rows, dim]`."""
        items = ITEMS if self.gradients.train_items else 0
        found = np.zeros((USERS, items + self.packing.rows, DIM))
        for part in self.gradients.of_each(np.arange(USERS), self.batch, SHARED):
            for block in part.expand(1 << 30):
                owner = np.repeat(block.users, np.diff(block.indptr))
                found[owner, block.rows] += block.values
        return found


class Twin(nn.Module):
    """What every network here shares: vectors of items, scores, cross-entropy."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.items = nn.Embedding.from_pretrained(_float(case.table), freeze=False)
        self.popularity = nn.Linear(1, 1, bias=False)
        _set(self.popularity.weight, case.dense[POPULARITY][None])
        self.norm = nn.LayerNorm(DIM)
        _set(self.norm.weight, case.dense["norm"])
        _set(self.norm.bias, case.dense["norm_bias"])

    def bias(self, example: dict, kind: str) -> torch.Tensor:
        return self.popularity(example[f"{kind}_popularity"].unsqueeze(-1)).squeeze(-1)


class AttentionTwin(Twin):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.position = nn.Embedding.from_pretrained(_float(case.dense["position"]), freeze=False)
        self.blocks = nn.ModuleList()
        for block in range(2):
            part = {k[2:]: v for k, v in case.dense.items() if k.startswith(f"{block}.")}
            layers = nn.ModuleDict({
                "query_key_value": _linear(part["query_key_value"]),
                "output": _linear(part["output"]),
                "wide": _linear(part["wide"], part["wide_bias"]),
                "narrow": _linear(part["narrow"], part["narrow_bias"]),
                "norm1": _norm(part["norm1"]),
                "norm2": _norm(part["norm2"]),
            })  # fmt: skip
            self.blocks.append(layers)

    def hidden(self, vectors: torch.Tensor) -> torch.Tensor:
        users, length, _ = vectors.shape
        x = vectors + self.position(torch.arange(length).expand(users, -1))
        for layers in self.blocks:
            mixed = layers["query_key_value"](layers["norm1"](x)).chunk(3, dim=-1)
            heads = (t.reshape(users, length, 2, DIM // 2).transpose(1, 2) for t in mixed)
            seen = functional.scaled_dot_product_attention(*heads, is_causal=True)
            x = x + layers["output"](seen.transpose(1, 2).reshape(users, length, DIM))
            x = x + layers["narrow"](functional.gelu(layers["wide"](layers["norm2"](x))))
        return self.norm(x)

    def forward(self, own: torch.Tensor, shared: torch.Tensor, example: dict) -> torch.Tensor:
        vectors, others = self.items(own), self.items(shared)
        hidden = self.hidden(vectors[:, :-1])
        own_bias, shared_bias = (self.bias(example, kind) for kind in ("own", "shared"))
        shared_bias = shared_bias + example["correction"].unsqueeze(-1)
        among_own = hidden @ vectors.transpose(1, 2) + own_bias[:, None]
        among_shared = hidden @ others.transpose(1, 2) + shared_bias[:, None]
        losses = _cross_entropy(among_own, among_shared, example, "present")
        of_next = torch.diagonal(losses, offset=1, dim1=1, dim2=2)
        return (of_next * example["present"][:, 1:]).sum(-1) / LENGTH


class RecurrentTwin(AttentionTwin):
    def __init__(self, case: Case) -> None:
        Twin.__init__(self, case)
        dense = case.dense
        self.given = _linear(dense["input"], dense["input_bias"])
        self.kept = _linear(dense["state"], dense["state_bias"])
        self.output = _linear(dense["output"])

    def hidden(self, vectors: torch.Tensor) -> torch.Tensor:
        state, states = torch.zeros_like(vectors[:, 0]), []
        for given in self.given(vectors).unbind(1):
            kept = self.kept(state)
            reset, update = torch.sigmoid(given + kept)[:, : 2 * DIM].chunk(2, dim=-1)
            new = torch.tanh(given[:, 2 * DIM :] + reset * kept[:, 2 * DIM :])
            state = (1 - update) * new + update * state
            states.append(state)
        return self.norm(self.output(torch.stack(states, dim=1)))


def towers_twin(case: Case) -> TowersTwin:
    features = None if case.features is None else _float(case.features)
    twin = TowersTwin(case.network, ITEMS, features)
    fill(twin, case.table, case.dense)
    return twin


TWINS = {
    "attention": AttentionTwin,
    "gru": RecurrentTwin,
    "neural": towers_twin,
    "ridge": towers_twin,
    "explicit": towers_twin,
}


def _float(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _set(parameter: nn.Parameter, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(_float(values))


def _linear(weight: Any, bias: Any = None) -> nn.Linear:
    layer = nn.Linear(*weight.shape, bias=bias is not None)
    _set(layer.weight, weight.T)
    if bias is not None:
        _set(layer.bias, bias)
    return layer


def _norm(weight: Any) -> nn.LayerNorm:
    layer = nn.LayerNorm(DIM)
    _set(layer.weight, weight)
    layer.bias.requires_grad_(requires_grad=False)
    return layer


def _cross_entropy(
    own: torch.Tensor, shared: torch.Tensor, example: dict, candidates: str
) -> torch.Tensor:
    masked = (
        own.masked_fill(~example[candidates][:, None], BLOCKED),
        shared.masked_fill(~example["rival"][:, None], BLOCKED),
    )
    return torch.cat(masked, dim=-1).logsumexp(-1, keepdim=True) - own


def by_opacus(case: Case, kind: str) -> Floats:
    """Every user's gradients as Opacus' hooks make them, in the places that are released."""
    with torch.random.fork_rng(devices=[]):
        module = GradSampleModule(TWINS[kind](case), loss_reduction="sum")
    example = {name: torch.from_numpy(value) for name, value in case.batch.example.items()}
    own = torch.from_numpy(np.maximum(case.batch.own, 0))
    shared = torch.from_numpy(SHARED).expand(USERS, -1)
    twin = module._module
    if isinstance(twin, TowersTwin):
        module(torch.cat([own, shared], dim=1), example).sum().backward()
        dense = {
            name: _turned(_sample(parameter))
            for name, parameter in twin.parameters_by_name().items()
        }
    else:
        module(own, shared, example).sum().backward()
        named = dict(twin.named_parameters())
        dense = dict(
            _renamed(name, _sample(parameter))
            for name, parameter in named.items()
            if parameter.requires_grad and name != "items.weight"
        )
    items = _sample(twin.items.weight)
    packed = [
        case.packing.pack(
            {
                name: dense[name][user].reshape(shape) if name in dense else np.zeros(shape)
                for name, shape in case.packing.shapes.items()
            }
        )
        for user in range(USERS)
    ]
    assert set(dense) <= set(case.packing.shapes)
    return np.concatenate([items, packed], axis=1)


def _sample(parameter: Any) -> Floats:
    return parameter.grad_sample.numpy().astype(np.float64)


def _turned(values: Floats) -> Floats:
    """Weights of a linear layer, `[users, out, in]`, as a network holds them."""
    return values.swapaxes(1, 2) if values.ndim == 3 else values


def _renamed(name: str, value: Floats) -> tuple[str, Floats]:
    """A layer's parameter as the network calls it, and as it holds it."""
    parts = name.split(".")
    layer, kind = parts[-2], parts[-1]
    if layer == "norm":
        return ("norm" if kind == "weight" else "norm_bias"), value
    if layer == "popularity":
        return POPULARITY, value[:, 0]
    if layer == "position":
        return "position", value
    block = f"{parts[1]}." if parts[0] == "blocks" else ""
    called = {"given": "input", "kept": "state"}.get(layer, layer)
    return f"{block}{called}{'_bias' if kind == 'bias' else ''}", _turned(value)


def clipped(values: Floats, norm: float) -> Floats:
    norms = np.linalg.norm(values, axis=(1, 2), keepdims=True)
    return values * np.minimum(1.0, norm / np.maximum(norms, 1e-12))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_user_equal_those_of_opacus_hooks(kind: str) -> None:
    """Clipped to the default norm, as they are summed."""
    case = Case(kind)
    found, expected = case.of_each(), by_opacus(case, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-5)
    norm = case.settings.clip_norm
    assert np.median(np.linalg.norm(expected, axis=(1, 2))) > norm
    np.testing.assert_allclose(clipped(found, norm), clipped(expected, norm), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("train_items", [True, False])
def test_the_plain_sum_is_that_of_each(kind: str, train_items: bool) -> None:
    case = Case(kind, train_items=train_items)
    of_items, of_dense = case.gradients.of_all(case.batch, SHARED, None)
    total = np.concatenate([of_items, of_dense])
    np.testing.assert_allclose(total, case.of_each().sum(axis=0), rtol=1e-4, atol=1e-4)
    filled = np.zeros_like(total)
    PlainSum(np.arange(USERS), total).add_to(filled)
    np.testing.assert_array_equal(filled, total)


def test_a_user_without_events_moves_nothing() -> None:
    case = Case("neural")
    nobody = Batch(
        np.full((1, LENGTH), -1), {k: np.zeros_like(v[:1]) for k, v in case.batch.example.items()}
    )
    (part,) = case.gradients.of_each(np.array([3]), nobody, SHARED)
    assert not part.dense_values.any()
    assert not part.shared_values.any()

"""What reads a sequence never looks ahead, and is what its papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from common.arrays import Histories
from common.models.networks.attention import Attention
from common.models.networks.base import POPULARITY, Dropout
from common.models.networks.next_item import NextItem, SequenceNetwork
from common.models.networks.recency import MIX, Recency
from common.models.networks.recurrent import Recurrent
from common.models.recency import contexts_before

DIM, LENGTH = 8, 9
NETWORKS = {
    "attention": Attention(DIM, LENGTH, 2, 2),
    "gru": Recurrent(DIM),
    "recency": Recency(DIM // 2, (0.7,), 4),
}


def parameters(network: SequenceNetwork, seed: int = 0) -> dict[str, torch.Tensor]:
    """Away from the first values, where some are zero."""
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(value + rng.normal(0, 0.3, value.shape)).double()
        for name, value in network.initial(rng).items()
    }


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> SequenceNetwork:
    return NETWORKS[request.param]


def test_a_later_event_never_changes_an_earlier_output(network: SequenceNetwork) -> None:
    dense = parameters(network)
    events = torch.from_numpy(np.random.default_rng(1).normal(size=(3, LENGTH, DIM)))
    whole = network.hidden(dense, events)
    for place in range(LENGTH):
        changed = events.clone()
        changed[:, place, 0] += 5.0
        found = network.hidden(dense, changed)
        torch.testing.assert_close(found[:, :place], whole[:, :place], rtol=0, atol=0)
        assert not torch.allclose(found[:, place:], whole[:, place:])
        short = network.hidden(dense, events[:, : place + 1])
        torch.testing.assert_close(short, whole[:, : place + 1])


def test_a_batch_is_its_users(network: SequenceNetwork) -> None:
    dense = parameters(network)
    events = torch.from_numpy(np.random.default_rng(2).normal(size=(4, LENGTH, DIM)))
    alone = torch.stack([network.hidden(dense, one) for one in events])
    torch.testing.assert_close(network.hidden(dense, events), alone)
    mapped = vmap(network.hidden, in_dims=(None, 0))(dense, events)
    torch.testing.assert_close(mapped, alone)


def test_attention_is_torch_scaled_dot_product_attention() -> None:
    network = Attention(DIM, LENGTH, 1, 2)
    part = {name.removeprefix("0."): value for name, value in parameters(network).items()}
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(LENGTH, DIM)))
    query, key, value = (x @ part["query_key_value"]).chunk(3, dim=-1)
    heads = [t.reshape(LENGTH, 2, DIM // 2).transpose(0, 1) for t in (query, key, value)]
    seen = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
    expected = seen.transpose(0, 1).reshape(LENGTH, DIM) @ part["output"]
    torch.testing.assert_close(network._attend(part, x), expected)


def test_the_recurrent_unit_is_that_of_torch() -> None:
    network = NETWORKS["gru"]
    dense = parameters(network)
    unit = torch.nn.GRU(DIM, DIM, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(dense["input"].T)
        unit.weight_hh_l0.copy_(dense["state"].T)
        unit.bias_ih_l0.copy_(dense["input_bias"])
        unit.bias_hh_l0.copy_(dense["state_bias"])
    events = torch.from_numpy(np.random.default_rng(4).normal(size=(3, LENGTH, DIM)))
    out = unit(events)[0] @ dense["output"]
    normed = torch.nn.functional.layer_norm(out, (DIM,))
    torch.testing.assert_close(
        network.hidden(dense, events), normed * dense["norm"] + dense["norm_bias"]
    )


def users(counts: list[int], seed: int = 5) -> tuple[torch.Tensor, torch.Tensor, dict]:
    rng = np.random.default_rng(seed)
    own = torch.from_numpy(rng.normal(size=(len(counts), LENGTH + 1, DIM)))
    shared = torch.from_numpy(rng.normal(size=(12, DIM)))
    present = torch.arange(LENGTH + 1) < torch.tensor(counts)[:, None]
    return (
        own,
        shared,
        {
            "present": present,
            "rival": torch.from_numpy(rng.random((len(counts), 12)) < 0.8),
            "correction": torch.from_numpy(rng.normal(size=len(counts))),
            "own_popularity": torch.from_numpy(rng.normal(size=present.shape)),
            "shared_popularity": torch.from_numpy(rng.normal(size=(len(counts), 12))),
        },
    )


def test_the_loss_is_the_cross_entropy_of_every_next_item(network: SequenceNetwork) -> None:
    loss = NextItem(network, LENGTH)
    dense = parameters(network) | {POPULARITY: torch.tensor([0.3], dtype=torch.float64)}
    counts = [LENGTH + 1, 4, 1, 0]
    own, shared, example = users(counts)
    found = loss.losses(dense, own, shared, example)
    for user, count in enumerate(counts):
        hidden, expected = network.hidden(dense, own[user, :-1]), 0.0
        own_bias, shared_bias = (0.3 * example[f"{kind}_popularity"] for kind in ("own", "shared"))
        for event in range(count - 1):
            own_logits = own[user, :count] @ hidden[event] + own_bias[user, :count]
            logits = shared @ hidden[event] + shared_bias[user] + example["correction"][user]
            rivals = logits[example["rival"][user]]
            expected += torch.cat([own_logits, rivals]).logsumexp(0) - own_logits[event + 1]
        assert float(found[user]) == pytest.approx(float(expected) / LENGTH, rel=1e-9)


def test_padding_never_matters(network: SequenceNetwork) -> None:
    loss = NextItem(network, LENGTH)
    dense = parameters(network) | {POPULARITY: torch.tensor([0.3], dtype=torch.float64)}
    own, shared, example = users([LENGTH + 1, 4, 2])

    def gradients(vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        summed = lambda *given: loss.losses(*given, shared, example).sum()  # noqa: E731
        by_dense, by_own = grad(summed, argnums=(0, 1))(dense, vectors)
        return (*by_dense.values(), by_own)

    other = torch.where(example["present"][..., None], own, own + 7.0)
    for one, two in zip(gradients(own), gradients(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    assert not gradients(other)[-1][~example["present"]].any()


def test_nothing_is_drawn_from_torch_global_generator(network: SequenceNetwork) -> None:
    before = torch.get_rng_state()
    drop = Dropout(0.5, torch.Generator().manual_seed(1))
    events = torch.zeros(2, LENGTH, DIM, dtype=torch.float64)
    network.hidden(parameters(network), events, drop)
    assert torch.equal(before, torch.get_rng_state())


def test_the_first_values_are_a_function_of_the_generator(network: SequenceNetwork) -> None:
    one, two, other = (network.initial(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    drawn = not isinstance(network, Recency)
    assert drawn == any(not np.array_equal(one[name], other[name]) for name in one)
    assert all(math.isfinite(np.abs(value).max()) for value in one.values())


@pytest.mark.parametrize("decays", [(1.0,), (0.8, 0.5, 0.1)])
def test_contexts_are_those_that_are_served_and_summed(decays: tuple[float, ...]) -> None:
    """By `contexts_before`, which is numpy: the context of an event is what is read before it."""
    network, rng = Recency(3, decays, 4), np.random.default_rng(6)
    vectors = rng.normal(size=(20, network.dim))
    items = np.sort(rng.choice(20, LENGTH + 1, replace=False))
    order = rng.permutation(LENGTH + 1)
    log = Histories(np.array([0, LENGTH + 1]), items, np.ones(LENGTH + 1), 20, order)
    expected = np.zeros((LENGTH + 1, 3 * len(decays)))
    expected[order] = contexts_before(log, vectors[:, :3], decays, 4)
    mix = rng.normal(size=(3 * len(decays),) * 2)
    events = torch.from_numpy(vectors[log.sequences()][:-1])
    found = network.hidden({MIX: torch.from_numpy(mix)}, events).numpy()
    assert not found[:, :3].any()
    np.testing.assert_allclose(found[:, 3:], expected[1:] @ mix, atol=1e-9)


def test_a_context_of_nothing_has_a_finite_gradient() -> None:
    network = Recency(2, (0.5,), 3)
    events = torch.zeros(LENGTH, network.dim, requires_grad=True)
    mix = torch.eye(2, requires_grad=True)
    network.hidden({MIX: mix}, events).sum().backward()
    for found in (events.grad, mix.grad):
        assert found is not None
        assert bool(found.isfinite().all())


def test_a_weight_of_popularity_that_is_given_is_not_trained() -> None:
    network = NETWORKS["recency"]
    dense, (own, shared, example) = parameters(network), users([LENGTH + 1, 4])
    fixed, free = NextItem(network, LENGTH, 0.3), NextItem(network, LENGTH)
    assert POPULARITY not in fixed.initial(np.random.default_rng(0))
    trained = dense | {POPULARITY: torch.tensor([0.3], dtype=torch.float64)}
    torch.testing.assert_close(
        fixed.losses(dense, own, shared, example), free.losses(trained, own, shared, example)
    )

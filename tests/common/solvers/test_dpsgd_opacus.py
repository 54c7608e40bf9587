"""Opacus clips per user and steps on a mechanism's total; nobody else sums, nobody adds noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer

from common.arrays import Floats
from common.errors import Code, PrivacyError
from common.privacy.contributions import RankOne
from common.solvers.dpsgd_opacus import (
    MOMENTS,
    Descent,
    GradientClipper,
    NoisyTotalOptimizer,
    SquareLoss,
    linear_layer,
)

ITEMS, WIDTH, BATCH = 30, 4, 7


def random_loss(rng: np.random.Generator, batch: int = BATCH) -> SquareLoss:
    weight = (rng.random((batch, ITEMS)) < 0.4) * rng.uniform(0.1, 2.0, (batch, ITEMS))
    target = (rng.random((batch, ITEMS)) < 0.5).astype(float)
    offset = rng.normal(size=(batch, ITEMS))
    return SquareLoss(weight, target, offset, rng.uniform(0.5, 1.5, ITEMS))


def written_out(contribution: RankOne) -> Floats:
    """`[batch, items, width]`."""
    dense = np.zeros((len(contribution.users), ITEMS, contribution.right.shape[1]))
    for user in range(len(dense)):
        own = slice(contribution.indptr[user], contribution.indptr[user + 1])
        dense[user, contribution.rows[own]] = np.outer(
            contribution.left[own], contribution.right[user]
        )
    return dense


def slow_gradients(table: Floats, vectors: Floats, loss: SquareLoss, clip_norm: float) -> Floats:
    """One user and one item at a time, by hand."""
    gradients = np.zeros((len(vectors), *table.shape))
    for user, vector in enumerate(vectors):
        for item in range(len(table)):
            score = loss.scale[item] * (table[item] @ vector) + loss.offset[user, item]
            residual = loss.weight[user, item] * (score - loss.target[user, item])
            gradients[user, item] = residual * loss.scale[item] * vector
        norm = np.sqrt((gradients[user] ** 2).sum())
        gradients[user] *= min(1.0, clip_norm / (norm + 1e-6))
    return gradients


@pytest.mark.parametrize("clip_norm", [0.05, 3.0, 1e6])
def test_gradients_equal_the_slow_oracle(clip_norm: float) -> None:
    rng = np.random.default_rng(0)
    table, vectors = rng.normal(size=(ITEMS, WIDTH)), rng.normal(size=(BATCH, WIDTH))
    loss = random_loss(rng)
    found = GradientClipper(table, clip_norm).gradients(np.arange(BATCH), vectors, loss)
    np.testing.assert_allclose(
        written_out(found), slow_gradients(table, vectors, loss, clip_norm), atol=1e-10
    )


def test_gradients_equal_opacus_own_per_sample_gradients_and_clipping() -> None:
    rng = np.random.default_rng(1)
    table, vectors = rng.normal(size=(ITEMS, WIDTH)), rng.normal(size=(BATCH, WIDTH))
    loss, layer = random_loss(rng), linear_layer(table)
    module = GradSampleModule(layer, loss_reduction="sum")
    loss(module(torch.from_numpy(vectors).requires_grad_())).backward()
    optimizer = DPOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=0.5,
        expected_batch_size=1,
    )
    optimizer.clip_and_accumulate()
    found = GradientClipper(table, 0.5).gradients(np.arange(BATCH), vectors, loss)
    total = written_out(found).sum(axis=0)
    np.testing.assert_allclose(total, layer.weight.summed_grad.detach().numpy(), atol=1e-6)


def test_rows_are_the_items_of_the_loss_in_order() -> None:
    rng = np.random.default_rng(2)
    loss = random_loss(rng)
    clipper = GradientClipper(rng.normal(size=(ITEMS, WIDTH)), 1.0)
    found = clipper.gradients(np.arange(3, 3 + BATCH), rng.normal(size=(BATCH, WIDTH)), loss)
    for user in range(BATCH):
        rows = found.rows[found.indptr[user] : found.indptr[user + 1]]
        assert rows.tolist() == np.flatnonzero(loss.weight[user]).tolist()
    assert found.users.tolist() == list(range(3, 3 + BATCH))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-4, 1e3),
    st.floats(1e-6, 1e6),
)
def test_no_user_passes_the_clip_norm(seed: int, clip_norm: float, size: float) -> None:
    rng = np.random.default_rng(seed)
    table, vectors = size * rng.normal(size=(ITEMS, WIDTH)), rng.normal(size=(BATCH, WIDTH))
    found = GradientClipper(table, clip_norm).gradients(np.arange(BATCH), vectors, random_loss(rng))
    norms = np.sqrt((written_out(found) ** 2).sum(axis=(1, 2)))
    assert np.all(norms <= clip_norm * (1 + 1e-12))


def test_batches_do_not_influence_each_other() -> None:
    rng = np.random.default_rng(3)
    table, vectors = rng.normal(size=(ITEMS, WIDTH)), rng.normal(size=(BATCH, WIDTH))
    loss, other = random_loss(rng), random_loss(rng)
    fresh = GradientClipper(table, 0.3).gradients(np.arange(BATCH), vectors, loss)
    used = GradientClipper(table, 0.3)
    used.gradients(np.arange(BATCH), 5 * vectors, other)
    again = used.gradients(np.arange(BATCH), vectors, loss)
    np.testing.assert_array_equal(written_out(fresh), written_out(again))


def test_autograd_sum_over_the_batch_is_dropped() -> None:
    rng = np.random.default_rng(4)
    clipper = GradientClipper(rng.normal(size=(ITEMS, WIDTH)), 1.0)
    clipper.gradients(np.arange(BATCH), rng.normal(size=(BATCH, WIDTH)), random_loss(rng))
    assert clipper._layer.weight.grad is None


def make_optimizer(layer: torch.nn.Linear, batch: float = 10.0) -> NoisyTotalOptimizer:
    inner = torch.optim.SGD(layer.parameters(), lr=2.0)
    return NoisyTotalOptimizer(inner, clip_norm=1.0, expected_batch_size=batch)


def test_optimizer_steps_on_the_given_total_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    table, total = rng.normal(size=(ITEMS, WIDTH)), rng.normal(size=(ITEMS, WIDTH))
    layer = linear_layer(table)
    layer.weight.grad = torch.full((ITEMS, WIDTH), 1e9, dtype=torch.float64)
    make_optimizer(layer).step_with(total)
    np.testing.assert_allclose(layer.weight.detach().numpy(), table - 2.0 * total / 10.0)


def test_optimizer_refuses_to_step_without_a_total() -> None:
    layer = linear_layer(np.ones((ITEMS, WIDTH)))
    optimizer = make_optimizer(layer)
    layer.weight.grad = torch.ones((ITEMS, WIDTH), dtype=torch.float64)
    with pytest.raises(PrivacyError) as error:
        optimizer.step()
    assert error.value.code is Code.RELEASE_UNDECLARED
    optimizer.step_with(np.zeros((ITEMS, WIDTH)))
    with pytest.raises(PrivacyError):
        optimizer.step()


def test_optimizer_refuses_to_sum_users() -> None:
    optimizer = make_optimizer(linear_layer(np.ones((ITEMS, WIDTH))))
    with pytest.raises(PrivacyError):
        optimizer.clip_and_accumulate()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_moments_kept_as_arrays_give_the_steps_of_one_torch_optimizer(optimizer: str) -> None:
    rng = np.random.default_rng(6)
    table = rng.normal(size=(ITEMS, WIDTH))
    totals = rng.normal(size=(4, ITEMS, WIDTH))
    descent = Descent(optimizer, 0.1, 0.7, 1.0)  # type: ignore[arg-type]
    layer = linear_layer(table)
    kept = (
        torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.7)
        if optimizer == "sgd"
        else torch.optim.Adam(layer.parameters(), lr=0.1, betas=(0.7, 0.999))
    )
    moments: dict[str, np.ndarray] = {}
    for total in totals:
        table, moments = descent.step(table, moments, total, 8.0)
        layer.weight.grad = torch.from_numpy(total / 8.0)
        kept.step()
    np.testing.assert_allclose(table, layer.weight.detach().numpy(), atol=1e-12)
    assert moments
    assert all(name.startswith(MOMENTS) for name in moments)


def test_descent_leaves_its_arguments_alone() -> None:
    table, total = np.ones((ITEMS, WIDTH)), np.ones((ITEMS, WIDTH))
    descent = Descent("sgd", 0.1, 0.9, 1.0)
    _, moments = descent.step(table, {}, total, 1.0)
    before = {name: value.copy() for name, value in moments.items()}
    descent.step(table, moments, total, 1.0)
    np.testing.assert_array_equal(table, 1.0)
    np.testing.assert_array_equal(total, 1.0)
    for name, value in moments.items():
        np.testing.assert_array_equal(value, before[name])


def test_nothing_reads_torch_global_generator() -> None:
    rng = np.random.default_rng(7)
    before = torch.get_rng_state()
    table = rng.normal(size=(ITEMS, WIDTH))
    GradientClipper(table, 1.0).gradients(
        np.arange(BATCH), rng.normal(size=(BATCH, WIDTH)), random_loss(rng)
    )
    Descent("sgd", 0.1, 0.9, 1.0).step(table, {}, table, 1.0)
    assert torch.equal(before, torch.get_rng_state())

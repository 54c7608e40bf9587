"""Opacus' optimiser steps on a mechanism's total; it sums nobody, and adds no noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import Code, PrivacyError
from common.solvers.descent import MOMENTS, Descent, NoisyTotalOptimizer, linear_layer

ITEMS, WIDTH = 30, 4


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
    Descent("sgd", 0.1, 0.9, 1.0).step(table, {}, table, 1.0)
    assert torch.equal(before, torch.get_rng_state())

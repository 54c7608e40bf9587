"""The ridge of known vectors: the closed form, whatever stands behind, and finite always."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from common.models.networks.pooling import first_ridge, pooled, ridge

DIM, OWN, ITEMS = 5, 6, 40


def given(users: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    items = torch.from_numpy(rng.normal(size=(ITEMS, DIM)))
    own = items[torch.from_numpy(rng.integers(0, ITEMS, (users, OWN)))]
    known = torch.from_numpy((rng.random((users, OWN)) < 0.6).astype(np.float64))
    return own, known, items.T @ items


def test_it_is_the_least_of_the_squares_of_implicit_factorisation() -> None:
    """Its gradient there is zero: Σ_known (x·y - 1 - ...) written as a loss and differentiated."""
    own, known, gram = given()
    logarithms = torch.tensor([-1.2, -2.5]).double()
    found = ridge(logarithms, own, known, gram)
    alpha, penalty = logarithms.exp()
    size = alpha * torch.diagonal(gram).mean()
    mine = (own * known.unsqueeze(-1)).square().sum((-1, -2)) / DIM
    held = penalty * (known.sum(-1) + 1) * size + 1e-4 * (size + mine)
    x = found.clone().requires_grad_()
    of_known = (known * ((own @ x.unsqueeze(-1)).squeeze(-1) - 1).square()).sum()
    of_all = alpha * torch.einsum("ud,de,ue->", x, gram, x)
    loss = of_known + of_all + (held * x.square().sum(-1)).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient, torch.zeros_like(x), atol=1e-9, rtol=0)
    assert found.norm(dim=-1).min() > 1e-3


def test_the_length_of_the_vectors_does_not_turn_it() -> None:
    own, known, gram = given()
    weights = torch.from_numpy(first_ridge())
    one, other = ridge(weights, own, known, gram), ridge(weights, 7 * own, known, 49 * gram)
    torch.testing.assert_close(7 * other, one, rtol=1e-4, atol=1e-6)


def test_what_is_not_known_and_the_order_do_not_matter() -> None:
    own, known, gram = given()
    weights = torch.from_numpy(first_ridge())
    changed = torch.where(known.unsqueeze(-1) > 0, own, own * -3)
    found = ridge(weights, own, known, gram)
    torch.testing.assert_close(ridge(weights, changed, known, gram), found)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(ridge(weights, own[:, order], known[:, order], gram), found)


@pytest.mark.parametrize("logarithms", [(-1e30, -1e30), (1e30, 1e30), (-9.0, -9.0), (-2.3, -16.0)])
@pytest.mark.parametrize("length", [0.0, 1e-12, 1.0, 1e6])
@pytest.mark.parametrize("kind", ["random", "equal", "line"])
def test_it_and_its_gradient_are_finite_whatever_its_weights(
    logarithms: tuple[float, ...], length: float, kind: str
) -> None:
    own, known, _ = given()
    if kind != "random":
        own = torch.ones_like(own) * (own[..., :1] if kind == "line" else 1.0)
    own = (length * own).float().requires_grad_()
    gram = own.detach()[0].T @ own.detach()[0]
    found = ridge(torch.tensor(logarithms), own, known.float(), gram)
    assert torch.isfinite(found).all()
    functional.layer_norm(found, (DIM,)).square().sum().backward()
    assert own.grad is not None
    assert torch.isfinite(own.grad).all()


def test_of_a_system_that_is_not_finite_nobody_else_notices() -> None:
    """`solve` would raise in its gradient, for all of them."""
    own, known, gram = given()
    weights = torch.from_numpy(first_ridge()).double()

    def total(vectors: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        return ridge(weights, vectors, given, gram).sum()

    bad = own.clone()
    bad[1] = torch.inf
    good, spoilt = (vmap(grad(total))(vectors, known) for vectors in (own, bad))
    assert torch.equal(good[[0, 2]], spoilt[[0, 2]])
    assert not torch.isfinite(spoilt[1]).all()


def test_a_system_without_a_factor_has_no_answer() -> None:
    """Half a factor would give numbers that mean nothing."""
    own, known, gram = given()
    weights = torch.from_numpy(first_ridge()).double()
    grams = torch.stack([gram, -100 * gram, gram])
    found = ridge(weights, own, known, grams)
    assert torch.isnan(found[1]).all()
    torch.testing.assert_close(found[[0, 2]], ridge(weights, own, known, gram)[[0, 2]])


def test_nothing_known_is_nothing() -> None:
    own, known, gram = given()
    nothing = torch.zeros_like(known)
    assert not ridge(torch.from_numpy(first_ridge()), own, nothing, gram).any()
    assert not pooled(own, nothing).any()

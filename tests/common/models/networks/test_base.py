"""Cross-entropy among own and shared items, against a slow sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from common.models.networks.base import BLOCKED, Dropout, candidate_losses

OWN, SHARED, DIM = 4, 6, 3


def example(rng: np.random.Generator, present: list[bool], rival: list[bool]) -> dict:
    return {
        "present": torch.tensor(present),
        "rival": torch.tensor(rival),
        "correction": torch.tensor(0.7),
        "own_popularity": torch.from_numpy(rng.normal(size=OWN)),
        "shared_popularity": torch.from_numpy(rng.normal(size=SHARED)),
    }


def slow(hidden: torch.Tensor, own: torch.Tensor, shared: torch.Tensor, given: dict) -> list:
    """One candidate at a time."""
    losses = []
    for target in hidden:
        own_logits = (own @ target + 0.5 * given["own_popularity"]).tolist()
        logits = (shared @ target + 0.5 * given["shared_popularity"] + 0.7).tolist()
        total = sum(math.exp(own_logits[i]) for i in range(OWN) if given["present"][i])
        total += sum(math.exp(logits[i]) for i in range(SHARED) if given["rival"][i])
        losses.append([math.log(total) - logit if total else math.inf for logit in own_logits])
    return losses


@pytest.mark.parametrize("present", [[True] * OWN, [True, True, False, False]])
@pytest.mark.parametrize("rival", [[True] * SHARED, [False] * SHARED, [True, False] * 3])
def test_losses_are_those_of_a_slow_sum(present: list[bool], rival: list[bool]) -> None:
    rng = np.random.default_rng(0)
    hidden, own, shared = (torch.from_numpy(rng.normal(size=(n, DIM))) for n in (OWN, OWN, SHARED))
    given = example(rng, present, rival)
    found = candidate_losses(hidden, own, shared, given, torch.tensor([0.5]))
    expected = np.array(slow(hidden, own, shared, given))
    np.testing.assert_allclose(found[:, present], expected[:, present], rtol=1e-6)


def test_all_shared_items_with_no_correction_are_a_softmax_over_the_catalogue() -> None:
    rng = np.random.default_rng(1)
    table = torch.from_numpy(rng.normal(size=(SHARED, DIM)))
    own, rival = torch.tensor([1, 4, 2, 5]), torch.ones(SHARED, dtype=torch.bool)
    rival[own] = False
    given = example(rng, [True] * OWN, rival.tolist()) | {"correction": torch.tensor(0.0)}
    hidden = torch.from_numpy(rng.normal(size=(1, DIM)))
    found = candidate_losses(hidden, table[own], table, given, torch.tensor([0.0]))
    whole = -torch.log_softmax(table @ hidden[0], dim=0)
    np.testing.assert_allclose(found[0], whole[own], rtol=1e-6)


def test_a_user_with_nothing_at_all_has_finite_gradients() -> None:
    hidden = torch.zeros(1, DIM, requires_grad=True)
    given = example(np.random.default_rng(0), [False] * OWN, [False] * SHARED)
    own, shared = torch.ones(OWN, DIM), torch.ones(SHARED, DIM)
    given = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    candidate_losses(hidden, own, shared, given, torch.ones(1)).sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert math.isfinite(BLOCKED)


def test_dropout_reads_its_own_generator_alone() -> None:
    before = torch.get_rng_state()
    one, two = (
        Dropout(0.3, torch.Generator().manual_seed(5))(torch.ones(10_000)) for _ in range(2)
    )
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
    assert float((one == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(one.mean()) == pytest.approx(1.0, abs=0.03)

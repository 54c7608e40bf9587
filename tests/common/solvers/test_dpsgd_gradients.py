"""Gradients in closed form, against Opacus' hooks, its ghost clipping, and the definition."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

from common.arrays import Floats, Histories, Ints
from common.models.fold_in import FoldIn, fold_in_users
from common.privacy.rank_one import RankOne
from common.privacy.rank_one_sum import add_rank_one
from common.solvers.descent import linear_layer
from common.solvers.dpsgd_gradients import UserGradients

ITEMS, USERS, DIM, ALPHA = 50, 37, 7, 0.3
FOLD_IN = FoldIn(unobserved_weight=0.3, regularisation=0.5)
UNCLIPPED = 1e12
EVERYBODY: Ints = np.arange(USERS, dtype=np.int64)


class Case:
    """Users with 0 to 40 weighted events, a table, and what scores are made of."""

    def __init__(self, seed: int = 0, negatives: int = 12) -> None:
        rng = np.random.default_rng(seed)
        rows = [np.sort(rng.choice(ITEMS, rng.integers(1, 40), False)) for _ in range(USERS)]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        items = np.concatenate(rows).astype(np.int64)
        self.histories = Histories(indptr, items, rng.uniform(0.5, 5.0, len(items)), ITEMS)
        self.table: Floats = rng.normal(size=(ITEMS, DIM - 1))
        self.scale: Floats = rng.uniform(0.5, 2.0, ITEMS)
        self.column: Floats = rng.uniform(0.1, 2.0, ITEMS)
        self.negatives: Ints = np.sort(rng.choice(ITEMS, negatives, replace=False))

    @property
    def embeddings(self) -> Floats:
        return np.column_stack([self.column, self.table * self.scale[:, None]])

    def of(self, users: Ints = EVERYBODY, clip_norm: float = UNCLIPPED) -> RankOne:
        maker = UserGradients(
            FOLD_IN,
            self.embeddings,
            self.scale,
            self.negatives,
            clip_norm=clip_norm,
            negative_weight=ALPHA,
        )
        return maker.of(self.histories, users)

    def vectors(self) -> Floats:
        return fold_in_users(self.histories, self.embeddings, np.ones(ITEMS), FOLD_IN)

    def weights(self) -> tuple[Floats, Floats]:
        """Of each item in each user's loss, and what it should score, `[users, items]`."""
        weight = np.zeros((USERS, ITEMS))
        weight[:, self.negatives] = ALPHA
        weight[self.histories.user_of_event, self.histories.items] = self.histories.weights
        target = np.zeros((USERS, ITEMS))
        target[self.histories.user_of_event, self.histories.items] = 1.0
        return weight, target

    def half_clipped(self) -> float:
        """The median of the users' norms."""
        return float(np.median(norms(self.of())))


def written_out(batch: RankOne) -> Floats:
    """`[users, items, width]`."""
    found = np.zeros((len(batch.users), ITEMS, batch.right.shape[1]))
    for block in batch.expand(10**9):
        owner = np.repeat(np.arange(len(block.users)), np.diff(block.indptr))
        found[owner, block.rows] = block.values
    return found


def norms(batch: RankOne) -> Floats:
    return np.sqrt(np.square(written_out(batch)).sum(axis=(1, 2)))


def by_definition(case: Case, clip_norm: float) -> Floats:
    """One user and one item at a time."""
    weight, target = case.weights()
    found = np.zeros((USERS, ITEMS, DIM - 1))
    for user, vector in enumerate(case.vectors()):
        for item in range(ITEMS):
            residual = weight[user, item] * (case.embeddings[item] @ vector - target[user, item])
            found[user, item] = residual * case.scale[item] * vector[1:]
        norm = np.sqrt((found[user] ** 2).sum())
        found[user] *= min(1.0, clip_norm / norm)
    return found


def opacus_sum(case: Case, mode: Literal["hooks", "ghost"], clip_norm: float) -> Floats:
    """Opacus' own sum of clipped gradients by the table as a linear layer, `[items, width]`."""
    weight, target, vectors = *(torch.from_numpy(v) for v in case.weights()), case.vectors()
    offset = torch.from_numpy(np.outer(vectors[:, 0], case.column))
    inputs = torch.tensor(vectors[:, 1:]).requires_grad_()

    def losses(products: torch.Tensor) -> torch.Tensor:
        error = products * torch.from_numpy(case.scale) + offset - target
        return 0.5 * (weight * error * error).sum(dim=1)

    layer = linear_layer(case.table)
    inner = torch.optim.SGD(layer.parameters(), lr=1.0)
    wanted: dict[str, Any] = {
        "noise_multiplier": 0.0, "max_grad_norm": clip_norm, "expected_batch_size": None,
        "loss_reduction": "sum",
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if mode == "hooks":
            module: Any = GradSampleModule(layer, loss_reduction="sum")
            optimizer: Any = DPOptimizer(inner, **wanted)
            losses(module(inputs)).sum().backward()  # type: ignore[no-untyped-call]
        else:
            module = GradSampleModuleFastGradientClipping(
                layer, loss_reduction="sum", max_grad_norm=clip_norm, use_ghost_clipping=True
            )
            optimizer = DPOptimizerFastGradientClipping(inner, **wanted)
            criterion = DPLossFastGradientClipping(
                module, optimizer, _Losses(losses), loss_reduction="sum"
            )
            criterion(module(inputs)).backward()
        optimizer.pre_step()
    found: Floats = layer.weight.grad.detach().numpy()
    return found


class _Losses:
    """A criterion as Opacus wants it."""

    reduction = "sum"

    def __init__(self, losses: Any) -> None:
        self._losses = losses

    def __call__(self, products: torch.Tensor) -> Any:
        return self._losses(products)


@pytest.mark.parametrize("mode", ["hooks", "ghost"])
@pytest.mark.parametrize("negatives", [0, 12, ITEMS])
def test_the_sum_is_that_of_opacus(mode: Literal["hooks", "ghost"], negatives: int) -> None:
    """Half of the users clipped, no noise; Opacus adds 1e-6 to a norm before it divides."""
    case = Case(negatives=negatives)
    clip_norm = case.half_clipped()
    clipped = case.of(clip_norm=clip_norm)
    assert np.mean(norms(case.of()) > clip_norm) == pytest.approx(0.5, abs=0.02)
    expected = opacus_sum(case, mode, clip_norm)
    size = np.linalg.norm(expected)
    ours = written_out(clipped).sum(axis=0)
    assert np.linalg.norm(ours - expected) < 1e-6 * size
    # by the mechanism's own clipping, of gradients that nobody has clipped
    units = np.zeros(expected.shape, dtype=np.int64)
    add_rank_one(units, case.of(), clip_norm, 2**30)
    assert np.linalg.norm(units * (clip_norm / 2**30) - expected) < 1e-6 * size


@pytest.mark.parametrize("negatives", [0, 12, ITEMS])
@pytest.mark.parametrize("clip_norm", [0.05, 3.0, UNCLIPPED])
def test_gradients_are_those_of_the_definition(negatives: int, clip_norm: float) -> None:
    case = Case(1, negatives)
    found = written_out(case.of(clip_norm=clip_norm))
    expected = by_definition(case, clip_norm)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_mechanism_and_a_plain_sum_have_the_same_gradients() -> None:
    """Mode `none` clips nobody itself: the solver's factor is what makes both train alike."""
    case = Case(2)
    clip_norm = case.half_clipped()
    units, total = np.zeros((ITEMS, DIM - 1), dtype=np.int64), np.zeros((ITEMS, DIM - 1))
    add_rank_one(units, case.of(clip_norm=clip_norm), clip_norm, 2**30)
    case.of(clip_norm=clip_norm).add_to(total)
    np.testing.assert_allclose(units * (clip_norm / 2**30), total, atol=1e-6 * clip_norm)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3), st.floats(-6, 6))
def test_no_user_passes_the_clip_norm(seed: int, clip_norm: float, size: float) -> None:
    case = Case(seed)
    case.table *= 10.0**size
    assert np.all(norms(case.of(clip_norm=clip_norm)) <= clip_norm * (1 + 1e-12))


def test_rows_are_own_items_and_negatives() -> None:
    case = Case(3)
    block = next(case.of().expand(10**9))
    for user in range(USERS):
        own = case.histories.items[case.histories.indptr[user] : case.histories.indptr[user + 1]]
        rows = block.rows[block.indptr[user] : block.indptr[user + 1]]
        assert rows.tolist() == sorted({*own.tolist(), *case.negatives.tolist()})


def test_a_user_is_the_same_to_the_last_bit_whoever_else_takes_part() -> None:
    case = Case(4)
    clip_norm = case.half_clipped()
    together = written_out(case.of(clip_norm=clip_norm))
    for users in ([0], [36], [5, 6], list(range(1, 37)), list(range(0, 37, 3))):
        found = written_out(case.of(np.array(users), clip_norm))
        assert found.tobytes() == together[users].tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_events_without_finite_gradients_are_one_user_s_own(bad: float) -> None:
    case = Case(5)
    clip_norm = case.half_clipped()
    before = written_out(case.of(clip_norm=clip_norm))
    mine = slice(case.histories.indptr[8], case.histories.indptr[9])
    weights = case.histories.weights.copy()
    weights[mine] = bad
    case.histories = replace(case.histories, weights=weights)
    after = written_out(case.of(clip_norm=clip_norm))
    others = np.arange(USERS) != 8
    assert after[others].tobytes() == before[others].tobytes()


def test_a_vector_of_zero_is_a_gradient_of_zero() -> None:
    """Of a norm of zero, by which nothing may be divided."""
    case = Case(6)
    case.table[:] = 0.0
    assert not written_out(case.of(clip_norm=1.0)).any()


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.solvers import dpsgd_gradients

    case = Case(7)
    whole = written_out(case.of())
    monkeypatch.setattr(dpsgd_gradients, "_BLOCK_VALUES", 1)
    assert written_out(case.of()).tobytes() == whole.tobytes()

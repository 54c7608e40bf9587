"""The solver `transitions`: what a user contributes by hand, its norm, and what it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from common.arrays import Floats, Histories, Ints, State
from common.errors import ConfigError
from common.models.transitions import CONTEXT
from common.solvers.base import NoisyTotal, PublicFacts
from common.solvers.registry import make_solver

ITEMS, USERS = 24, 300
SMALL: dict[str, Any] = {"rounds": 4, "embedding_dim": 12, "length": 3, "decays": [0.8, 0.5]}


@dataclass(frozen=True)
class Data:
    histories: Histories
    heldout: Ints | None = None


def solver_for(*, private: bool = False, **settings: Any) -> Any:
    facts = PublicFacts(
        n_items=ITEMS, population=USERS, clients=1, epsilon=8.0 if private else None,
        delta=1e-4 if private else 0.0, signal=float(USERS), private=private,
    )  # fmt: skip
    return make_solver("transitions", {**SMALL, **settings}, facts)


def histories_of(rows: list[list[int]]) -> Histories:
    """Each row in time order."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    sorts = [np.argsort(row) for row in rows]
    items = np.concatenate([np.array(r)[s] for r, s in zip(rows, sorts, strict=True)])
    return Histories(
        indptr, items.astype(np.int64), np.ones(len(items)), ITEMS, np.concatenate(sorts)
    )


def by_hand(row: list[int], vectors: Floats, decays: list[float], length: int) -> Floats:
    """Σ over events but the first of the context before it on its row, over √(n - 1)."""
    found = np.zeros((ITEMS, len(decays) * vectors.shape[1]))
    for place in range(1, len(row)):
        parts = []
        for decay in decays:
            before = row[max(0, place - length) : place][::-1]
            total = sum(decay**k * vectors[item] for k, item in enumerate(before))
            parts.append(total / np.linalg.norm(total) / np.sqrt(len(decays)))
        found[row[place]] = np.concatenate(parts) / np.sqrt(len(row) - 1)
    return found


def test_a_contribution_is_what_it_is_by_hand_and_of_norm_one() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.permutation(ITEMS)[:n].tolist() for n in (1, 2, 3, 9, 24)]
    solver = solver_for(private=True)
    vectors = rng.normal(size=solver.model_specs[CONTEXT].shape)
    last, data = len(solver.steps) - 1, Data(histories_of(rows))
    for user, row in enumerate(rows):
        total = np.zeros((ITEMS, solver.steps[last].release.width))
        for batch in solver.contribute(last, {CONTEXT: vectors}, data, np.array([user])):
            batch.add_to(total)
        np.testing.assert_allclose(total, by_hand(row, vectors, [0.8, 0.5], 3), atol=1e-12)
        assert np.linalg.norm(total) == pytest.approx(1.0 if len(row) > 1 else 0.0)
    assert solver.steps[last].release.clip_norm == 1.0


def test_it_learns_what_comes_next() -> None:
    """Everybody walks a circle of the items, each from a place of their own."""
    rng = np.random.default_rng(1)
    starts, lengths = rng.integers(ITEMS, size=USERS), rng.integers(4, 10, size=USERS)
    rows = [[(s + k) % ITEMS for k in range(n)] for s, n in zip(starts, lengths, strict=True)]
    solver, data, users = solver_for(), Data(histories_of(rows)), np.arange(USERS)
    state: State = solver.initial_state(0)
    for index, step in enumerate(solver.steps):
        total = np.zeros((step.release.rows, step.release.width))
        for batch in solver.contribute(index, state, data, users):
            batch.add_to(total)
        state = solver.advance(index, state, NoisyTotal(total, 0.0, float(USERS)))
    model = solver.finish(state)
    scores = model.scores(model.fold_in(data.histories))
    scores[data.histories.user_of_event, data.histories.items] = -np.inf
    wanted = (starts + lengths) % ITEMS
    assert np.mean(scores.argmax(axis=1) == wanted) > 0.8


@pytest.mark.parametrize("decays", [[], [0.0], [1.5], [float("nan")], [-0.5], [0.5] * 5])
def test_decays_that_are_none_are_refused(decays: list[float]) -> None:
    with pytest.raises(ConfigError):
        solver_for(decays=decays)


@pytest.mark.parametrize("dim", [2, 512])
def test_every_length_of_vectors_that_is_taken_has_a_model(dim: int) -> None:
    solver = solver_for(embedding_dim=dim)
    assert solver.steps[-1].release.width == solver.model_settings.dim
    assert solver.model_specs[CONTEXT].shape == (ITEMS, solver.model_settings.context_dim)

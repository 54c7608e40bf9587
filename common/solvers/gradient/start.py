"""Where a gradient solver starts: popularity alone, or the subspace of tastes beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from common.arrays import Floats, State
from common.solvers.base import PublicFacts, Solver, Step
from common.solvers.popularity import Popularity
from common.solvers.subspace import Subspace

__all__ = ["embeddings_from", "first_solver", "first_steps"]


def first_solver(subspace: Subspace.Settings | None, facts: PublicFacts) -> Solver:
    """The solver whose steps come first; None asks for popularity alone."""
    if subspace is None:
        return Popularity(Popularity.Settings(), facts)
    return Subspace(subspace, facts)


def first_steps(solver: Solver, share: float) -> tuple[Step, ...]:
    """Its steps, with `share` of the budget for all of them together."""
    steps = solver.steps
    whole = sum(step.release.share for step in steps)
    return tuple(
        replace(
            step,
            release=step.release.model_copy(
                update={"share": step.release.share * share / whole},
            ),
        )
        for step in steps
    )


def embeddings_from(subspace: Subspace, state: State, dim: int, stddev: float, seed: int) -> Floats:
    """First vectors of items, `[items, dim]`, from what the subspace found.

    Its strongest directions, popularity first, scaled to a mean square of `stddev`² for each
    entry; where there are fewer than `dim`, small random ones beside them.
    """
    found = np.asarray(subspace.finish(state).arrays()["item_embeddings"], np.float64)
    tastes, popular = found[:, :-1], found[:, -1:]
    ordered = np.hstack([popular, tastes[:, np.argsort(-np.square(tastes).sum(axis=0))]])[:, :dim]
    size = np.sqrt(np.mean(np.square(ordered)))
    table = np.random.default_rng(seed).normal(0.0, 0.1 * stddev, (len(found), dim))
    table[:, : ordered.shape[1]] += ordered * (stddev / max(size, 1e-12))
    return table

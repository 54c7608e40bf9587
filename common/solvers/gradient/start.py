"""Where a gradient solver starts: popularity, the subspace of tastes, or transitions behind it."""

from __future__ import annotations

from typing import Final

import numpy as np

from common.arrays import Floats, State
from common.models.networks.recency import MIX
from common.models.transitions import CONTEXT, NEXT
from common.solvers.base import PublicFacts, Solver
from common.solvers.gradient.settings import GradientSettings
from common.solvers.popularity import POPULARITY, Popularity
from common.solvers.subspace import Subspace
from common.solvers.transitions import TransitionsSolver

__all__ = ["first_solver", "first_values"]

_TINY: Final = 1e-12
_GAIN: Final = 3.0
"""Size of the first scores."""
_DAMPING: Final = 0.1
"""λ, as a share of the largest variance."""


def first_solver(settings: GradientSettings, facts: PublicFacts) -> Solver:
    """The solver whose steps come first; `random` asks for popularity alone."""
    if settings.start_for(private=facts.private) == "subspace":
        return Subspace(settings.subspace, facts)
    return Popularity(Popularity.Settings(), facts)


def first_values(
    solver: Solver, state: State, dim: int, stddev: float, seed: int
) -> tuple[Floats, dict[str, Floats]]:
    """First vectors of items `[items, dim]` from what `solver` found, and parameters by name.

    Of transitions what an event says, and behind it after which contexts an item comes; see
    `_mixed`. Of the subspace its strongest directions, popularity first, scaled to a mean square
    of `stddev`² for each entry; where there are fewer than `dim`, small random ones beside them.
    Of popularity random ones. Parameters that are not named begin as the network says.
    """
    if isinstance(solver, TransitionsSolver):
        return _mixed(state)
    if isinstance(solver, Subspace):
        return _tastes(solver, state, dim, stddev, seed), {}
    shape = (len(state[POPULARITY]), dim)
    return np.random.default_rng([seed, 2]).normal(0.0, stddev, shape), {}


def _mixed(state: State) -> tuple[Floats, dict[str, Floats]]:
    """Vectors that a mean item sees as nearly round, and the matrix that takes it back.

    With N the rows of what comes next and G = Σ_i p_i N_iᵀN_i by popularity, a step of descent
    on M at the vectors N P is one on M P at N, multiplied by P² = (G + λ)^-1 from the right:
    plain descent then finds in a few noisy steps what it would need hundreds for (as natural
    gradients do: Amari 1998; K-FAC, Martens and Grosse 2015). All of it is made of releases.
    """
    popularity, comes = state[POPULARITY], np.asarray(state[NEXT], np.float64)
    comes = comes / max(float(np.sqrt(np.mean(np.square(comes).sum(axis=1)))), _TINY)
    spread = (comes * (popularity / popularity.sum())[:, None]).T @ comes
    variances, directions = np.linalg.eigh(spread)
    relative = np.maximum(variances, 0.0) / max(float(variances.max()), _TINY)
    root = np.sqrt(relative + _DAMPING)
    back = (directions * root) @ directions.T
    return np.hstack([state[CONTEXT], comes @ (directions / root) @ directions.T]), {
        MIX: _GAIN * back
    }


def _tastes(subspace: Subspace, state: State, dim: int, stddev: float, seed: int) -> Floats:
    found = np.asarray(subspace.finish(state).arrays()["item_embeddings"], np.float64)
    tastes, popular = found[:, :-1], found[:, -1:]
    ordered = np.hstack([popular, tastes[:, np.argsort(-np.square(tastes).sum(axis=0))]])[:, :dim]
    size = np.sqrt(np.mean(np.square(ordered)))
    table = np.random.default_rng(seed).normal(0.0, 0.1 * stddev, (len(found), dim))
    table[:, : ordered.shape[1]] += ordered * (stddev / max(size, _TINY))
    return table

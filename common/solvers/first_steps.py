"""Steps of one solver at the start of another."""

from __future__ import annotations

from dataclasses import replace

from common.solvers.base import Solver, Step

__all__ = ["first_steps"]


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

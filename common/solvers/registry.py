"""Solvers by name. A new solver is one new file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, cast

from common.errors import Code, ConfigError
from common.solvers.base import PublicFacts, Solver

__all__ = ["GRADIENT_SOLVERS", "SOLVERS", "make_solver"]

SOLVERS: Final[Mapping[str, str]] = {
    "subspace": "common.solvers.subspace:Subspace",
    "ials": "common.solvers.ials:Ials",
    "dpsgd": "common.solvers.dpsgd:DpSgd",
    "transitions": "common.solvers.transitions:TransitionsSolver",
    "sequential": "common.solvers.sequential:Sequential",
    "neural": "common.solvers.neural:Neural",
    "popularity": "common.solvers.popularity:Popularity",
}
"""Name to `module:class`, loaded when asked for: only gradient solvers bring torch."""

GRADIENT_SOLVERS: Final = ("dpsgd", "sequential", "neural")
"""Those whose clients take steps of their own, `local_steps` of them in a round."""


def make_solver(name: str, settings: Mapping[str, Any], facts: PublicFacts) -> Solver:
    """Build a solver from its name and settings.

    Raises:
        ConfigError: no such solver, or settings that it does not know.
    """
    if name not in SOLVERS:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"no solver {name!r}.",
            where="solver",
            remedy=f"Choose one of: {', '.join(SOLVERS)}.",
        )
    module, _, attribute = SOLVERS[name].partition(":")
    factory = getattr(import_module(module), attribute)
    return cast("Solver", factory(factory.Settings.load(settings, where=f"{name} settings"), facts))

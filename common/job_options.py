"""Options that ask for a job: the same words and the same help in every command that takes them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Colluders",
    "Delta",
    "Dim",
    "Epsilon",
    "EvaluationShare",
    "ModeName",
    "Rounds",
    "Seed",
    "Setting",
    "Solver",
    "Threshold",
]

Solver: TypeAlias = Annotated[
    str | None,
    typer.Option(help="subspace | ials | dpsgd | transitions | sequential | neural | popularity"),
]
Setting: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the solver.")
]
Rounds: TypeAlias = Annotated[int | None, typer.Option(help="Rounds of the solver.")]
Dim: TypeAlias = Annotated[int | None, typer.Option(help="Length of the vectors.")]
ModeName: TypeAlias = Annotated[
    str | None, typer.Option(help="local | distributed: who adds the noise.")
]
Epsilon: TypeAlias = Annotated[float | None, typer.Option(help="Target ε of each client.")]
Delta: TypeAlias = Annotated[float | None, typer.Option(help="δ; absent: population^-1.1.")]
EvaluationShare: TypeAlias = Annotated[
    float | None, typer.Option(help="Share of the budget for a private evaluation.")
]
Threshold: TypeAlias = Annotated[
    int | None, typer.Option(help="Fewest clients of a secure sum; absent: four fifths.")
]
Colluders: TypeAlias = Annotated[
    int | None, typer.Option(help="Under distributed: clients that may help the server.")
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Public randomness; never the noise.")]

"""Options of `hushrec plan`, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Client",
    "Clients",
    "Colluders",
    "Delta",
    "Dim",
    "Epsilon",
    "EvaluationShare",
    "Items",
    "ModeName",
    "NoiseMultiplier",
    "Population",
    "RenyiOrder",
    "Rounds",
    "SamplingRate",
    "Setting",
    "Shops",
    "Solver",
    "Threshold",
]

Solver: TypeAlias = Annotated[
    str, typer.Option(help="subspace | dpsgd | transitions | sequential | neural | popularity")
]
Items: TypeAlias = Annotated[int | None, typer.Option(help="Items of the catalogue.")]
Population: TypeAlias = Annotated[int | None, typer.Option(help="Declared users of all clients.")]
Clients: TypeAlias = Annotated[
    int | None, typer.Option(help="Clients of the federation; absent: 1, or the roster.")
]
ModeName: TypeAlias = Annotated[
    str | None, typer.Option(help="local | distributed: who adds the noise.")
]
Threshold: TypeAlias = Annotated[
    int | None, typer.Option(help="Fewest clients of a secure sum; absent: four fifths.")
]
Colluders: TypeAlias = Annotated[
    int | None, typer.Option(help="Clients that may collude with the server.")
]
Shops: TypeAlias = Annotated[
    int | None, typer.Option(help="Clients that one person may be a user of.")
]
Epsilon: TypeAlias = Annotated[float | None, typer.Option(help="Target ε: how much noise?")]
NoiseMultiplier: TypeAlias = Annotated[
    float | None, typer.Option(help="σ over clip norm of the main release: which ε?")
]
Delta: TypeAlias = Annotated[float | None, typer.Option(help="δ; absent: population^-1.1.")]
Rounds: TypeAlias = Annotated[int | None, typer.Option(help="Rounds of the solver.")]
Dim: TypeAlias = Annotated[int | None, typer.Option(help="Length of the vectors.")]
SamplingRate: TypeAlias = Annotated[
    float | None, typer.Option(help="Rate at which users take part (dpsgd).")
]
EvaluationShare: TypeAlias = Annotated[
    float, typer.Option(help="Share of the budget for private evaluation.")
]
RenyiOrder: TypeAlias = Annotated[
    int | None, typer.Option(help="Order of the Rényi filter to aim at.")
]
Setting: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the solver.")
]
Client: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of a client: what it would do to its budget.")
]

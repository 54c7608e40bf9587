"""Options of `hushrec plan` that no other command has, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Client",
    "Clients",
    "Epsilon",
    "Items",
    "NoiseMultiplier",
    "Population",
    "RenyiOrder",
    "SamplingRate",
    "Shops",
    "Solver",
]

Solver: TypeAlias = Annotated[
    str, typer.Option(help="subspace | dpsgd | transitions | sequential | neural | popularity")
]
Items: TypeAlias = Annotated[int | None, typer.Option(help="Items of the catalogue.")]
Population: TypeAlias = Annotated[int | None, typer.Option(help="Declared users of all clients.")]
Clients: TypeAlias = Annotated[
    int | None, typer.Option(help="Clients of the federation; absent: 1, or the roster.")
]
Shops: TypeAlias = Annotated[
    int | None, typer.Option(help="Clients that one person may be a user of.")
]
Epsilon: TypeAlias = Annotated[float | None, typer.Option(help="Target ε: how much noise?")]
NoiseMultiplier: TypeAlias = Annotated[
    float | None, typer.Option(help="σ over clip norm of the main release: which ε?")
]
SamplingRate: TypeAlias = Annotated[
    float | None, typer.Option(help="Rate at which users take part (dpsgd).")
]
RenyiOrder: TypeAlias = Annotated[
    int | None, typer.Option(help="Order of the Rényi filter to aim at.")
]
Client: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of a client: what it would do to its budget.")
]

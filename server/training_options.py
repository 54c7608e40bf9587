"""Options of `hushrec server train` that no other command has, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Attempts",
    "Bundle",
    "DeadlineSeconds",
    "Every",
    "Name",
    "Promote",
    "Quorum",
    "RequestFile",
    "Restarts",
    "Resume",
    "WaitSeconds",
]

RequestFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="TOML file with what is asked for; options below win.")
]
Name: TypeAlias = Annotated[str | None, typer.Option(help="Of the training; absent: the date.")]
Resume: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Name of a training that was begun: follow it, or go on, as a person."),
]
Quorum: TypeAlias = Annotated[int | None, typer.Option(help="Fewest clients that make a round.")]
DeadlineSeconds: TypeAlias = Annotated[
    float | None, typer.Option(help="How long a round, or a stage of a sum, waits.")
]
WaitSeconds: TypeAlias = Annotated[
    float | None, typer.Option(help="How long the start waits for members.")
]
Attempts: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Most sessions of a step's secure sum until a person resumes."),
]
Promote: TypeAlias = Annotated[
    bool | None, typer.Option(help="Give the finished model to clients, or not yet.")
]
Every: TypeAlias = Annotated[
    str | None, typer.Option(help="Train again and again at this interval: 90s, 30m, 24h, 7d.")
]
Bundle: TypeAlias = Annotated[
    Path | None, typer.Option(help="App bundle to run; absent: that of the installed HushRec.")
]
Restarts: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Most runs that are started after the first.")
]

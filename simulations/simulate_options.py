"""Options of `hushrec simulate` that no other command has, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Catalogue",
    "Clients",
    "Data",
    "Engine",
    "FixedNoise",
    "Force",
    "MinUsers",
    "ModeName",
    "ModelName",
    "NoPrivacy",
    "Out",
    "Partition",
    "Prepare",
    "ProtocolName",
    "RecordSums",
    "Resume",
    "ScenarioFile",
    "Serving",
    "Unit",
    "Validation",
]

Data: TypeAlias = Annotated[str | None, typer.Option(help="Events; absent: the marketplace.")]
Catalogue: TypeAlias = Annotated[str | None, typer.Option(help="Public product file.")]
Clients: TypeAlias = Annotated[int | None, typer.Option(help="Number of clients.")]
Partition: TypeAlias = Annotated[
    str | None, typer.Option(help="column:NAME | hash | dirichlet:ALPHA | sizes:FILE")
]
MinUsers: TypeAlias = Annotated[
    int | None, typer.Option(help="Under column: smaller regions are joined.")
]
ModelName: TypeAlias = Annotated[str | None, typer.Option(help="Kind of the model, the solver's.")]
Serving: TypeAlias = Annotated[str | None, typer.Option(help="joint | shop")]
ModeName: TypeAlias = Annotated[str | None, typer.Option(help="local | distributed | none")]
NoPrivacy: TypeAlias = Annotated[
    bool | None, typer.Option("--no-privacy", help="Needed for --mode none.")
]
RecordSums: TypeAlias = Annotated[
    bool | None,
    typer.Option("--record-sums", help="Under distributed: keep what the server sees."),
]
Unit: TypeAlias = Annotated[str | None, typer.Option(help="user | interaction")]
FixedNoise: TypeAlias = Annotated[
    bool | None,
    typer.Option("--fixed-noise", help="Noise from the seed too: repeatable, NOT PRIVATE."),
]
Engine: TypeAlias = Annotated[str | None, typer.Option(help="inprocess | ray")]
ProtocolName: TypeAlias = Annotated[str | None, typer.Option(help="full | ncf | temporal")]
Validation: TypeAlias = Annotated[
    bool | None, typer.Option("--validation", help="Judge by events held out from training.")
]
ScenarioFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="All of the above in TOML or JSON.")
]
Out: TypeAlias = Annotated[Path | None, typer.Option(help="Folder for the run.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace the run in --out.")]
Resume: TypeAlias = Annotated[Path | None, typer.Option(help="Continue the run in this folder.")]
Prepare: TypeAlias = Annotated[
    bool, typer.Option("--prepare", help="Lay the run out without running it.")
]

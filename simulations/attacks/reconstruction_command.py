"""`hushrec audit attack reconstruction`: what one release tells about a user's items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from common.files import write_atomic
from common.terminal import Format, FormatOption, Teller, finish, print_json
from simulations.attacks.reconstruction import (
    ReconstructionResult,
    ReconstructionSettings,
    reconstruct_items,
)
from simulations.attacks.reconstruction_section import sight

__all__ = ["attack_reconstruction"]


def attack_reconstruction(
    data: Annotated[str | None, typer.Option(help="Events; absent: a marketplace.")] = None,
    users: Annotated[int | None, typer.Option(help="Users of the marketplace.")] = None,
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    solver: Annotated[
        str | None,
        typer.Option(help="subspace | dpsgd | transitions | sequential | neural | popularity"),
    ] = None,
    step: Annotated[int | None, typer.Option(help="Step of the job, from 0.")] = None,
    epsilon: Annotated[float, typer.Option(help="Target ε of each client.")] = 8.0,
    no_privacy: Annotated[bool, typer.Option("--no-privacy", help="Mode none.")] = False,
    targets: Annotated[int | None, typer.Option(help="Users attacked in each release.")] = None,
    releases: Annotated[int | None, typer.Option(help="Releases, each a run of its own.")] = None,
    seed: Annotated[int | None, typer.Option(help="Data, partition and targets.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Attack one release: find a user's items, everything else being known.

    Makes releases from data of its own; no client's log is read.
    """
    options: dict[str, Any] = {
        "data": data,
        "users": users,
        "clients": clients,
        "solver": solver,
        "step": step,
        "epsilon": None if no_privacy else epsilon,
        "targets": targets,
        "releases": releases,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}

    def work() -> None:
        settings = ReconstructionSettings.load(given, where="options")
        with Teller() as teller:
            result = reconstruct_items(settings, teller.tell)
        if out is not None:
            write_atomic(out, (json.dumps(result.to_json(), indent=1) + "\n").encode())
        if output is Format.JSON:
            print_json(result.to_json())
        else:
            _print(result)

    finish(work)


def _print(result: ReconstructionResult) -> None:
    console = Console()
    table = Table(title=f"{result.data}, step {result.step}", title_justify="left")
    for name in ("ranked by", "precision at |history|", "average precision"):
        table.add_column(name)
    for name, success in result.success.items():
        found = success.to_json()
        cells = (
            f"{found[key]:.3f} ± {found[f'{key}_error']:.3f}"
            for key in ("precision", "average_precision")
        )
        table.add_row(name, *cells)
    console.print(table)
    console.print(sight(result), markup=False)

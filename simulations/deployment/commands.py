"""`hushrec generate`: events and a catalogue to try a deployment with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["generate"]


def generate(
    folder: Annotated[Path, typer.Argument(help="Folder for the files, to be made.")],
    shops: Annotated[int, typer.Option(min=1, max=1000, help="Shops.")] = 3,
    users: Annotated[int, typer.Option(min=1, help="Shoppers of each shop.")] = 600,
    items: Annotated[int, typer.Option(min=2, help="Items of the catalogue.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    output: FormatOption = Format.TEXT,
) -> None:
    """Generate a table of events for each shop, and the catalogue: nobody's real data."""

    def work() -> None:
        from simulations.deployment import market

        made = market.generate(folder, shops=shops, users=users, items=items, seed=seed)
        if output is Format.JSON:
            paths = {name: str(path) for name, path in made.events.items()}
            print_json({"catalogue": str(made.catalogue), "events": paths})
            return
        typer.echo(f"{made.catalogue}  {items} items")
        for name, path in made.events.items():
            typer.echo(f"{path}  events of {users} generated shoppers of {name}")

    finish(work)

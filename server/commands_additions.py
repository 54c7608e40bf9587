"""`hushrec server add-items`: new items in a version of the model, from their features alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.terminal import Format, FormatOption, finish, print_json
from server.enroll.home import CATALOGUE, check_home

__all__ = ["add_items"]

_SHOWN = 5


def add_items(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    version: Annotated[str, typer.Argument(help="Name of the version, 0003-1a2b3c4d.")],
    catalogue: Annotated[
        Path | None, typer.Option(help="Product file of the new items alone.")
    ] = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(help="File with vectors of old and new items; may be given several times."),
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Make a version with new items of another one, from public features; it costs no budget."""

    def work() -> None:
        from server.additions import add_items as add

        check_home(home)
        made = add(home, version, catalogue, vectors or [])
        place = made.version.folder / CATALOGUE
        about = made.version.manifest
        if output is Format.JSON:
            print_json(
                {
                    "version": made.version.version,
                    "added": None if about.added is None else about.added.model_dump(mode="json"),
                    "item_ids": made.item_ids,
                    "features": made.features,
                    "catalogue": str(place),
                    "catalogue_version": about.catalogue_version,
                }
            )
            return
        more = ", …" if len(made.item_ids) > _SHOWN else ""
        shown = f"{', '.join(made.item_ids[:_SHOWN])}{more}"
        typer.echo(f"version   {made.version.version}, made of {version}")
        typer.echo(f"new       {len(made.item_ids)} items: {shown}")
        typer.echo(f"features  {made.features}")
        typer.echo(f"catalogue {place}")
        typer.echo(f"          {about.catalogue_version}")
        typer.echo("Shops take the catalogue first (`hushrec client catalogue`), then promote.")

    finish(work)

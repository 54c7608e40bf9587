"""`hushrec bundle`: the hash of an app bundle, and whether a client's policy lists it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from client.launcher.bundle import file_sha256
from client.owner import Owner
from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["bundle"]


def bundle(
    file_or_hash: Annotated[str, typer.Argument(help="A .fab file, or its SHA-256.")],
    client: Annotated[
        Path | None, typer.Option(help="Folder of a client: does its policy list the bundle?")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Print what a policy lists a bundle by. The bundle is read, never opened."""

    def work() -> int:
        is_hash = re.fullmatch(r"[0-9a-f]{64}", file_or_hash)
        found = file_or_hash if is_hash else file_sha256(Path(file_or_hash))
        listed = None if client is None else found in Owner.of(client).policy.bundles
        if output is Format.JSON:
            print_json({"sha256": found, "listed": listed})
        else:
            typer.echo(found)
        if listed is not None:
            typer.echo(f"{'listed' if listed else 'not listed'} in {client}/policy.toml", err=True)
        return 1 if listed is False else 0

    finish(work)

"""`hushrec bundle`: an app bundle made or hashed, and whether a client's policy lists it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from client.enroll.bundle_text import with_bundle
from client.enroll.policy_file import edited, editing
from client.launcher.bundle import file_sha256
from client.owner import Owner
from common.bundle import build_bundle, bundle_sha256
from common.files import write_atomic
from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["bundle"]


def bundle(
    file_or_hash: Annotated[
        str | None, typer.Argument(help="A .fab file, or its SHA-256; absent: the installed one.")
    ] = None,
    build: Annotated[
        Path | None, typer.Option(help="Make the bundle of the installed HushRec, as this file.")
    ] = None,
    client: Annotated[
        Path | None, typer.Option(help="Folder of a client: does its policy list the bundle?")
    ] = None,
    list_it: Annotated[
        bool, typer.Option("--list", help="Have the policy of --client list it.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Print what a policy lists a bundle by. A file is read, never opened."""

    def work() -> int:
        if build is not None and file_or_hash is not None:
            raise typer.BadParameter("a bundle is built, or one is read", param_hint="--build")
        if list_it and client is None:
            raise typer.BadParameter("say whose policy, with --client", param_hint="--list")
        found = _sha256(file_or_hash, build)
        if list_it and client is not None:
            with editing(client):
                edited(client, lambda text: with_bundle(text, found))
        listed = None if client is None else found in Owner.of(client).policy.bundles
        if output is Format.JSON:
            print_json({"sha256": found, "listed": listed})
        else:
            typer.echo(found)
        if listed is not None:
            typer.echo(f"{'listed' if listed else 'not listed'} in {client}/policy.toml", err=True)
        return 1 if listed is False else 0

    finish(work)


def _sha256(file_or_hash: str | None, build: Path | None) -> str:
    """Of what was named, or else of the bundle of the installed version."""
    if file_or_hash is None:
        made = build_bundle()
        if build is not None:
            write_atomic(build, made)
        return bundle_sha256(made)
    is_hash = re.fullmatch(r"[0-9a-f]{64}", file_or_hash)
    return file_or_hash if is_hash else file_sha256(Path(file_or_hash))

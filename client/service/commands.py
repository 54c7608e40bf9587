"""`hushrec client serve` and `hushrec client ask`: the service, and a caller for people."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from client.service.__main__ import main
from common.terminal import Format, FormatOption, finish

__all__ = ["ask", "extend"]


class Question(StrEnum):
    """What can be asked; each is a method of the service."""

    RECOMMEND = "recommend"
    SIMILAR = "similar"
    BUNDLE = "bundle"
    SEARCH = "search"
    EXPLAIN = "explain"
    PROFILE = "profile"
    RECORD = "record"


def extend(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(_serve_alone)
    app.command("ask")(ask)


@wraps(main)
def _serve_alone(client_dir: Path, **options: object) -> None:
    """The same in a fresh interpreter, which takes nothing from the current folder."""
    given = {name: value for name, value in options.items() if value is not None}
    words = [word for name in given for word in (f"--{name}", str(given[name]))]
    command = [sys.executable, "-I", "-m", "client.service", *words, "--", str(client_dir)]
    os.execv(sys.executable, command)  # noqa: S606  there is nothing for a shell to do


def ask(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client, for its token.")],
    question: Annotated[Question, typer.Argument(help="What to ask.")],
    at: Annotated[str, typer.Option(help="Where the service listens.")] = "127.0.0.1:50051",
    roots: Annotated[
        Path | None, typer.Option(help="PEM file to check the service by, if it has TLS.")
    ] = None,
    user: Annotated[str, typer.Option(help="The shopper.")] = "",
    item: Annotated[
        list[str] | None, typer.Option(help="An item; several for a bundle or a context.")
    ] = None,
    query: Annotated[str, typer.Option(help="Words to search for.")] = "",
    category: Annotated[
        list[str] | None, typer.Option(help="Only items of a category; may be given twice.")
    ] = None,
    top: Annotated[int, typer.Option(help="Most items of the answer; 0: the method's own.")] = 0,
    rating: Annotated[
        float | None, typer.Option(help="How the shopper rates the item, for record.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Call the service as the shop does, and show what it says."""

    def work() -> None:
        from client.service.asking import Asked, answer, show

        asked = Asked(user, tuple(item or ()), query, tuple(category or ()), top, rating)
        show(answer(client_dir, at, roots, str(question), asked), as_json=output is Format.JSON)

    finish(work)

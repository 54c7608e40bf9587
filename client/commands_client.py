"""`hushrec client`: what an owner does with a client that is enrolled."""

from __future__ import annotations

import typer

__all__ = ["client_commands"]


def client_commands() -> typer.Typer:
    """The commands below `hushrec client`."""
    return typer.Typer(help="A client that is enrolled.", no_args_is_help=True)

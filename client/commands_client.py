"""`hushrec client`: what an owner does with a client that is enrolled."""

from __future__ import annotations

import typer

from client.commands_data import extend as extend_with_data
from client.running.command import run
from client.service.commands import extend as extend_with_service

__all__ = ["client_commands"]


def client_commands() -> typer.Typer:
    """The commands below `hushrec client`."""
    app = typer.Typer(help="A client that is enrolled.", no_args_is_help=True)
    extend_with_data(app)
    app.command("run")(run)
    extend_with_service(app)
    return app

"""The front door: composes the commands that each wing owns, and loads a wing only when asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Annotated

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import typer

from common.enrolment.group import Enrolment

__all__ = ["command_line", "main"]


def command_line() -> typer.Typer:
    """All commands of the wings that are installed."""
    app = typer.Typer(
        name="hushrec",
        help="Private federated recommendation.",
        no_args_is_help=True,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_hushrec)
    enrolment = Enrolment()
    app.add_typer(enrolment.app, name="enroll")
    with _wing("client"):
        from client.commands import budget, plan
        from client.commands_audit import audit_commands
        from client.commands_client import client_commands
        from client.commands_roster import roster
        from client.doctor.command import doctor
        from client.enroll.commands import extend as enrol_clients
        from client.launcher.commands import bundle

        app.command("budget")(budget)
        app.command("plan")(plan)
        app.command("bundle")(bundle)
        app.command("roster")(roster)
        app.command("doctor")(doctor)
        enrol_clients(enrolment)
        app.add_typer(client_commands(), name="client")
        audit = audit_commands()
        app.add_typer(audit, name="audit")
    with _wing("server"):
        from server.commands import seen
        from server.commands_gateway import server_commands
        from server.enroll.commands import extend as enrol_servers

        app.command("seen")(seen)
        enrol_servers(enrolment)
        app.add_typer(server_commands(), name="server")
    with _wing("simulations"):
        from simulations.audit.commands import extend
        from simulations.commands import simulate
        from simulations.deployment.commands import generate

        app.command("simulate")(simulate)
        app.command("generate")(generate)
        extend(audit)
    return app


def main() -> None:
    """Run the command line."""
    command_line()(args=sys.argv[1:])


@contextmanager
def _wing(name: str) -> Iterator[None]:
    """An image may lack a wing, not what the wing needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name:
            raise


def _hushrec(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Private federated recommendation."""
    if version:
        typer.echo(metadata.version("hushrec"))
        raise typer.Exit


if __name__ == "__main__":
    main()

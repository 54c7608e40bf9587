"""The front door: composes the commands that each wing owns, and loads a wing only when asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata
from typing import Annotated, Final

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import typer

from common.enrolment.group import Enrolment

__all__ = ["command_line", "main"]


def command_line(asked: str | None = None) -> typer.Typer:
    """All commands of the wings that are installed, or as much of them as one word takes.

    Args:
        asked: the first word of a command line. What belongs to other words is then not
            loaded, which takes seconds; a word that is none loads everything.
    """
    wanted = {asked} if asked in _WORDS else _WORDS
    app = typer.Typer(
        name="hushrec",
        help="Private federated recommendation.",
        no_args_is_help=True,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_hushrec)
    groups = _Groups(app)
    for words, wing, add in _PARTS:
        if wanted & set(words):
            with _wing(wing):
                add(groups)
    return app


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    command_line(words[0] if words else None)(args=words)


class _Groups:
    """The command line, and the groups that several parts add to."""

    def __init__(self, app: typer.Typer) -> None:
        self.app = app

    @cached_property
    def enrolment(self) -> Enrolment:
        found = Enrolment()
        self.app.add_typer(found.app, name="enroll")
        return found

    @cached_property
    def audit(self) -> typer.Typer:
        from client.commands_audit import audit_commands

        found = audit_commands()
        self.app.add_typer(found, name="audit")
        return found


def _enrol_clients(groups: _Groups) -> None:
    from client.enroll.commands import extend

    extend(groups.enrolment)


def _enrol_servers(groups: _Groups) -> None:
    from server.enroll.commands import extend

    extend(groups.enrolment)


def _budget(groups: _Groups) -> None:
    from client.commands import budget, plan

    groups.app.command("budget")(budget)
    groups.app.command("plan")(plan)


def _bundle(groups: _Groups) -> None:
    from client.launcher.commands import bundle

    groups.app.command("bundle")(bundle)


def _roster(groups: _Groups) -> None:
    from client.commands_roster import roster

    groups.app.command("roster")(roster)


def _doctor(groups: _Groups) -> None:
    from client.doctor.command import doctor

    groups.app.command("doctor")(doctor)


def _client(groups: _Groups) -> None:
    from client.commands_client import client_commands

    groups.app.add_typer(client_commands(), name="client")


def _audit(groups: _Groups) -> None:
    _ = groups.audit


def _seen(groups: _Groups) -> None:
    from server.commands import seen

    groups.app.command("seen")(seen)


def _server(groups: _Groups) -> None:
    from server.commands_gateway import server_commands

    groups.app.add_typer(server_commands(), name="server")


def _simulate(groups: _Groups) -> None:
    from simulations.commands import simulate

    groups.app.command("simulate")(simulate)


def _generate(groups: _Groups) -> None:
    from simulations.deployment.commands import generate

    groups.app.command("generate")(generate)


def _attack(groups: _Groups) -> None:
    from simulations.audit.commands import extend

    extend(groups.audit)


_PARTS: Final = (
    (("enroll",), "client", _enrol_clients),
    (("budget", "plan"), "client", _budget),
    (("bundle",), "client", _bundle),
    (("roster",), "client", _roster),
    (("doctor",), "client", _doctor),
    (("client",), "client", _client),
    (("audit",), "client", _audit),
    (("seen",), "server", _seen),
    (("enroll",), "server", _enrol_servers),
    (("server",), "server", _server),
    (("simulate",), "simulations", _simulate),
    (("generate",), "simulations", _generate),
    (("audit",), "simulations", _attack),
)
"""First words, the wing that has them, and what adds them."""
_WORDS: Final = frozenset(word for words, _, _ in _PARTS for word in words)


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

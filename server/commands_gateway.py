"""`hushrec server`: the operator's server behind its gateway, and the operator's way in."""

from __future__ import annotations

import logging
import os
import sys
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from common.terminal import finish
from server.commands_additions import add_items
from server.commands_models import models, promote, rollback
from server.commands_training import INSIDE, InsideOption, deliver, train
from server.gateway.quiet import quieten
from server.monitor.commands import monitor, status

__all__ = ["server_commands"]


def server_commands() -> typer.Typer:
    """The commands below `hushrec server`."""
    app = typer.Typer(help="The operator's server.", no_args_is_help=True)
    app.command("run")(_run_alone)
    app.command("login")(login)
    app.command("superexec")(superexec)
    app.command("train")(train)
    app.command("deliver")(deliver)
    app.command("models")(models)
    app.command("promote")(promote)
    app.command("rollback")(rollback)
    app.command("add-items")(add_items)
    app.command("status")(status)
    app.command("monitor")(monitor)
    return app


def run(
    folder: Annotated[Path, typer.Argument(help="Folder of the server; made if there is none.")],
    listen: Annotated[str, typer.Option(help="Address that nodes reach, IP:PORT.")],
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file with the certificate and its chain; absent: FOLDER/tls.pem."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="PEM file with its private key; absent: FOLDER/tls_key.pem.")
    ] = None,
    inside: InsideOption = INSIDE,
    connections: Annotated[
        int, typer.Option(min=1, help="Most connections from outside at a time.")
    ] = 512,
    per_address: Annotated[
        int, typer.Option(min=1, help="Most connections from one address at a time.")
    ] = 64,
    body_mib: Annotated[
        int, typer.Option(min=1, help="Largest body of a request from outside, MiB.")
    ] = 32,
    without_superexec: Annotated[
        bool, typer.Option("--without-superexec", help="`hushrec server superexec` runs elsewhere.")
    ] = False,
) -> None:
    """Run Flower's SuperLink behind a gateway that lets nodes in and nobody else."""

    def work() -> None:
        quieten()
        from server.gateway.versions import check_flower

        check_flower()
        from common.address import Address
        from server.gateway.folder import Pair, ServerFolder
        from server.gateway.limits import Limits
        from server.gateway.serve import Gateway, serve

        at, there = Address.read(inside), Address.read(listen)
        gateway = Gateway(
            folder=ServerFolder.opened(folder),
            outside=there,
            tls=Pair(certificate or folder / "tls.pem", key or folder / "tls_key.pem"),
            inside=at,
            limits=Limits(connections, per_address, body_bytes=body_mib * 2**20),
            with_superexec=not without_superexec,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # the access log has the rest
        logging.getLogger("flwr").propagate = False  # it writes to stderr by itself
        serve(gateway, typer.echo)

    finish(work)


def login(
    folder: Annotated[Path, typer.Argument(help="Folder of a server that has run.")],
    inside: InsideOption = INSIDE,
    name: Annotated[str, typer.Option(help="What `flwr` calls the server.")] = "hushrec",
) -> None:
    """Let `flwr` of this user into the server: its address, certificate and token."""

    def work() -> None:
        quieten()
        from server.gateway.versions import check_flower

        check_flower()
        from common.address import Address
        from server.gateway.folder import ServerFolder
        from server.gateway.operator import remember

        address = Address.read(inside)
        remember(ServerFolder.of_server(folder), address, name)
        typer.echo(f"flwr run . {name}  goes to https://{address}")

    finish(work)


def superexec(
    folder: Annotated[Path, typer.Argument(help="Folder of a server that has run.")],
    inside: InsideOption = INSIDE,
) -> None:
    """Start server apps, beside a server that runs without this process."""

    def work() -> None:
        quieten()
        from server.gateway.versions import check_flower

        check_flower()
        from common.address import Address
        from server.gateway.folder import ServerFolder
        from server.gateway.superexec import become_superexec

        become_superexec(ServerFolder.of_server(folder), str(Address.read(inside)))

    finish(work)


@wraps(run)
def _run_alone(folder: Path, **options: object) -> None:
    """The same in a fresh interpreter: what is reached from outside has no other wing loaded."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words += [option]
        elif value is not None and value is not False:
            words += [option, str(value)]
    command = [sys.executable, "-I", "-m", "server.gateway", *words, "--", str(folder)]
    os.execv(sys.executable, command)  # noqa: S606  there is nothing for a shell to do

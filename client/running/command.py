"""`hushrec client run`, and `python -I -m client.running`, which a supervisor starts."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from common.logs import VARIABLE, Style, configure, style_for, vouch
from common.terminal import finish

__all__ = ["run"]

_LOG = logging.getLogger("hushrec.running")


def run(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    superlink: Annotated[
        str | None, typer.Option(help="HOST:PORT of the server; absent: the invitation's.")
    ] = None,
    listen: Annotated[
        str, typer.Option(help="IP:PORT, or unix:PATH, of the service.")
    ] = "127.0.0.1:50051",
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file of the service's own certificate.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with its private key.")] = None,
    monitor: Annotated[
        str, typer.Option(help="IP:PORT of /health and /metrics.")
    ] = "127.0.0.1:9464",
    log: Annotated[
        Style | None, typer.Option(help="Lines on stderr; absent: text for a terminal, else JSON.")
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option(min=0.05, max=60, help="The node's wait between two looks.")
    ] = 3.0,
) -> None:
    """Run a client: its node, its service and its monitor, until it is told to end."""

    def work() -> None:
        from client.enroll.start_files import INVITATION
        from client.owner import Owner
        from client.running.supervisor import Start, node_command, run_client, service_command
        from common.address import Address
        from common.enrolment.cards import Invitation

        owner = Owner.of(client_dir.resolve())
        folder = owner.folder
        where = superlink or Invitation.load_file(folder / INVITATION).superlink
        start = Start(
            owner,
            node_command(folder, where, poll_seconds),
            service_command(folder, listen, *_pair(certificate, key)),
            Address.read(monitor),
        )
        configure("run", style_for(log or _asked()))  # so far nothing could quote anybody
        vouch(owner.settings.name)
        _LOG.info("client %s", owner.settings.name)
        run_client(start)

    finish(work)


def _pair(certificate: Path | None, key: Path | None) -> tuple[str, ...]:
    named = {"--certificate": certificate, "--key": key}
    given = {name: path for name, path in named.items() if path is not None}
    return tuple(word for name, path in given.items() for word in (name, str(path.resolve())))


def _asked() -> Style | None:
    named = os.environ.get(VARIABLE, "")
    return Style(named) if named in set(Style) else None

"""`hushrec client run`, and `python -I -m client.running`, which a supervisor starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from common.logs import Style, asked_style, configure, vouch
from common.terminal import finish

if TYPE_CHECKING:  # what the command needs is imported when it runs
    from client.running.supervisor import Start

__all__ = ["run"]

_LOG = logging.getLogger("hushrec.running")


_Folder: TypeAlias = Annotated[Path, typer.Argument(help="Folder of the client.")]
_SuperLink: TypeAlias = Annotated[
    str | None, typer.Option(help="HOST:PORT of the server; absent: the invitation's.")
]
_Listen: TypeAlias = Annotated[str, typer.Option(help="IP:PORT, or unix:PATH, of the service.")]
_Certificate: TypeAlias = Annotated[
    Path | None, typer.Option(help="PEM file of the service's own certificate.")
]
_Key: TypeAlias = Annotated[Path | None, typer.Option(help="PEM file with its private key.")]
_Monitor: TypeAlias = Annotated[str, typer.Option(help="IP:PORT of /health and /metrics.")]
_Log: TypeAlias = Annotated[
    Style | None, typer.Option(help="Lines on stderr; absent: text for a terminal, else JSON.")
]
_Poll: TypeAlias = Annotated[
    float, typer.Option(min=0.05, max=60, help="The node's wait between two looks.")
]


def run(
    client_dir: _Folder,
    superlink: _SuperLink = None,
    listen: _Listen = "127.0.0.1:50051",
    certificate: _Certificate = None,
    key: _Key = None,
    monitor: _Monitor = "127.0.0.1:9464",
    log: _Log = None,
    poll_seconds: _Poll = 3.0,
) -> None:
    """Run a client: its node, its service and its monitor, until it is told to end."""
    service = (listen, *_pair(certificate, key))

    def work() -> None:
        from client.running.supervisor import run_client

        start = _start(client_dir.resolve(), superlink, service, monitor, poll_seconds)
        name = start.owner.settings.name
        configure("run", log or asked_style())  # so far nothing could quote anybody
        vouch(name)
        _LOG.info("client %s", name)
        run_client(start)

    finish(work)


def _start(
    folder: Path, superlink: str | None, service: tuple[str, ...], monitor: str, poll: float
) -> Start:
    from client.enroll.start_files import INVITATION
    from client.owner import Owner
    from client.running.supervisor import Start, node_command, service_command
    from common.address import Address
    from common.enrolment.cards import Invitation

    owner = Owner.of(folder)
    where = superlink or Invitation.load_file(folder / INVITATION).superlink
    node = node_command(folder, where, poll)
    return Start(owner, node, service_command(folder, *service), Address.read(monitor))


def _pair(certificate: Path | None, key: Path | None) -> tuple[str, ...]:
    named = {"--certificate": certificate, "--key": key}
    given = {name: path for name, path in named.items() if path is not None}
    return tuple(word for name, path in given.items() for word in (name, str(path.resolve())))

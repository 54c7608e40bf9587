"""`python -I -m client.service CLIENT_DIR`: serve this client's shop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from common.logs import Public, configure_process, fields
from common.terminal import finish


def main(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    listen: Annotated[str, typer.Option(help="IP:PORT, or unix:PATH.")] = "127.0.0.1:50051",
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file with the certificate and its chain.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with its private key.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Calls worked on at a time.")] = 4,
    concurrent: Annotated[int, typer.Option(min=1, help="Most calls taken on at a time.")] = 64,
) -> None:
    """Serve recommendations to this client's own shop."""
    os.umask(0o077)  # a socket or file that is made here is the owner's alone
    configure_process("service")
    over = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: over.set())

    def work() -> None:
        from client.service.serving import Listening, Service

        log = logging.getLogger("hushrec.service")
        log.setLevel(logging.INFO)
        place = Listening(listen, certificate, key, workers, concurrent)
        with Service(client_dir.resolve(), place):
            log.info("the service answers", extra=fields(state=Public("ready")))
            typer.echo(f"answers at {listen}")
            over.wait()
            log.info("the service ends")

    finish(work)


if __name__ == "__main__":
    typer.run(main)

"""`hushrec server status` and `hushrec server monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from common.terminal import Format, FormatOption, finish, print_json

__all__ = ["DUE", "monitor", "status"]

DUE: Final = 1
"""Exit status of `status` where something is wrong."""
_ProbeOption = Annotated[
    str | None, typer.Option(help="HOST:PORT of the gateway; absent: what clients are told.")
]


def status(
    home: Annotated[Path, typer.Argument(help="The server's home.")],
    run: Annotated[
        str | None, typer.Argument(help="A run, to see every round; absent: everything at once.")
    ] = None,
    probe: _ProbeOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Look at a server: runs, who answered, members, model, certificates.

    Status 1 if something is wrong.
    """

    def work() -> int:
        from server.monitor.lookout import Lookout, look_at_run
        from server.monitor.values import home_values, run_values

        if run is not None:
            found = look_at_run(home, run)
            if output is Format.JSON:
                print_json(run_values(found, rounds=True))
            else:
                from server.monitor.text import print_run

                print_run(found)
            return DUE if found.state == "unreadable" else 0
        view = Lookout.of(home, probe).look()
        if output is Format.JSON:
            print_json(home_values(view))
        else:
            from server.monitor.text import print_home

            print_home(view)
        return DUE if view.faults else 0

    finish(work)


def monitor(
    home: Annotated[Path, typer.Argument(help="The server's home; nothing is written to it.")],
    listen: Annotated[str, typer.Option(help="Where to serve pages, IP:PORT.")] = "127.0.0.1:9090",
    probe: _ProbeOption = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Of this host, by which it may be asked; may be given several times."),
    ] = None,
) -> None:
    """Serve what `status` shows: a page, /health, and /metrics for Prometheus."""

    def work() -> None:
        from common.address import Address
        from server.monitor.lookout import Lookout
        from server.monitor.serve import serve

        serve(Lookout.of(home, probe), Address.read(listen), typer.echo, name or ())

    finish(work)

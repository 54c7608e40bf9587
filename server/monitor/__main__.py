"""`python -I -m server.monitor HOME --listen IP:PORT`: watch a server, no other wing loaded."""

from __future__ import annotations

import typer

from server.monitor.commands import monitor

if __name__ == "__main__":
    typer.run(monitor)

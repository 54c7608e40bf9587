"""`python -I -m server.gateway FOLDER --listen IP:PORT`: the server, and no other wing loaded."""

from __future__ import annotations

import typer

from server.commands_gateway import run

if __name__ == "__main__":
    typer.run(run)

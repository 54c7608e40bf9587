"""`python -I -m client.running CLIENT_DIR`: run this client, and load no other wing."""

from __future__ import annotations

import typer

from client.running.command import run

if __name__ == "__main__":
    typer.run(run)

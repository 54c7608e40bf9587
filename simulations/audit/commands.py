"""`hushrec audit RUN` and `hushrec audit attack`: what needs the lab."""

from __future__ import annotations

import typer

__all__ = ["extend"]


def extend(audit: typer.Typer) -> None:
    """Add the lab's commands to the group of the client's."""

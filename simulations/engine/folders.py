"""Where a prepared run keeps its clients."""

from __future__ import annotations

from pathlib import Path

from client.store import CLIENT_TOML
from common.errors import Code, RunError

__all__ = ["client_folders"]


def client_folders(run: Path) -> list[Path]:
    """The clients' folders of a prepared run, by name.

    Raises:
        RunError: `run-not-found`, the run was not prepared.
    """
    folders = sorted(path.parent for path in (run / "clients").glob(f"*/{CLIENT_TOML}"))
    if not folders:
        raise RunError(
            Code.RUN_NOT_FOUND,
            "holds no prepared clients.",
            where=str(run),
            remedy="Prepare one with `hushrec simulate --prepare --out DIR`.",
        )
    return folders

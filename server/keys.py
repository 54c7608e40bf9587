"""The server's own key: it signs tasks, and countersigns the heads of clients' ledgers.

It is made with the run and lives in the run's folder; the job names its public half, and a
client's policy may name it too. Without it a run cannot go on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from common.errors import Code, RunError
from common.job import Job
from common.privacy.signing import SigningKey

__all__ = ["key_of", "server_key"]

_FILE: Final = "server_key.pem"


def server_key(run: Path) -> SigningKey:
    """The key of the server of a run, made if there is none: for whoever lays a run out.

    Raises:
        ConfigError: `config-invalid`, the file holds no key.
        DataError: it cannot be written.
    """
    path = run / "server" / _FILE
    if path.exists():
        return SigningKey.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    key = SigningKey.create()
    key.save(path)
    return key


def key_of(job: Job, folder: Path) -> SigningKey | None:
    """The key that signs the tasks of `job`, None if it names no server.

    Args:
        job: what is asked for.
        folder: the server's folder in the run.

    Raises:
        RunError: `run-mismatch`, this server does not have the key that the job names.
        ConfigError: `config-invalid`, the file holds no key.
    """
    if job.server is None:
        return None
    path = folder / _FILE
    key = SigningKey.load(path) if path.exists() else None
    if key is None or key.public != job.server:
        raise RunError(
            Code.RUN_MISMATCH,
            f"the job names the server {job.server[:16]}…, and the key here is "
            f"{'missing' if key is None else key.public[:16] + '…'}.",
            where=str(path),
            remedy="Put the key back that was made with the run, or start a new run.",
        )
    return key

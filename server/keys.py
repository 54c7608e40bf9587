"""The server's home, and its own key: it signs tasks, and countersigns heads of ledgers.

The home is the run's own folder, or one that the operator names for several runs: then all of
them are one server, by one key and one memory of its clients' ledgers. The job names the public
half of the key, and a client's policy may name it too. Without it a run cannot go on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError, DataError, RunError
from common.job import Job
from common.privacy.signing import SigningKey
from server.witness import WITNESS_NAME

__all__ = [
    "HOME_SETTING",
    "HOME_VARIABLE",
    "SERVER_KEY",
    "home_key",
    "key_of",
    "server_home",
    "server_key",
]

HOME_VARIABLE: Final = "HUSHREC_SERVER_HOME"
"""Environment variable of the server's process: the home that its runs share."""
HOME_SETTING: Final = "server-home"
"""Run configuration key for the same; it wins."""
SERVER_KEY: Final = "server_key.pem"
"""The private key, in the home."""


def server_home(run: Path, configured: object = "") -> Path:
    """Where the server of a run keeps its key and what it saw of its clients' ledgers.

    Args:
        run: the run's folder.
        configured: what the run configuration says, empty if nothing.

    Returns:
        `configured`, or else the folder that `HUSHREC_SERVER_HOME` names, or else `server` in
        the run's folder.

    Raises:
        ConfigError: `config-invalid`, it is no absolute path: processes of one run may start
            in different folders.
    """
    place = f"run configuration `{HOME_SETTING}`" if configured else HOME_VARIABLE
    named = configured or os.environ.get(HOME_VARIABLE, "")
    if not named:
        return run / "server"
    if not isinstance(named, str) or not Path(named).is_absolute():
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{named!r} is not the absolute path of a folder.",
            where=place,
            remedy="Give the whole path, or nothing for a home of the run's own.",
        )
    return Path(named)


def server_key(run: Path) -> SigningKey:
    """The key of the server of a run, made if there is none: for whoever lays a run out.

    Raises:
        ConfigError: `config-invalid`, the file holds no key, or the home is no absolute path.
        RunError: `run-mismatch`, the home has a witness whose key is gone.
        DataError: it cannot be written.
    """
    return home_key(server_home(run))


def home_key(home: Path) -> SigningKey:
    """The key of a server's home, made if there is none.

    Processes that make the key of one home at once get the same one.

    Raises:
        ConfigError: `config-invalid`, the file holds no key.
        RunError: `run-mismatch`, the home has a witness whose key is gone.
        DataError: it cannot be written.
    """
    path = home / SERVER_KEY
    if path.exists():
        return SigningKey.load(path)
    if (home / WITNESS_NAME).exists() and not path.exists():
        raise RunError(
            Code.RUN_MISMATCH,
            f"there is a {WITNESS_NAME}, and the key that countersigned it is missing.",
            where=str(path),
            remedy="Put the key back. A new server begins in an empty folder.",
        )
    _make(path)
    return SigningKey.load(path)


def key_of(job: Job, home: Path) -> SigningKey | None:
    """The key that signs the tasks of `job`, None if it names no server.

    Args:
        job: what is asked for.
        home: the server's home.

    Raises:
        RunError: `run-mismatch`, this server does not have the key that the job names.
        ConfigError: `config-invalid`, the file holds no key.
    """
    if job.server is None:
        return None
    path = home / SERVER_KEY
    key = SigningKey.load(path) if path.exists() else None
    if key is None or key.public != job.server:
        raise RunError(
            Code.RUN_MISMATCH,
            f"the job names the server {job.server[:16]}…, and the key here is "
            f"{'missing' if key is None else key.public[:16] + '…'}.",
            where=str(path),
            remedy="Put the key back that the run was prepared with, or name its home in "
            f"{HOME_VARIABLE}; or start a new run.",
        )
    return key


def _make(path: Path) -> None:
    """Save a new key under `path`, whole, unless another process has been faster."""
    key = SigningKey.create()
    part = path.with_name(f".{path.name}.{key.public[:16]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        key.save(part)
        try:
            os.link(part, path)
        except FileExistsError:  # the key of this home, made meanwhile
            pass
        finally:
            part.unlink()
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"cannot be made: {error.strerror}.",
            where=str(path),
            remedy="Check the folder and its permissions.",
        ) from None

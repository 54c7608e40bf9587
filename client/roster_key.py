"""The key that signs a client's part in secure sums, and its line in everybody's roster.

It is neither the ledger's key nor that of Flower's transport. Whoever has it can take the
client's place in sums with the others, so it never leaves the client's folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError, DataError, PolicyError
from common.folder_lock import folder_lock
from common.privacy.signing import SigningKey

__all__ = [
    "ROSTER_KEY",
    "load_roster_key",
    "make_roster_key",
    "renew_roster_key",
    "roster_line",
]

ROSTER_KEY: Final = "roster_key.pem"
"""The private key, in the client's folder."""
_BEGUN: Final = ".roster_key.new.pem"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def load_roster_key(folder: Path) -> SigningKey:
    """The roster key of a client's folder.

    Raises:
        PolicyError: `policy-roster`, there is none, or it cannot be read.
    """
    path = folder / ROSTER_KEY
    try:
        return SigningKey.load(path)
    except ConfigError as error:
        raise PolicyError(
            Code.POLICY_ROSTER,
            f"this client has no roster key: {error.message}",
            where=str(path),
            remedy="Make one with `hushrec roster`, and bring its line into all rosters.",
        ) from None


def make_roster_key(folder: Path) -> SigningKey:
    """The roster key of a client's folder, made if there is none; never replaced.

    Raises:
        ConfigError: `config-invalid`, there is one that cannot be read.
        DataError: `disk-full`, or the folder cannot be written.
    """
    path = folder / ROSTER_KEY
    if not path.exists():
        with _alone_in(folder) as names:
            if not path.exists():  # else another process was faster
                _begun(folder).replace(path)
                os.fsync(names)
    return SigningKey.load(path)


def renew_roster_key(folder: Path, today: date) -> tuple[SigningKey, Path | None]:
    """A new roster key in the place of the old one, which is kept aside.

    A process that dies in between leaves the old key in force, or the new one, and never none.

    Args:
        folder: the client's.
        today: goes into the name of the old one.

    Returns:
        The new key, and where the old one is; None if there was none.

    Raises:
        DataError: `disk-full`, or the folder cannot be written.
    """
    path = folder / ROSTER_KEY
    with _alone_in(folder) as names:
        new = _begun(folder)
        kept = _aside(path, today) if path.exists() else None
        os.fsync(names)
        new.replace(path)
        os.fsync(names)
    return SigningKey.load(path), kept


def roster_line(name: str, public: str) -> str:
    """The line for `[roster]` in `policy.toml`, of this client and of every other one."""
    key = name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return f'{key} = "{public}"'


def _begun(folder: Path) -> Path:
    """A new key on disk that is not in force yet, in the place of what was left of others."""
    begun = folder / _BEGUN
    for left in folder.glob(f".{_BEGUN}.*.part"):  # of a process that died while it wrote
        left.unlink()
    SigningKey.create().save(begun)
    return begun


def _aside(path: Path, today: date) -> Path:
    """Another name for the key at `path`, by the day and, if that is taken, a number."""
    number = 1
    while True:
        more = "" if number == 1 else f".{number}"
        kept = path.with_name(f"{path.stem}.{today.isoformat()}{more}{path.suffix}")
        try:
            os.link(path, kept)  # unlike a copy, whole or not at all, and as private as it was
        except FileExistsError:
            if not kept.samefile(path):  # else it is from a renewal that was cut off
                number += 1
                continue
        kept.chmod(0o600)
        return kept


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Nobody else makes a key in the folder meanwhile.

    Raises:
        DataError: `data-not-found`, the folder cannot be used.
    """
    try:
        with folder_lock(folder) as names:
            yield names
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"no roster key can be made: {error.strerror}.",
            where=str(folder / ROSTER_KEY),
            remedy="Check the folder and its permissions.",
        ) from None

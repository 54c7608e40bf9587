"""The files of a client's folder that hold customers' events, as they are or sealed.

Whatever happens in between, one whole form of a file is there: a new form is on disk before
the other one goes. Where both are, the sealed one counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from client.sealed import Sealer
from common.errors import Code, ConfigError, DataError
from common.files import write_atomic

__all__ = [
    "EVENTS",
    "HELDOUT",
    "NAMES",
    "REJECTED",
    "SEALED",
    "DataFiles",
    "Stamp",
    "check_own",
    "stamp_of",
]

EVENTS: Final = "events.parquet"
"""The event table that a client trains on."""
HELDOUT: Final = "heldout.parquet"
"""Events kept from training, in simulations."""
REJECTED: Final = "rejected.csv"
"""Rows of the shop's tables that were set aside, each with what is wrong with it."""
NAMES: Final = (EVENTS, HELDOUT, REJECTED)
SEALED: Final = ".sealed"
"""Ends the name of a sealed file."""
Stamp: TypeAlias = tuple[int, ...]
"""Changes whenever a file is replaced; empty if there is none."""


@dataclass(frozen=True)
class DataFiles:
    """Where the files are, and what opens them.

    Attributes:
        folder: a client's, or one of its frozen copies.
        key_file: what they are sealed with when they are written; None for not at all.
    """

    folder: Path
    key_file: Path | None = None

    @property
    def sealer(self) -> Sealer | None:
        """The key, None if nothing is to be sealed.

        Raises:
            DataError: `store-sealed`, it is not there.
        """
        return None if self.key_file is None else Sealer.load(self.key_file)

    def path(self, name: str) -> Path:
        """The form of a file that counts, there or not."""
        sealed = self._sealed(name)
        return sealed if sealed.exists() or self._is_to_be_sealed(name) else self.folder / name

    def read(self, name: str) -> bytes | None:
        """A file's content, read once; None if it is not there in any form.

        Raises:
            DataError: `store-sealed`, without its key; `data-format`, it was changed after it
                was sealed; `data-not-found`, the disk refuses.
        """
        sealed = _bytes(self._sealed(name))
        if sealed is None:
            plain = _bytes(self.folder / name)
            if plain is not None:
                return plain
            sealed = _bytes(self._sealed(name))  # somebody may have sealed it between the two
        if sealed is None:
            return None
        sealer = self.sealer
        if sealer is None:
            raise DataError(
                Code.STORE_SEALED,
                "this is sealed, and client.toml names no key.",
                where=str(self._sealed(name)),
                remedy="Set `key_file` in client.toml to where the key is.",
            )
        return sealer.open(sealed, name, where=str(self._sealed(name)))

    def write(self, name: str, data: bytes) -> None:
        """Replace a file, in the form that it is to have; the other form goes then.

        Raises:
            DataError: `store-sealed`, `disk-full`, or `data-not-found` for a place that
                cannot be written; then the file is as it was.
        """
        sealer, plain, sealed = self.sealer, self.folder / name, self._sealed(name)
        if sealer is None:
            write_atomic(plain, data, mode=0o600)
            _unlink(sealed)
            return
        write_atomic(sealed, sealer.seal(data, name), mode=0o600)
        if self.read(name) != data:  # what cannot be read back must not cost the plain form
            raise DataError(
                Code.DATA_FORMAT,
                "what was written is not what is read back.",
                where=str(sealed),
                remedy="Check the disk.",
            )
        _unlink(plain)

    def is_to_change(self, name: str) -> bool:
        """Whether a file is there in the form that it is not to have."""
        wrong = self._sealed(name) if self.key_file is None else self.folder / name
        return wrong.exists()

    def remove(self, name: str) -> None:
        """Delete a file in both forms."""
        _unlink(self.folder / name)
        _unlink(self._sealed(name))

    def leftovers(self) -> list[Path]:
        """Files that somebody was writing who died; whoever deletes them is `alone`."""
        return [path for name in NAMES for path in self.folder.glob(f".{name}.*.part")]

    def stamps(self, *names: str) -> tuple[Stamp, ...]:
        """Changes whenever a file, its form or the key is replaced."""
        paths = [path for name in names for path in (self.folder / name, self._sealed(name))]
        if self.key_file is not None:
            paths.append(self.key_file)
        return tuple(stamp_of(path) for path in paths)

    def _sealed(self, name: str) -> Path:
        return self.folder / f"{name}{SEALED}"

    def _is_to_be_sealed(self, name: str) -> bool:
        return self.key_file is not None and not (self.folder / name).exists()


def check_own(folder: Path) -> None:
    """Who writes here is whom the folder belongs to: else its node could not read the result.

    Raises:
        ConfigError: `config-invalid`, it is another user's; `config-not-found`, it is not there.
    """
    try:
        owner = folder.stat().st_uid
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND, f"cannot be used: {error.strerror}.", where=str(folder)
        ) from None
    if owner != os.geteuid():
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"this folder belongs to user {owner}, and you are user {os.geteuid()}.",
            where=str(folder),
            remedy="Do it as the user that the client runs as: what is written here is private.",
        )


def stamp_of(path: Path) -> Stamp:
    """Changes whenever the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Check the disk, and the permission to read it.",
        ) from None


def _unlink(path: Path) -> None:
    """Delete a file if it is there; what took its place is durable first, and so is this."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
        if path.exists():
            path.unlink()
            os.fsync(folder)
    finally:
        os.close(folder)

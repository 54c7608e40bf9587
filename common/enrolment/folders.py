"""Folders and files of an enrolled party: private, whole or not there, never replaced."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError, DataError
from common.files import write_atomic

__all__ = ["exists", "new_folder", "write_private"]

_PRIVATE: Final = 0o600


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that its owner alone may enter; it gets its name when all is in it.

    Args:
        path: not there yet, or empty.

    Yields:
        where to write; gone if the block fails.

    Raises:
        ConfigError: `enroll-exists`, there is something.
        DataError: `data-not-found`, it cannot be made.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise exists("there is something already", path, "Choose another folder, or an empty one.")
    part = _part(path)
    try:
        yield part
        _rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read, whole or not at all.

    Raises:
        DataError: `disk-full` or `data-not-found`.
    """
    write_atomic(path, data, mode=_PRIVATE)


def exists(what: str, path: Path, remedy: str) -> ConfigError:
    """`enroll-exists`: something is there that is not replaced."""
    return ConfigError(Code.ENROLL_EXISTS, f"{what}.", where=str(path), remedy=remedy)


def _part(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from None


def _rename(part: Path, path: Path) -> None:
    try:
        part.rename(path)  # only over an empty folder, whoever else writes there meanwhile
        opened = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        Code.DATA_NOT_FOUND,
        f"cannot be made: {error.strerror}.",
        where=str(path),
        remedy="Check the place and the permission to write there.",
    )

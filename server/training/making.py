"""A new training's folder: under its name with everything in it, or not at all."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import Code, DataError, RunError
from common.files import sync_folder

__all__ = ["making", "put"]


@contextmanager
def making(path: Path) -> Iterator[Path]:
    """A folder beside `path` that has no name yet; what is not put there is deleted.

    Raises:
        DataError: it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    except OSError as error:
        raise _unmade(path, error) from None
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def put(part: Path, path: Path) -> None:
    """Give a folder its name, all at once.

    Raises:
        RunError: `run-exists`, there is one of that name, with something in it.
        DataError: it cannot be done.
    """
    try:
        part.rename(path)  # over an empty folder at most, whoever else makes one meanwhile
        sync_folder(path.parent)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise _unmade(path, error) from None
        raise RunError(
            Code.RUN_EXISTS,
            "there is a training of that name.",
            where=str(path),
            remedy=f"Choose another --name, or continue it with --resume {path.name}.",
        ) from None


def _unmade(path: Path, error: OSError) -> DataError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    code = Code.DISK_FULL if full else Code.DATA_NOT_FOUND
    return DataError(code, f"cannot be made: {error.strerror}.", where=str(path))

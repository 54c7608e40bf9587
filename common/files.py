"""Reading bytes from disk and from zips, so that every failure is a DataError with a place."""

from __future__ import annotations

import errno
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import Code, DataError

if TYPE_CHECKING:  # keys are read where pandas may be missing
    import pandas as pd

__all__ = [
    "member_names",
    "read_bytes",
    "read_member",
    "sync_folder",
    "write_atomic",
    "write_parquet",
]

_LARGEST_MEMBER_BYTES = 8 * 2**30  # a zip of a few kB may claim to unpack to petabytes


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        DataError: `data-not-found` (missing, a folder, not readable) or `data-empty`.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"cannot be read: {getattr(error, 'strerror', None) or error}.",
            where=str(path),
            remedy="Check the path and the permission to read it.",
        ) from None
    if not data.strip():
        raise DataError(
            Code.DATA_EMPTY, "the file is empty.", where=str(path), remedy="Export it again."
        )
    return data


def member_names(data: bytes, where: str) -> list[str]:
    """Names of the files in a zip.

    Raises:
        DataError: `data-format` when the zip is truncated or damaged.
    """
    with _opened(data, where) as archive:
        return [info.filename for info in archive.infolist() if not info.is_dir()]


def read_member(data: bytes, suffix: str, where: str) -> bytes:
    """Unpack the one member of a zip whose name ends with `suffix`.

    Raises:
        DataError: `data-format` when the zip is damaged, or does not hold exactly one such
            member; `data-empty` when the member is empty.
    """
    names = [
        name
        for name in member_names(data, where)
        if name.rsplit("/", 1)[-1].endswith(suffix) and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise DataError(
            Code.DATA_FORMAT,
            f"expected one member ending in {suffix!r} in the zip, found {names or 'none'}.",
            where=where,
            remedy=f"The zip holds: {', '.join(member_names(data, where)[:12]) or 'nothing'}.",
        )
    content = _unpacked(data, names[0], where)
    if not content.strip():
        raise DataError(
            Code.DATA_EMPTY, "the file is empty.", where=f"{where}:{names[0]}", remedy="Fetch it."
        )
    return content


def write_atomic(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    """Write a whole file or nothing: a reader never sees half of it.

    Args:
        path: the file.
        data: its bytes.
        mode: who may read and write it, less the process's umask, from its first byte on.
        durable: wait for the disk, so that a power cut leaves the old file or the new one.

    Raises:
        DataError: `disk-full`, or `data-not-found` when the place cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)  # an old one may be open to more readers
        made = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(made, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())  # else a power cut may leave the new name on no bytes
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise DataError(
            Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
            f"cannot be written: {error.strerror}.",
            where=str(path),
            remedy="Make room on the disk." if full else "Check the folder and its permissions.",
        ) from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`, so that a power cut leaves none of them out.

    Raises:
        OSError: the disk refuses.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index, whole or not at all.

    Raises:
        DataError: `disk-full`, or `data-not-found` when the place cannot be written.
    """
    write_atomic(path, table.to_parquet(index=False))


def _opened(data: bytes, where: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise _damaged(where, error) from None


def _unpacked(data: bytes, name: str, where: str) -> bytes:
    try:
        with _opened(data, where) as archive:
            if archive.getinfo(name).file_size > _LARGEST_MEMBER_BYTES:
                raise zipfile.BadZipFile(f"{name} unpacks to more than 8 GiB")
            return archive.read(name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        OSError,
        RuntimeError,  # encrypted, or a compression that this Python does not know
    ) as error:
        raise _damaged(f"{where}:{name}", error) from None


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(
        Code.DATA_FORMAT,
        f"the zip is truncated or damaged: {error}.",
        where=where,
        remedy="Fetch it again and compare its size with the publisher's.",
    )

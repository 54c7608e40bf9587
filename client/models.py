"""Versions of the model that this client was sent, on its disk: served while the server is down.

    models/current.json        which one is served, and the newest serial of each server
    models/VERSION.HASH/       arrays and manifest

Guarantee:
    A reader finds the version before or the one after, whole, whenever a writer is killed. Of
    one server no promotion is taken after a later one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray
from pydantic import Field

from common.artifacts import Manifest, VersionId, load_artifact, save_artifact
from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError, DataError
from common.files import sync_folder, write_atomic
from common.folder_lock import folder_lock
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.signing import Hex32, PublicKey

if TYPE_CHECKING:  # a service reads models and no messages
    from common.protocol import ModelMessage

__all__ = ["MODELS", "HeldModel", "ModelStore", "model_of"]

MODELS: Final = "models"
"""The folder, in the client's."""
_CURRENT: Final = "current.json"
_KEPT: Final = 3
_PART: Final = ".part"
_DAMAGED: Final = ".damaged"


@dataclass(frozen=True)
class HeldModel:
    """The version that this client serves.

    Attributes:
        serial: number of its promotion.
        version: its name.
        manifest: what stands beside the arrays.
        model: the model itself.
    """

    serial: int
    version: str
    manifest: Manifest
    model: MatrixFactorisation


class _Mark(Settings):
    """The last promotion that was taken of one server."""

    serial: int = Field(ge=1)
    digest: Hex32
    """Of the whole message."""


class _Current(Settings):
    """`current.json`: replaced whole, once the version that it names is on the disk."""

    serial: int = Field(ge=1)
    version: VersionId
    server: PublicKey
    """Who promoted it."""
    folders: tuple[str, ...] = Field(min_length=1, max_length=_KEPT)
    """Versions that are kept, the current one first."""
    marks: dict[PublicKey, _Mark]
    """By server."""


@dataclass(frozen=True)
class ModelStore:
    """The models in a client's folder.

    Attributes:
        folder: the client's.
    """

    folder: Path

    def take(self, message: ModelMessage) -> None:
        """Keep a model and make it the current one; the same once more changes nothing.

        Whether the sender may send it, and whether it is for this client's catalogue, is the
        guard's to check beforehand.

        Raises:
            ArtifactError: `model-stale`, its server has promoted another one with this or a
                later serial; `artifact-invalid`, arrays and manifest do not fit together.
            DataError: `disk-full`, or the folder cannot be written; the one before stays.
        """
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._models) as names:
                before = self._pointer()
                if not self._is_new(message, before):
                    return
                folder = self._write(message)
                os.fsync(names)
                after = _after(before, message, folder)
                write_atomic(self._models / _CURRENT, after.model_dump_json(indent=2).encode())
                os.fsync(names)
                self._tidy(after)
        except OSError as error:
            raise _unwritable(error, self._models) from None

    def current(self) -> HeldModel | None:
        """The model to serve, None if none was ever taken.

        Raises:
            ArtifactError: `artifact-invalid`, it is damaged: whoever has one loaded keeps it.
        """
        while True:
            pointer = self._pointer()
            if pointer is None:
                return None
            try:
                return self._held(pointer)
            except ArtifactError:
                if self._pointer() == pointer:  # else another one was taken meanwhile
                    raise

    @property
    def stamp(self) -> tuple[int, ...]:
        """Changes whenever another model was taken; cheap to look at."""
        try:
            found = (self._models / _CURRENT).stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    @property
    def _models(self) -> Path:
        return self.folder / MODELS

    def _pointer(self) -> _Current | None:
        path = self._models / _CURRENT
        if not path.exists():
            return None
        try:
            return _Current.load(read_json(path), where=str(path))
        except ConfigError as error:
            raise _damaged(error.message, str(path)) from None

    def _held(self, pointer: _Current) -> HeldModel:
        place = self._models / pointer.folders[0]
        try:
            arrays, manifest = load_artifact(place)
            model = model_of(manifest, arrays, str(place))
        except ArtifactError as error:
            raise _damaged(error.message, error.where) from None
        return HeldModel(pointer.serial, pointer.version, manifest, model)

    def _is_new(self, message: ModelMessage, before: _Current | None) -> bool:
        """Whether there is anything to write.

        Raises:
            ArtifactError: `model-stale`.
        """
        mark = None if before is None else before.marks.get(message.server)
        if before is None or mark is None or message.serial > mark.serial:
            return True
        if message.serial == mark.serial and message.digest == mark.digest:
            return self._is_damaged(before)
        raise ArtifactError(
            Code.MODEL_STALE,
            f"promotion {message.serial} of {message.version} came after promotion {mark.serial} "
            "of its server.",
            where=str(self._models / _CURRENT),
            remedy="If it is meant, promote it once more at the server.",
        )

    def _is_damaged(self, pointer: _Current) -> bool:
        try:
            self._held(pointer)
        except ArtifactError:
            return True
        return False

    def _write(self, message: ModelMessage) -> str:
        """The version's folder, whole under its name before anything points to it."""
        name = _folder_of(message)
        place, part = self._models / name, self._models / f".{name}{_PART}"
        if _is_whole(place, message.manifest):
            return name
        shutil.rmtree(part, ignore_errors=True)
        try:
            _save(part, message)
            if place.exists():
                place.rename(self._models / f".{name}.{os.getpid()}{_DAMAGED}")
            part.rename(place)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return name

    def _tidy(self, after: _Current) -> None:
        """Take away what is neither kept nor finished."""
        for found in self._models.iterdir():
            if found.is_dir() and found.name not in after.folders:
                shutil.rmtree(found, ignore_errors=True)


def model_of(
    manifest: Manifest, arrays: Mapping[str, NDArray[Any]], where: str
) -> MatrixFactorisation:
    """The model that a manifest and its arrays make.

    Raises:
        ArtifactError: `artifact-invalid`, they make none.
    """
    if manifest.kind != "model":
        raise ArtifactError(
            Code.ARTIFACT_INVALID, f"holds a {manifest.kind[:32]!r}, not a model.", where=where
        )
    try:
        settings = FoldIn.load(manifest.settings, where=where)
    except ConfigError as error:
        raise ArtifactError(Code.ARTIFACT_INVALID, error.message, where=where) from None
    return MatrixFactorisation.from_arrays(arrays, settings)


def _after(before: _Current | None, message: ModelMessage, folder: str) -> _Current:
    kept = () if before is None else before.folders
    marks = {} if before is None else before.marks
    mark = _Mark(serial=message.serial, digest=message.digest)
    return _Current(
        serial=message.serial,
        version=message.version,
        server=message.server,
        folders=(folder, *(name for name in kept if name != folder))[:_KEPT],
        marks={**marks, message.server: mark},
    )


def _folder_of(message: ModelMessage) -> str:
    """Name of a version's folder: what is under one name is one version for ever."""
    content = hashlib.sha256(message.manifest.model_dump_json().encode()).hexdigest()
    return f"{message.version}.{content[:16]}"


def _is_whole(place: Path, manifest: Manifest) -> bool:
    try:
        return load_artifact(place)[1] == manifest
    except ArtifactError:
        return False


def _save(part: Path, message: ModelMessage) -> None:
    """Write arrays and manifest, and wait for the disk.

    Raises:
        ArtifactError: `artifact-invalid`, the arrays are not those of the manifest.
    """
    model = model_of(message.manifest, message.arrays, "message")
    saved = save_artifact(part, model.arrays(), message.manifest)
    if saved != message.manifest:
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            "the arrays do not have the hash that the manifest names.",
            where="message",
            remedy="Have the model delivered again.",
        )
    sync_folder(part)


def _damaged(what: str, where: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        what,
        where=where,
        remedy=f"Restore the folder `{MODELS}` from its backup; or put it aside, and have the "
        "model delivered again (`hushrec server deliver`).",
    )


def _unwritable(error: OSError, place: Path) -> DataError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return DataError(
        Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
        f"cannot be written: {error.strerror}.",
        where=str(place),
        remedy="Make room on the disk." if full else "Check the folder and its permissions.",
    )

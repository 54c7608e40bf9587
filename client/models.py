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
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from client.data_files import Stamp, stamp_of
from client.model_pointer import CURRENT, FOLDER, Pointer, damaged, folder_of
from common.arrays import State
from common.artifacts import Manifest, arrays_to_bytes, load_artifact, save_artifact
from common.errors import ArtifactError, Code, DataError
from common.files import sync_folder
from common.folder_lock import folder_lock
from common.models.base import Model
from common.models.registry import model_from

if TYPE_CHECKING:  # a service reads models and no messages
    from common.protocol import ModelMessage

__all__ = ["MODELS", "HeldModel", "ModelStore"]

MODELS: Final = "models"
"""The folder, in the client's."""
_OURS: Final = re.compile(rf"\.?{FOLDER}(\.part|\.[0-9]+\.damaged)?")
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
    model: Model


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
                later serial; `artifact-invalid`, arrays and manifest do not fit together;
                `model-kind`, it is of a kind that is not known here.
            DataError: `disk-full`, or the folder cannot be written; the one before stays.
        """
        arrays = _checked(message)
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._models) as names:
                pointer = self._pointer()
                if self._is_new(message, pointer):
                    self._write(message, arrays)
                    os.fsync(names)
                    pointer = Pointer.after(pointer, message)
                    pointer.write(self._models)
                    os.fsync(names)
                self._tidy(pointer)
        except OSError as error:
            raise _unwritable(error, self._models) from None

    def current(self) -> HeldModel | None:
        """The model to serve, None if none was ever taken.

        Raises:
            ArtifactError: `artifact-invalid`, it is damaged, or `model-kind`, another version
                of this program took it: whoever has one loaded keeps it.
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
    def stamp(self) -> Stamp:
        """Changes whenever another model was taken; cheap to look at."""
        return stamp_of(self._models / CURRENT)

    @property
    def _models(self) -> Path:
        return self.folder / MODELS

    def _pointer(self) -> Pointer | None:
        return Pointer.read(self._models)

    def _held(self, pointer: Pointer) -> HeldModel:
        place = self._models / pointer.folders[0]
        try:
            arrays, manifest = load_artifact(place)
            model = _model_of(manifest, arrays, str(place))
        except ArtifactError as error:
            if error.code is Code.MODEL_KIND:  # whole, and for another version
                raise
            raise damaged(error.message, error.where) from None
        return HeldModel(pointer.serial, pointer.version, manifest, model)

    def _is_new(self, message: ModelMessage, pointer: Pointer | None) -> bool:
        """Whether there is anything to write.

        Raises:
            ArtifactError: `model-stale`.
        """
        if pointer is None or pointer.precedes(message, str(self._models / CURRENT)):
            return True
        return pointer.points_to(message) and self._is_damaged(pointer)

    def _is_damaged(self, pointer: Pointer) -> bool:
        try:
            self._held(pointer)
        except ArtifactError:
            return True
        return False

    def _write(self, message: ModelMessage, arrays: State) -> None:
        """The version's folder, whole under its name before anything points to it."""
        name = folder_of(message)
        place, part = self._models / name, self._models / f".{name}{_PART}"
        if _is_whole(place, message.manifest):
            return
        shutil.rmtree(part, ignore_errors=True)
        try:
            save_artifact(part, arrays, message.manifest)
            sync_folder(part)
            if place.exists():
                place.rename(self._models / f".{name}.{os.getpid()}{_DAMAGED}")
            part.rename(place)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _tidy(self, pointer: Pointer | None) -> None:
        """Take away what is neither kept nor finished; what is not ours stays."""
        kept = () if pointer is None else pointer.folders
        for found in self._models.iterdir():
            if found.name.startswith(f".{CURRENT}."):
                found.unlink(missing_ok=True)
            elif found.name not in kept and _OURS.fullmatch(found.name):
                shutil.rmtree(found, ignore_errors=True)


def _checked(message: ModelMessage) -> State:
    """The arrays of a model, which are those that its manifest names.

    Raises:
        ArtifactError: `artifact-invalid`.
    """
    arrays = _model_of(message.manifest, message.arrays, "message").arrays()
    if hashlib.sha256(arrays_to_bytes(arrays)).hexdigest() != message.manifest.sha256:
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            "the arrays do not have the hash that the manifest names.",
            where="message",
            remedy="Have the model delivered again.",
        )
    return arrays


def _model_of(manifest: Manifest, arrays: Mapping[str, NDArray[Any]], where: str) -> Model:
    """The model that a manifest and its arrays make.

    Raises:
        ArtifactError: `artifact-invalid`, they make none; `model-kind`.
    """
    if manifest.kind != "model":
        raise ArtifactError(
            Code.ARTIFACT_INVALID, f"holds a {manifest.kind[:32]!r}, not a model.", where=where
        )
    return model_from(manifest.model, manifest.settings, arrays, where=where)


def _is_whole(place: Path, manifest: Manifest) -> bool:
    try:
        return load_artifact(place)[1] == manifest
    except ArtifactError:
        return False


def _unwritable(error: OSError, place: Path) -> DataError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return DataError(
        Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
        f"cannot be written: {error.strerror}.",
        where=str(place),
        remedy="Make room on the disk." if full else "Check the folder and its permissions.",
    )

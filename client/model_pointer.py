"""`models/current.json`: which model is served, and how far each server has counted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self, TypeAlias

from pydantic import Field, StringConstraints

from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError
from common.files import write_atomic
from common.manifest import VersionId
from common.privacy.signing import Hex32, PublicKey

if TYPE_CHECKING:  # a service reads models and no messages
    from common.protocol import ModelMessage

__all__ = ["CURRENT", "FOLDER", "Pointer", "damaged", "folder_of"]

CURRENT: Final = "current.json"
FOLDER: Final = r"[0-9]{4,9}-[0-9a-f]{8}\.[0-9a-f]{16}"
"""What the folder of a version is called: its name and a hash of its manifest."""
Folder: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{FOLDER}$")]
_KEPT: Final = 3


class Mark(Settings):
    """The last promotion that was taken of one server."""

    serial: int = Field(ge=1)
    """Its number."""
    digest: Hex32
    """Of the whole message."""


class Pointer(Settings):
    """`current.json`: replaced whole, once the version that it names is on the disk."""

    serial: int = Field(ge=1)
    """Number of the promotion that is served."""
    version: VersionId
    """Its version."""
    server: PublicKey
    """Who promoted it."""
    folders: tuple[Folder, ...] = Field(min_length=1, max_length=_KEPT)
    """Versions that are kept, the current one first."""
    marks: dict[PublicKey, Mark]
    """How far each server has counted."""

    @classmethod
    def read(cls, models: Path) -> Self | None:
        """The pointer in the folder `models`, None if there is none.

        Raises:
            ArtifactError: `artifact-invalid`.
        """
        path = models / CURRENT
        if not path.exists():
            return None
        try:
            return cls.load(read_json(path), where=str(path))
        except ConfigError as error:
            raise damaged(error.message, str(path)) from None

    @classmethod
    def after(cls, before: Pointer | None, message: ModelMessage) -> Self:
        """What it is once the model in `message` is on the disk."""
        folder = folder_of(message)
        kept = () if before is None else before.folders
        marks = {} if before is None else before.marks
        mark = Mark(serial=message.serial, digest=message.digest)
        return cls(
            serial=message.serial,
            version=message.version,
            server=message.server,
            folders=(folder, *(name for name in kept if name != folder))[:_KEPT],
            marks={**marks, message.server: mark},
        )

    def write(self, models: Path) -> None:
        """Replace the pointer in the folder `models`.

        Raises:
            DataError: it cannot be written.
        """
        write_atomic(models / CURRENT, self.model_dump_json(indent=2).encode())

    def points_to(self, message: ModelMessage) -> bool:
        """Whether what is served came with this message, sent before."""
        return (self.server, self.serial) == (message.server, message.serial)

    def precedes(self, message: ModelMessage, where: str) -> bool:
        """Whether the message is later than all of its server that were taken.

        Returns:
            False for one that was taken.

        Raises:
            ArtifactError: `model-stale`, it is earlier, or another one of the same number.
        """
        mark = self.marks.get(message.server)
        if mark is None or message.serial > mark.serial:
            return True
        if (message.serial, message.digest) == (mark.serial, mark.digest):
            return False
        raise ArtifactError(
            Code.MODEL_STALE,
            f"promotion {message.serial} of {message.version} came after promotion {mark.serial} "
            "of its server.",
            where=where,
            remedy="If it is meant, promote it once more at the server.",
        )


def folder_of(message: ModelMessage) -> str:
    """Name of a version's folder: what is under one name is one version for ever."""
    content = hashlib.sha256(message.manifest.model_dump_json().encode()).hexdigest()
    return f"{message.version}.{content[:16]}"


def damaged(what: str, where: str) -> ArtifactError:
    """`artifact-invalid`, about a model that a client keeps."""
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        what,
        where=where,
        remedy="Restore the folder `models` from its backup; or put it aside, and have the "
        "model delivered again (`hushrec server deliver`).",
    )

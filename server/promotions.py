"""The list of promotions: numbered lines that are only ever appended, each on the disk first."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from common.config import Settings
from common.errors import ArtifactError, Code, ConfigError, DataError
from common.files import sync_folder
from common.manifest import VersionId

__all__ = ["Promotion", "Promotions"]


class Promotion(Settings):
    """That a version is the one that clients are sent from now on."""

    serial: int = Field(ge=1, lt=1 << 63)
    """Its number, from 1: of two promotions, clients take the one with the higher."""
    version: VersionId
    """What was promoted."""
    at: str
    """When, UTC."""
    back_to: int | None = Field(default=None, ge=1)
    """Of a roll-back: the promotion that it repeats."""


@dataclass(frozen=True)
class Promotions:
    """The file.

    Attributes:
        path: where it is; a last line that was not written to its end does not count, and is
            cut off by the next one.
    """

    path: Path

    def read(self) -> list[Promotion]:
        """All promotions, the oldest first.

        Raises:
            ArtifactError: `artifact-invalid`, a line is none, or out of order.
            DataError: the file cannot be read.
        """
        return self._parsed(self._whole())

    @property
    def current(self) -> Promotion | None:
        """The newest, None if there is none; raises as `read` does."""
        known = self.read()
        return known[-1] if known else None

    def before_current(self) -> Promotion | None:
        """The promotion before the current one that was of another version.

        After a roll-back, the one before that to which it went back.
        """
        known = self.read()
        at = len(known)
        while at > 0:
            promotion = known[at - 1]
            if promotion.version != known[-1].version:
                return promotion
            while promotion.back_to is not None:
                promotion = known[promotion.back_to - 1]
            at = promotion.serial - 1
        return None

    def append(self, version: str, at: str, *, back_to: Promotion | None = None) -> Promotion:
        """Promote a version; the caller is the only one who writes.

        Args:
            version: its name.
            at: what time it is, UTC.
            back_to: of a roll-back: the promotion that it repeats.

        Raises:
            ArtifactError: as `read` does.
            OSError: it cannot be written; a part that was written does not count.
        """
        whole = self._whole()
        promotion = Promotion(
            serial=len(self._parsed(whole)) + 1,
            version=version,
            at=at,
            back_to=None if back_to is None else back_to.serial,
        )
        text = promotion.model_dump_json(exclude_none=True).encode() + b"\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "rb+") as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        return promotion

    def _whole(self) -> bytes:
        try:
            blob = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DataError(
                Code.DATA_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(self.path)
            ) from None
        return blob[: blob.rfind(b"\n") + 1]

    def _parsed(self, whole: bytes) -> list[Promotion]:
        return [self._line(text, at) for at, text in enumerate(whole.split(b"\n")[:-1], 1)]

    def _line(self, text: bytes, number: int) -> Promotion:
        try:
            values = json.loads(text)
            promotion = Promotion.load(values)
            fits = promotion.serial == number and (promotion.back_to or 0) < number
        except (ConfigError, ValueError, TypeError, RecursionError):
            fits = False
        if not fits:
            raise ArtifactError(
                Code.ARTIFACT_INVALID,
                f"line {number} is not promotion {number}.",
                where=str(self.path),
                remedy="Restore the file. If it is lost: clients refuse numbers that they had.",
            )
        return promotion

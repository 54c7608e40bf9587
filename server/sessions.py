"""Numbers of the sessions of secure sums, on disk before their first message.

A session is one attempt at one step's sum. Its number is never used twice, also by a server
that was killed: clients answer no session that is older than one they have begun.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from common.config import Settings, read_json
from common.errors import ArtifactError, Code, ConfigError, DataError
from common.files import write_atomic
from common.secure_sum.messages import Stage

__all__ = ["BEGUN", "SUMMED", "Drop", "SessionRecord", "Sessions"]

BEGUN: Final = "begun"
"""A session that goes on, or whose server was killed."""
SUMMED: Final = "summed"
"""A session that made a total."""
_FOLDER: Final = "sums"
_KNOWN_BEFORE: Final = frozenset({Code.SUM_SESSION, Code.SUM_STAGE})
_NAME: Final = re.compile(r"step-(\d{4,})-session-(\d+)\.json")


class Drop(Settings):
    """How the server lost a client."""

    stage: Stage
    """The stage that it did not answer as it should."""
    code: str
    """Why: a code of ours, or what stands for silence or an error of Flower's."""


class SessionRecord(Settings):
    """One session, as the server saw it."""

    step: int
    """Index of the step, from 0."""
    session: int
    """Its number, from 0 for every step."""
    outcome: str = BEGUN
    """`summed`, `begun`, or the code that ended it."""
    stage: Stage | None = None
    """The last stage that clients were asked for; None as long as it goes on. From `masked` on
    it has cost clients what a release costs."""
    survivors: tuple[str, ...] = ()
    """Clients whose words were counted, in order of name."""
    resumed: int = Field(default=0, ge=0)
    """How often a person had resumed the training when it began."""
    dropped: dict[str, Drop] = Field(default_factory=dict)
    """How each client was lost. A survivor may be lost too, after its words were counted."""

    @property
    def may_have_cost(self) -> bool:
        """Whether a client may have been charged for it.

        Clients were asked for words; or the server was killed and does not know; or a client
        knows the session from before, and this server has lost its memory of it.
        """
        known = any(drop.code in _KNOWN_BEFORE for drop in self.dropped.values())
        return self.stage not in {"keys", "shares"} or known


@dataclass(frozen=True)
class Sessions:
    """The sessions of one run.

    Guarantee:
        No two calls of `begin` for one step return the same number, whenever the server is
        killed and also if two of them share the folder, as long as the folder `sums` is kept.

    Attributes:
        folder: the registry's folder.
    """

    folder: Path

    def begin(self, step: int, resumed: int = 0) -> int:
        """The number of a new session of `step`, on disk when this returns.

        Args:
            step: index of the step.
            resumed: how often a person has resumed the training.

        Raises:
            DataError: `disk-full`, or `data-not-found`, the folder cannot be written. Then
                nobody may be asked.
        """
        number = 1 + max((session for _, session in self._numbers(step)), default=-1)
        try:
            self._sums.mkdir(parents=True, exist_ok=True)
            while not self._claim(SessionRecord(step=step, session=number, resumed=resumed)):
                number += 1
            _sync(self._sums)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise DataError(
                Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
                f"the number of a session cannot be written: {error.strerror}.",
                where=str(self._sums),
                remedy="Make room on the disk and check the folder's permissions, then resume.",
            ) from None
        return number

    def end(self, record: SessionRecord) -> None:
        """Keep what became of a session.

        Raises:
            DataError: it cannot be written.
        """
        text = record.model_dump_json(indent=2)
        write_atomic(self._path(record.step, record.session), text.encode())

    def of(self, step: int) -> tuple[SessionRecord, ...]:
        """All sessions of `step`, in order, of every process that had a part.

        Raises:
            ArtifactError: `artifact-invalid`, a record is damaged.
        """
        return tuple(_read(self._path(*found)) for found in sorted(self._numbers(step)))

    def repeats(self, resumed: int) -> int:
        """Sessions, of all steps, that may have charged clients again since a person resumed.

        The first session of a step that may have cost something is what its release costs.

        Raises:
            ArtifactError: `artifact-invalid`, a record is damaged.
        """
        steps = {step for step, _ in self._all()}
        costly = [[one for one in self.of(step) if one.may_have_cost] for step in steps]
        return sum(one.resumed == resumed for records in costly for one in records[1:])

    def _claim(self, record: SessionRecord) -> bool:
        """Put a whole record on disk under its name; False if another process was faster."""
        path = self._path(record.step, record.session)
        part = path.with_name(f".{path.name}.{os.getpid()}.new")
        write_atomic(part, record.model_dump_json(indent=2).encode())
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    @property
    def _sums(self) -> Path:
        return self.folder / _FOLDER

    def _path(self, step: int, session: int) -> Path:
        return self._sums / f"step-{step:04d}-session-{session}.json"

    def _numbers(self, step: int) -> list[tuple[int, int]]:
        return [number for number in self._all() if number[0] == step]

    def _all(self) -> list[tuple[int, int]]:
        """Step and session of every record."""
        found = (_NAME.fullmatch(path.name) for path in self._sums.glob("step-*"))
        return [(int(match[1]), int(match[2])) for match in found if match]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> SessionRecord:
    try:
        return SessionRecord.load(read_json(path), where=str(path))
    except ConfigError as error:
        raise ArtifactError(
            Code.ARTIFACT_INVALID,
            error.message,
            where=str(path),
            remedy="Restore it; keep a file of this name in any case, or its number is used twice.",
        ) from None

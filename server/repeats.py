"""How often a training's clients were asked for a step, on disk: no program asks for ever.

A client reserves what a release costs before it computes it. One that fails in between, or whose
answer is lost on the way, may be charged anew when it is asked again, and nobody at the server
can see whether it was. So each ask that brought no release counts, whatever came in its place.

Guarantee:
    Within one training, and until a person resumes it, a client that gave no release is asked
    again at most `REPEATS` times, over all steps and however often server apps are killed, as
    long as `asked.jsonl` is kept. What a client released it sends again at no cost: that is
    no repeat.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from common.config import Settings
from common.errors import ArtifactError, Code, ConfigError, DataError
from common.files import sync_folder
from common.protocol import OK
from server.quorum import NO_ANSWER

__all__ = ["REPEATS", "Repeats"]

REPEATS: Final = 2
"""Most asks of one client that may charge it anew, in one training, without a person."""
_FILE: Final = "asked.jsonl"


class _Line(Settings):
    """One line: who is about to be asked, or what came of that."""

    step: int = Field(ge=0)
    resumed: int = Field(default=0, ge=0)
    """How often a person had resumed the training."""
    asked: tuple[str, ...] = ()
    """Clients that the step is sent to."""
    answered: dict[str, str] = Field(default_factory=dict)
    """`ok` or a code, by client."""


@dataclass
class Repeats:
    """The file, and what follows from it. One process at a time has it.

    Attributes:
        path: of the file; a last line that was not written to its end does not count.
        resumed: how often a person has resumed the training.
    """

    path: Path
    resumed: int = 0
    _codes: dict[tuple[int, str], str] = field(default_factory=dict, init=False)
    _used: Counter[str] = field(default_factory=Counter, init=False)

    @classmethod
    def open(cls, folder: Path, resumed: int) -> Self:
        """Of the training whose registry is in `folder`.

        Raises:
            ArtifactError: `artifact-invalid`, a line is damaged.
            DataError: the file cannot be read or mended.
        """
        found = cls(folder / _FILE, resumed)
        whole = found._whole()
        for number, text in enumerate(whole.split(b"\n")[:-1], 1):
            found._take(found._line(text, number))
        return found

    def held(self, step: int) -> dict[str, str]:
        """Clients that no program asks for this step again, with the last code of each."""
        return {
            name: code
            for (at, name), code in self._codes.items()
            if at == step and code != OK and self._used[name] >= REPEATS
        }

    def asking(self, step: int, names: Iterable[str]) -> None:
        """Count an ask; it is on disk when this returns.

        Raises:
            DataError: it cannot be written. Then nobody may be asked.
        """
        self._append(_Line(step=step, resumed=self.resumed, asked=tuple(names)), sync=True)

    def answered(self, step: int, name: str, code: str) -> None:
        """Keep what came of an ask.

        Raises:
            DataError: it cannot be written.
        """
        line = _Line(step=step, resumed=self.resumed, answered={name: code})
        self._append(line, sync=False)  # one that is lost leaves the ask counted

    def _take(self, line: _Line) -> None:
        for name in line.asked:
            before = self._codes.get((line.step, name))
            if before is None or before != OK:
                self._codes[line.step, name] = NO_ANSWER
                self._used[name] += before is not None and line.resumed == self.resumed
        for name, code in line.answered.items():
            if self._codes.get((line.step, name)) != OK:
                self._codes[line.step, name] = code

    def _append(self, line: _Line, *, sync: bool) -> None:
        text = line.model_dump_json(exclude_defaults=True).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
            with os.fdopen(handle, "ab") as file:
                file.write(text)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if sync:
                sync_folder(self.path.parent)
        except OSError as error:
            raise _unwritable(error, self.path) from None
        self._take(line)

    def _whole(self) -> bytes:
        """All lines that were written to their end; what is behind them is cut off."""
        try:
            blob = self.path.read_bytes()
            whole = blob[: blob.rfind(b"\n") + 1]
            if len(whole) < len(blob):
                os.truncate(self.path, len(whole))
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _unwritable(error, self.path) from None
        return whole

    def _line(self, text: bytes, number: int) -> _Line:
        try:
            return _Line.load(json.loads(text))
        except (ConfigError, ValueError, TypeError, RecursionError):
            raise ArtifactError(
                Code.ARTIFACT_INVALID,
                f"line {number} does not say who was asked for what.",
                where=str(self.path),
                remedy="Restore the file: it bounds what the training may cost its clients.",
            ) from None


def _unwritable(error: OSError, path: Path) -> DataError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return DataError(
        Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
        f"who is asked cannot be written down: {error.strerror}.",
        where=str(path),
        remedy="Make room on the disk and check the folder's permissions, then resume.",
    )

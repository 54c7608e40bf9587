"""What every reader is given, and what it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.files import member_names, read_bytes, read_member
from common.interactions.columns import Columns
from common.interactions.raw import RawEvents

__all__ = ["Reader", "Source"]


@dataclass(frozen=True)
class Source:
    """A file, in memory.

    Attributes:
        path: where it is.
        data: its bytes.
    """

    path: Path
    data: bytes

    @classmethod
    def open(cls, path: Path) -> Source:
        """Read `path`.

        Raises:
            DataError: `data-not-found` or `data-empty`.
        """
        return cls(path, read_bytes(path))

    @property
    def where(self) -> str:
        """Name of the file for errors."""
        return str(self.path)

    @property
    def suffix(self) -> str:
        """Lower-case ending of the name, with its dot."""
        return self.path.suffix.lower()

    @property
    def is_zip(self) -> bool:
        """By content or by name."""
        return self.data.startswith(b"PK") or self.suffix == ".zip"

    @property
    def is_parquet(self) -> bool:
        """By content or by name."""
        return self.data.startswith(b"PAR1") or self.suffix in (".parquet", ".pq")

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Names in the zip, none for other files.

        Raises:
            DataError: `data-format` for a damaged zip.
        """
        return tuple(member_names(self.data, self.where)) if self.is_zip else ()

    def has_member(self, suffix: str) -> bool:
        """Whether the zip has a file whose name ends so."""
        return any(name.rsplit("/", 1)[-1].endswith(suffix) for name in self.members)

    def member(self, suffix: str) -> bytes:
        """Unpack the member whose name ends so.

        Raises:
            DataError: `data-format` or `data-empty`.
        """
        return read_member(self.data, suffix, self.where)

    def head(self, size: int = 8192) -> str:
        """Show the beginning as text, whatever it is."""
        return self.data[:size].decode("utf-8", "replace").removeprefix("\ufeff")


@dataclass(frozen=True)
class Reader:
    """One format.

    Attributes:
        name: as the option `format` names it.
        recognises: whether a file is of this format, by name and content.
        read: its rows; raises DataError and nothing else.
    """

    name: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source, Columns], RawEvents]

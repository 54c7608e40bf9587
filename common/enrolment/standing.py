"""How an enrolled party stands: its files, who may read them, and until when they hold."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from common.certificates import load_certificate
from common.errors import HushRecError

__all__ = [
    "WARNING_DAYS",
    "Item",
    "State",
    "Viewer",
    "certificate_item",
    "checked",
    "file_items",
    "is_broken",
    "is_opened",
]

WARNING_DAYS: Final = 30
"""So long before it ends, a certificate is warned of."""
State: TypeAlias = Literal["ok", "ends-soon", "expired", "too-open", "missing", "wrong"]
_GOOD: Final = frozenset({"ok", "ends-soon"})
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Item:
    """One thing that was looked at.

    Attributes:
        path: the file or folder.
        state: what is with it.
        said: in words; what to do where something is.
        expires: its last day, by UTC, if it has one.
        days_left: whole days until then.
        fingerprint: what people compare, if it is something that they do.
    """

    path: str
    state: State
    said: str
    expires: date | None = None
    days_left: int | None = None
    fingerprint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """With the date as text."""
        return asdict(self) | {"expires": None if self.expires is None else str(self.expires)}


Viewer: TypeAlias = Callable[[Path, datetime], Sequence[Item] | None]
"""The items of a folder at a time; None if it is not a folder of the viewer's kind."""


def is_broken(items: Iterable[Item]) -> bool:
    """Whether something has to be done now."""
    return any(item.state not in _GOOD for item in items)


def is_opened(path: Path, *, private: bool) -> bool:
    """Whether others than the owner can read it (`private`), or write to it."""
    wide = stat.S_IRWXG | stat.S_IRWXO if private else stat.S_IWGRP | stat.S_IWOTH
    return bool(path.stat().st_mode & wide)


def file_items(folder: Path, private: Iterable[str], public: Iterable[str]) -> list[Item]:
    """The folder and its files by their permissions.

    Args:
        folder: for its owner alone.
        private: names of files for the owner alone.
        public: names of files that others may read and not write.
    """
    wanted = [(folder, True)]
    wanted += [(folder / name, True) for name in private]
    wanted += [(folder / name, False) for name in public]
    return [_file_item(path, is_private) for path, is_private in wanted]


def certificate_item(path: Path, now: datetime, remedy: str) -> Item:
    """A certificate by its last day.

    Args:
        path: the file.
        now: with a zone.
        remedy: what to do when it ends.
    """
    try:
        end = load_certificate(path).not_valid_after_utc
    except HushRecError as error:
        return Item(str(path), "wrong", f"{error.message} {error.remedy}".strip())
    left = int((end - now).total_seconds() // _DAY_SECONDS)
    last = end.astimezone(UTC).date()
    if end <= now:
        return Item(str(path), "expired", f"is over since {last}. {remedy}", last, left)
    if left < WARNING_DAYS:
        said = f"ends on {last}, in {left} days. {remedy}"
        return Item(str(path), "ends-soon", said, last, left)
    return Item(str(path), "ok", f"holds until {last}", last, left)


def checked(path: Path, said: str, check: Callable[[], str | None]) -> Item:
    """What a check says of a file.

    Args:
        path: the file.
        said: what is right with it if the check passes.
        check: the fingerprint that people compare, or None; raises what is wrong.
    """
    try:
        return Item(str(path), "ok", said, fingerprint=check())
    except HushRecError as error:
        return Item(str(path), "wrong", f"{error.message} {error.remedy}".strip())


def _file_item(path: Path, private: bool) -> Item:
    if not path.exists():
        return Item(str(path), "missing", "is not there. Restore it from its backup.")
    if is_opened(path, private=private):
        wanted = ("go-rwx", "read") if private else ("go-w", "written")
        said = f"can be {wanted[1]} by others than its owner: chmod {wanted[0]} it."
        return Item(str(path), "too-open", said)
    return Item(str(path), "ok", "for its owner alone" if private else "others may only read it")

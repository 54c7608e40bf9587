"""Copies of a client's log for jobs that began with it, each with the moment at which it ends.

The end is written into the copy when it is made: its files get new times when the folder is
sealed, copied or brought back from a backup.

Guarantee:
    A copy is over `FROZEN_DAYS` after it was made, and `FROZEN_DAYS` after its oldest event
    was to be deleted, whichever is first. One that does not say when it ends is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from common.files import write_atomic

__all__ = ["FROZEN", "FROZEN_DAYS", "copies_of", "end_of", "is_over", "write_end"]

FROZEN: Final = "frozen"
"""Folder of copies for jobs that began before the log was replaced."""
FROZEN_DAYS: Final = 7
"""So long a job that has begun may go on with a log that was replaced."""
_UNTIL: Final = "until"
"""File of a copy: the moment at which it ends, in ISO 8601."""
_WEEK: Final = timedelta(days=FROZEN_DAYS)
_DAY: Final = timedelta(days=1)


def end_of(now: datetime, oldest: datetime | None, retention_days: int | None) -> datetime:
    """When a copy of a log ends that is made now; a moment that has passed: nobody may use it.

    Args:
        now: with a zone.
        oldest: time of the log's oldest event, with a zone; None without events.
        retention_days: as in `client.toml`.
    """
    if oldest is None or retention_days is None:
        return now + _WEEK
    day = oldest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return min(now, day + timedelta(days=retention_days + 1)) + _WEEK


def write_end(copy: Path, end: datetime) -> None:
    """Say in a copy when it ends.

    Raises:
        DataError: `disk-full`, or `data-not-found` for a place that cannot be written.
    """
    write_atomic(copy / _UNTIL, end.isoformat().encode(), mode=0o600)


def is_over(copy: Path, now: datetime) -> bool:
    """Whether a copy is to be used no more; also if it is not there, or was made in the future.

    Args:
        copy: its folder.
        now: with a zone.
    """
    try:
        end = datetime.fromisoformat((copy / _UNTIL).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return True
    return end.tzinfo is None or not now < end <= now + _WEEK + _DAY


def copies_of(folder: Path) -> Sequence[Path]:
    """The frozen copies of a client's folder, and what is left of copies that were not ended."""
    frozen = folder / FROZEN
    return sorted(frozen.iterdir()) if frozen.is_dir() else ()

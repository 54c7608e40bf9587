"""Replacing a client's log while jobs train on it, and deleting what is too old to be kept.

A job trains on the log as it was when the job began. So before the log is replaced, the old
one is copied for the jobs that began with it, under the keyed hash by which the ledger knows
it; the copy goes with the last of these jobs, or when it is over (`client.frozen`).

Guarantee:
    No job trains on an event that is older than `retention_days` and `FROZEN_DAYS` together;
    a new job on none that is older than `retention_days`. After `prune`, no file of the log
    holds one, but copies that jobs under way may train on. Not reached: backups, blocks that
    a disk has not overwritten, and what was released.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pandas as pd

from client.data_files import EVENTS, HELDOUT, REJECTED, DataFiles, check_own
from client.frozen import FROZEN, copies_of, end_of, is_over, write_end
from client.guard.alone import alone
from client.owner import Owner
from client.recorded_log import forget_older
from client.store import ClientStore, data_files, read_table
from common.errors import Code, ConfigError, DataError

__all__ = [
    "IMPORTED",
    "Pruned",
    "current_store",
    "oldest_kept",
    "prune",
    "read_events_of",
    "recent_enough",
    "replace_events",
    "thaw",
    "without_expired",
]

IMPORTED: Final = "imported"
"""Column of `rejected.csv`: the day on which a row was set aside."""
_MADE_UP: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Tables without times have the order of their rows, in seconds since 1970; before this."""


@dataclass(frozen=True)
class Pruned:
    """What was deleted; for the owner alone.

    Attributes:
        events: rows of the log.
        recorded: events that the service had recorded.
        rejected: rows that had been set aside.
        copies: frozen copies of the log.
        kept: events that are left.
        before: what is older was deleted; None if everything is to be kept.
    """

    events: int
    recorded: int
    rejected: int
    copies: int
    kept: int
    before: datetime | None


def oldest_kept(retention_days: int | None, now: datetime) -> datetime | None:
    """The first moment of which events are kept; whole days (UTC), None keeps all.

    Args:
        retention_days: as in `client.toml`.
        now: with a zone.
    """
    if retention_days is None:
        return None
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=retention_days)


def without_expired(events: pd.DataFrame, before: datetime | None) -> pd.DataFrame:
    """The events of a log that are not older than `before`.

    Raises:
        ConfigError: `config-invalid`, some have no times of their own, and would all be deleted.
    """
    if before is None or not len(events):
        return events
    made_up = int((events["datetime"] < _MADE_UP).sum())
    if made_up:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{made_up} of {len(events)} events are of before {_MADE_UP.year}, as those that came "
            "without times are: nobody can say which are too old.",
            where="client.toml, `retention_days`",
            remedy="Take `retention_days` out, or import the log with its times.",
        )
    return events[events["datetime"] >= before].reset_index(drop=True)


def recent_enough(events: pd.DataFrame, before: datetime | None) -> pd.DataFrame:
    """New events, of a table with times, that are not older than `before`.

    Those that `without_expired` would take for events without times are none of them.
    """
    if before is None:
        return events
    return events[events["datetime"] >= max(before, _MADE_UP)]


def current_store(folder: Path, now: datetime) -> ClientStore:
    """A client's folder as a new job may see it: without events that are too old.

    Copies that are over are deleted, too.

    Raises:
        HushRecError: it cannot be read, or what is too old cannot be deleted.
    """
    store = ClientStore.open(folder)
    if any(is_over(copy, now) for copy in copies_of(folder)):
        thaw(Owner.of(folder), now)
    before = oldest_kept(store.settings.retention_days, now)
    if before is None or store.oldest is None or store.oldest >= before:
        return store
    prune(folder, now)
    return ClientStore.open(folder)


def prune(folder: Path, now: datetime) -> Pruned:
    """Delete what is too old, copies that no job needs any more, and what a crash has left.

    Raises:
        HushRecError: the folder cannot be read or written; what was deleted before is gone.
    """
    owner = Owner.of(folder)
    check_own(folder)
    before = oldest_kept(owner.settings.retention_days, now)
    with alone(owner.ledger_path):
        files = data_files(folder)
        for path in files.leftovers():
            path.unlink()
        events = read_events_of(files)
        kept = without_expired(events, before)
        if len(kept) < len(events):
            replace_events(owner, files, kept, now)
        return Pruned(
            events=len(events) - len(kept),
            recorded=0 if before is None else forget_older(folder, before),
            rejected=_prune_rejected(files, before),
            copies=_thaw(owner, now),
            kept=len(kept),
            before=before,
        )


def replace_events(owner: Owner, files: DataFiles, events: pd.DataFrame, now: datetime) -> None:
    """Put another table in the place of the log; jobs under way keep the old one.

    Who calls is `alone` with the ledger.

    Args:
        owner: of the folder.
        files: of the folder.
        events: the log from now on.
        now: with a zone.

    Raises:
        HushRecError: the ledger cannot be read, or the folder not written; then the log is
            as it was.
    """
    _freeze(owner, files, now)
    files.write(EVENTS, events.to_parquet(index=False))


def read_events_of(files: DataFiles) -> pd.DataFrame:
    """The log as a table, empty if there is none.

    Raises:
        DataError: it cannot be read.
    """
    data = files.read(EVENTS)
    if data is None:
        return pd.DataFrame()
    return read_table(data, files.path(EVENTS))


def thaw(owner: Owner, now: datetime) -> int:
    """Delete copies that no open job needs, or that are over; how many.

    Who calls is not `alone` with the ledger.

    Raises:
        HushRecError: the ledger cannot be read, or a copy not be deleted.
    """
    if not copies_of(owner.folder):
        return 0
    with alone(owner.ledger_path):
        return _thaw(owner, now)


def _freeze(owner: Owner, files: DataFiles, now: datetime) -> None:
    """Copy log and held-out items for the jobs that began with them, if there are any."""
    if not owner.has_ledger or files.read(EVENTS) is None:
        return
    store = ClientStore.open(owner.folder)
    with owner.ledger() as ledger:
        name = ledger.keyed_hash(store.snapshot)
    copy = owner.folder / FROZEN / name
    end = end_of(now, store.oldest, owner.settings.retention_days)
    if end <= now or name not in _needed(owner) or copy.is_dir():
        return
    part = copy.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of who died while copying
    part.mkdir(mode=0o700, parents=True)
    copied = DataFiles(part, files.key_file)
    for one in (EVENTS, HELDOUT):
        data = files.read(one)
        if data is not None:
            copied.write(one, data)
    write_end(part, end)
    part.rename(copy)


def _needed(owner: Owner) -> set[str]:
    """Keyed hashes of the snapshots that jobs which nobody has closed began with."""
    if not owner.has_ledger:
        return set()
    with owner.ledger() as ledger:
        jobs = [ledger.job(str(row.body["job_id"])) for row in ledger.rows("admit")]
    return {job.snapshot for job in jobs if job is not None and not job.closed}


def _thaw(owner: Owner, now: datetime) -> int:
    """As `thaw`; who calls is alone."""
    needed = _needed(owner)
    copies = copies_of(owner.folder)
    gone = [copy for copy in copies if copy.name not in needed or is_over(copy, now)]
    for copy in gone:
        _delete(copy)
    return len(gone)


def _delete(copy: Path) -> None:
    try:
        shutil.rmtree(copy)
    except OSError as error:
        raise DataError(
            Code.DATA_NOT_FOUND,
            f"a copy of the log cannot be deleted: {error.strerror}.",
            where=str(copy),
            remedy="Delete it by hand, or as the user that the client runs as.",
        ) from None


def _prune_rejected(files: DataFiles, before: datetime | None) -> int:
    """Rows that were set aside have no time to go by but that of their import."""
    data = files.read(REJECTED)
    if before is None or data is None:
        return 0
    rows = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    if IMPORTED in rows:
        days = pd.to_datetime(rows[IMPORTED], utc=True)
    else:
        written = files.path(REJECTED).stat().st_mtime
        days = pd.Series(pd.Timestamp(written, unit="s", tz=UTC), index=rows.index)
    kept = rows[days >= before]
    if not len(kept):
        files.remove(REJECTED)
    elif len(kept) < len(rows):
        files.write(REJECTED, kept.to_csv(index=False, lineterminator="\n").encode())
    return len(rows) - len(kept)

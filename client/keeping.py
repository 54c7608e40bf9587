"""Replacing a client's log while jobs train on it, and deleting what is too old to be kept.

A job trains on the log as it was when the job began. So before the log is replaced, the old
one is copied for the jobs that began with it, under the keyed hash by which the ledger knows
it; the copy goes with the last of these jobs, or after `FROZEN_DAYS`.

Guarantee:
    After `prune`, no file of the log holds an event older than `retention_days`, but copies
    that jobs under way train on, for at most `FROZEN_DAYS` more. A new job never sees one.
    Not reached: backups, blocks that a disk has not overwritten, and what was released.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pandas as pd

from client.data_files import EVENTS, HELDOUT, REJECTED, DataFiles, check_own
from client.guard.alone import alone
from client.owner import Owner
from client.recorded_log import forget_older
from client.store import FROZEN, ClientStore, data_files, read_table
from common.errors import Code, ConfigError

__all__ = [
    "FROZEN_DAYS",
    "IMPORTED",
    "Pruned",
    "copies_of",
    "current_store",
    "oldest_kept",
    "prune",
    "read_events_of",
    "replace_events",
    "without_expired",
]

FROZEN_DAYS: Final = 7
"""So long a job that has begun may go on with a log that was replaced."""
IMPORTED: Final = "imported"
"""Column of `rejected.csv`: the day on which a row was set aside."""
_MADE_UP: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Tables without times have the order of their rows, in seconds since 1970."""


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
    """The events that are not older than `before`.

    Raises:
        ConfigError: `config-invalid`, the events have no times of their own.
    """
    if before is None or not len(events):
        return events
    if events["datetime"].max() < _MADE_UP:
        raise ConfigError(
            Code.CONFIG_INVALID,
            "the events have no times: nobody can say which are too old.",
            where="client.toml, `retention_days`",
            remedy="Take `retention_days` out, or import the log with its times.",
        )
    return events[events["datetime"] >= before].reset_index(drop=True)


def current_store(folder: Path, now: datetime) -> ClientStore:
    """A client's folder as a new job may see it: without events that are too old.

    Raises:
        HushRecError: it cannot be read, or what is too old cannot be deleted.
    """
    store = ClientStore.open(folder)
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
            replace_events(owner, files, kept)
        return Pruned(
            events=len(events) - len(kept),
            recorded=0 if before is None else forget_older(folder, before),
            rejected=_prune_rejected(files, before),
            copies=_thaw(owner, now),
            kept=len(kept),
            before=before,
        )


def replace_events(owner: Owner, files: DataFiles, events: pd.DataFrame) -> None:
    """Put another table in the place of the log; jobs under way keep the old one.

    Who calls is `alone` with the ledger.

    Raises:
        HushRecError: the ledger cannot be read, or the folder not written; then the log is
            as it was.
    """
    _freeze(owner, files)
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


def _freeze(owner: Owner, files: DataFiles) -> None:
    """Copy log and held-out items for the jobs that began with them, if there are any."""
    if not owner.has_ledger or files.read(EVENTS) is None:
        return
    snapshot = ClientStore.open(owner.folder).snapshot
    with owner.ledger() as ledger:
        name = ledger.keyed_hash(snapshot)
    copy = owner.folder / FROZEN / name
    if name not in _needed(owner) or copy.is_dir():
        return
    part = copy.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of who died while copying
    part.mkdir(mode=0o700, parents=True)
    copied = DataFiles(part, files.key_file)
    for one in (EVENTS, HELDOUT):
        data = files.read(one)
        if data is not None:
            copied.write(one, data)
    part.rename(copy)


def _needed(owner: Owner) -> set[str]:
    """Keyed hashes of the snapshots that jobs which nobody has closed began with."""
    if not owner.has_ledger:
        return set()
    with owner.ledger() as ledger:
        jobs = [ledger.job(str(row.body["job_id"])) for row in ledger.rows("admit")]
    return {job.snapshot for job in jobs if job is not None and not job.closed}


def _thaw(owner: Owner, now: datetime) -> int:
    """Delete copies that no open job needs, or that are too old; how many."""
    needed, last = _needed(owner), (now - timedelta(days=FROZEN_DAYS)).timestamp()
    gone = [
        copy
        for copy in copies_of(owner.folder)
        if copy.name not in needed or copy.stat().st_mtime < last
    ]
    for copy in gone:
        shutil.rmtree(copy)
    return len(gone)


def copies_of(folder: Path) -> Sequence[Path]:
    """The frozen copies of a client's folder."""
    frozen = folder / FROZEN
    return sorted(frozen.iterdir()) if frozen.is_dir() else ()


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

"""New events into a client's log: what is there already is dropped, what cannot be used is named.

A rating of the log stays, and a file changes no event of it. Where the service recorded a rating of
an event that has none there, or that a file brings too, it counts: a file's may be a quantity.

The order is: rows set aside, then the log, then what the service had recorded is marked as taken;
a later import deletes it. An import that was interrupted is done again, and nothing counts twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from client.data_files import REJECTED, DataFiles, check_own
from client.guard.alone import alone
from client.keeping import (
    IMPORTED,
    oldest_kept,
    prune,
    read_events_of,
    recent_enough,
    replace_events,
    without_expired,
)
from client.owner import Owner
from client.recorded_log import RECORDED, RecordedEvent, forget_taken, recorded_events
from client.store import data_files
from common.catalogue import Catalogue
from common.errors import Code, DataError, HushRecError
from common.interactions.readers import EventFile, read_events
from common.interactions.table import event_table

__all__ = ["SAME", "Imported", "import_events"]

SAME: Final = ["user_id", "item_id", "datetime"]
"""Events that agree in these are one event."""
_FILE: Final = "file"
"""Column of `rejected.csv`: where a row came from."""
_FAULTS: Final = ["row", "field", "reason", "value", "raw", _FILE]


@dataclass(frozen=True)
class Imported:
    """What came of it; for the owner alone.

    Attributes:
        added: events that the log did not have.
        repeated: events that it had already, or that came twice.
        expired: events that are older than the owner keeps them, the log's own too.
        set_aside: rows of the file that cannot be used, or events about items that the
            catalogue lacks.
        reasons: those by what is wrong, with how often.
        recorded: events that the service had recorded.
        events: in the log now.
        rated: those that were in the log before, without a rating, and have now the one that
            the service recorded for the same event.
    """

    added: int
    repeated: int
    expired: int
    set_aside: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    recorded: int = 0
    events: int = 0
    rated: int = 0


def import_events(
    folder: Path, file: Path | None, now: datetime, *, recorded: bool = False
) -> Imported:
    """Merge new events into a client's log.

    Jobs that have begun go on with the log as it was.

    Args:
        folder: the client's.
        file: of events, in any format that is read; None for none.
        now: with a zone: later events are set aside.
        recorded: take what the service recorded as well, and delete there what earlier imports
            have taken.

    Raises:
        DataError: the file cannot be read, has no usable row, or no times; or the disk
            refuses. Then the log is as it was.
        ConfigError: `config-invalid`, the log has events without times, which the owner's
            `retention_days` would delete; it is as it was, too.
        HushRecError: the folder cannot be used; then the log is as it was, unless the message
            says that the import is done.
    """
    owner = Owner.of(folder)
    check_own(folder)
    catalogue = Catalogue.load((folder / owner.settings.catalogue).resolve())
    found = None if file is None else _read(file, catalogue, now)
    with alone(owner.ledger_path):
        done = _brought_in(owner, catalogue, found, now, recorded=recorded)
    _pruned(folder, now)
    return done


def _brought_in(
    owner: Owner, catalogue: Catalogue, found: EventFile | None, now: datetime, *, recorded: bool
) -> Imported:
    """Everything but the deletion of what is too old; who calls is alone with the ledger."""
    files, before = data_files(owner.folder), oldest_kept(owner.settings.retention_days, now)
    taken = recorded_events(owner.folder) if recorded else []
    mine, unknown = _sorted_out(taken, catalogue)
    of_file = mine.iloc[:0] if found is None else found.rated
    merged = _merged(read_events_of(files), of_file, mine, before)
    aside = pd.concat([_faults_of(found), _faults_about(unknown)], ignore_index=True)
    _set_aside(files, aside, now)
    if merged.changed:
        replace_events(owner, files, merged.events, now)
    if recorded:
        forget_taken(owner.folder, taken[-1].seq if taken else 0, now)
    return Imported(
        added=merged.added,
        repeated=len(of_file) + len(mine) - merged.added - merged.too_old,
        expired=merged.expired,
        set_aside=len(unknown) + (0 if found is None else found.rejected.n_rows),
        reasons={str(k): int(v) for k, v in aside["reason"].value_counts().items()},
        recorded=len(taken),
        events=len(merged.events),
        rated=merged.rated,
    )


def _pruned(folder: Path, now: datetime) -> None:
    """Delete what is too old; who reads what that fails with knows that the log is the new one."""
    try:
        prune(folder, now)
    except HushRecError as error:
        error.message = f"the import is done, but what is too old was not deleted: {error.message}"
        raise


class _Merged(NamedTuple):
    """The log with new events, and what became of them."""

    events: pd.DataFrame
    added: int
    too_old: int
    expired: int
    changed: bool
    rated: int


def _read(file: Path, catalogue: Catalogue, now: datetime) -> EventFile:
    found = read_events(file, catalogue=catalogue, now=now)
    if found.clock == "order":
        raise DataError(
            Code.DATA_FORMAT,
            "the events have no times, so nobody can tell the new ones from those that are here.",
            where=str(file),
            remedy="Export them with the time of each event.",
        )
    return found


def _merged(
    log: pd.DataFrame, of_file: pd.DataFrame, recorded: pd.DataFrame, before: datetime | None
) -> _Merged:
    """The log first, then what is new, in its order; without what is too old.

    What was taken once stays as it is, but for a rating that the service recorded of an event
    without one.
    """
    fresh = [recent_enough(part, before) for part in (of_file, recorded)]
    whole = pd.concat([*([log] if len(log) else []), *fresh], ignore_index=True)
    rated = _rate(whole, len(log), len(fresh[-1]))
    repeated = whole.duplicated(SAME)
    repeated.iloc[: len(log)] = False
    merged = whole[~repeated].reset_index(drop=True)
    added = len(merged) - len(log)
    kept = without_expired(merged, before)
    too_old = len(of_file) + len(recorded) - sum(map(len, fresh))
    expired = too_old + len(merged) - len(kept)
    changed = len(kept) != len(log) or added > 0 or rated > 0
    return _Merged(kept, added, too_old, expired, changed, rated)


def _rate(events: pd.DataFrame, n_log: int, n_recorded: int) -> int:
    """Give events the ratings that the service recorded; how many of the log have got one.

    A rating of the log stays. What a file has as its weight does not: its column may be a
    quantity, and the service has answered with what was recorded. Of one moment the first counts.

    Args:
        events: the log's, a file's, and the recorded ones; changed in place.
        n_log: how many are the log's.
        n_recorded: how many were recorded.
    """
    said = events.iloc[len(events) - n_recorded :].dropna(subset="weight").drop_duplicates(SAME)
    near = np.flatnonzero(events["user_id"].isin(said["user_id"]))
    same = pd.MultiIndex.from_frame(events.loc[near, SAME])
    known = events.loc[near, "weight"].notna().to_numpy() & (near < n_log)
    asked = pd.MultiIndex.from_frame(said[SAME])
    news = pd.Series(said["weight"].to_numpy(), asked)[~asked.isin(same[known])]
    ratings = news.reindex(same).to_numpy()
    given = np.isfinite(ratings)
    events.loc[near[given], "weight"] = ratings[given]
    return int((near[given] < n_log).sum())


def _sorted_out(
    taken: list[RecordedEvent], catalogue: Catalogue
) -> tuple[pd.DataFrame, list[RecordedEvent]]:
    """Recorded events as a table, and those about items that are in the catalogue no more.

    Where nobody has said how the shopper rates the item, the weight is not there, NaN.
    """
    known = catalogue.positions([event.item_id for event in taken]) >= 0
    mine = [event for event, fits in zip(taken, known, strict=True) if fits]
    table = event_table(
        [event.user_id for event in mine],
        [event.item_id for event in mine],
        [1.0] * len(mine),
        np.array([event.microseconds for event in mine], dtype=np.int64),
    )
    ratings = [np.nan if event.rating is None else event.rating for event in mine]
    return table.assign(weight=np.array(ratings, dtype=np.float64)), [
        event for event, fits in zip(taken, known, strict=True) if not fits
    ]


def _faults_of(found: EventFile | None) -> pd.DataFrame:
    if found is None:
        return pd.DataFrame(columns=_FAULTS)
    return found.rejected.faults.assign(**{_FILE: found.path.name})


def _faults_about(events: list[RecordedEvent]) -> pd.DataFrame:
    rows = [
        (event.seq, "item_id", "unknown-item", event.item_id, json.dumps(_told(event)), RECORDED)
        for event in events
    ]
    return pd.DataFrame(rows, columns=_FAULTS)


def _told(event: RecordedEvent) -> tuple[str | int | float | None, ...]:
    """Who, what, when, and how it was rated, if it was."""
    return event[2:5] if event.rating is None else event[2:]


def _set_aside(files: DataFiles, faults: pd.DataFrame, now: datetime) -> None:
    """Append to `rejected.csv`; what an interrupted import left there does not come twice."""
    if not len(faults):
        return
    day = now.astimezone(UTC).date().isoformat()
    faults = faults.assign(**{IMPORTED: day}).astype("str")
    data = files.read(REJECTED)
    if data is not None:
        old = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        if IMPORTED not in old:
            written = datetime.fromtimestamp(files.path(REJECTED).stat().st_mtime, UTC)
            old[IMPORTED] = written.date().isoformat()
        faults = pd.concat([old, faults], ignore_index=True).fillna("")
    text = faults.drop_duplicates().to_csv(index=False, lineterminator="\n")
    files.write(REJECTED, text.encode())

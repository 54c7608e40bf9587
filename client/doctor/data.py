"""The client's data: can they be read, are they what the job will think that they are.

Exact figures, for the owner's own terminal: they are in no message, log or metric.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pandas as pd

from client.data_files import EVENTS, HELDOUT, REJECTED, DataFiles
from client.doctor.findings import Finding, Patient, fail, fine, warn
from client.frozen import copies_of, is_over
from client.importing import SAME
from client.keeping import oldest_kept, read_events_of, without_expired
from client.recorded_log import RECORDED, is_in_the_clear, recorded_events
from client.store import CLIENT_TOML, data_files
from common.catalogue import Catalogue
from common.errors import Code
from common.interactions.table import check_table

__all__ = ["check_data", "check_leftovers", "check_recorded", "check_rejected", "check_sealing"]

_DAY: Final = timedelta(days=1)
_MANY: Final = 0.05
"""Share of rows from which on somebody should look at them."""


def check_data(patient: Patient) -> Iterator[Finding]:
    """The log: readable, in time, about the catalogue's items, of as many users as declared."""
    files = data_files(patient.folder)
    where, settings = files.path(EVENTS), patient.settings
    if files.read(EVENTS) is None:
        remedy = "Restore it from a backup, or bring the shop's log in: `hushrec client import`."
        yield fail("there are no events", where, remedy, Code.DATA_NOT_FOUND)
        return
    events = check_table(read_events_of(files).fillna({"weight": 1.0}))  # without a rating
    if not len(events):
        yield fail("the log is empty", where, "Use `hushrec client import`.", Code.DATA_EMPTY)
        return
    catalogue = Catalogue.load((patient.folder / settings.catalogue).resolve())
    users, last = events["user_id"].nunique(), events["datetime"].max()
    items = events["item_id"].nunique()
    yield fine(
        f"{len(events)} events of {users} users about {items} of {len(catalogue)} items, "
        f"until {last.date()}"
    )
    yield from _about_items(events, catalogue, where)
    yield from _about_times(events, patient, where)
    repeated = int(events.duplicated(SAME).sum())
    if repeated:
        remedy = "Each counts once; export the log without them when you can."
        yield warn(f"{repeated} events are there twice", where, remedy)
    if settings.population > users:
        yield warn(
            f"{settings.population} users are declared, the log has {users}",
            f"{patient.folder / CLIENT_TOML}, `population`",
            "Import the rest of the log. If there are no more, declare a round figure below.",
            Code.POLICY_POPULATION,
        )


def _about_items(events: pd.DataFrame, catalogue: Catalogue, where: Path) -> Iterator[Finding]:
    unknown = int((catalogue.positions(events["item_id"]) < 0).sum())
    if unknown:
        yield fail(
            f"{unknown} of {len(events)} events ({unknown / len(events):.1%}) are about items "
            "that the catalogue lacks",
            where,
            "Put the catalogue back that the log was imported with, or import the log again.",
            Code.CATALOGUE_MISMATCH,
        )


def _about_times(events: pd.DataFrame, patient: Patient, where: Path) -> Iterator[Finding]:
    late = int((events["datetime"] > patient.now + _DAY).sum())
    if late:
        yield warn(
            f"{late} events are in the future",
            where,
            "Look at the clock of this machine, and at that of the shop's tills.",
            Code.CLOCK_SKEW,
        )
    before = oldest_kept(patient.settings.retention_days, patient.now)
    old = len(events) - len(without_expired(events, before))
    if old:
        remedy = "Run `hushrec client prune`, every night if no node runs."
        yield warn(f"{old} events are older than they are to be kept", where, remedy)


def check_rejected(patient: Patient) -> Iterator[Finding]:
    """Rows that were set aside, by reason."""
    files = data_files(patient.folder)
    data, where = files.read(REJECTED), files.path(REJECTED)
    if data is None:
        return
    rows = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    counts = rows["reason"].value_counts()
    said = f"{len(rows)} rows were set aside: " + ", ".join(f"{k} {v}" for k, v in counts.items())
    if len(rows) > _MANY * (len(rows) + len(read_events_of(files))):
        yield warn(said, where, "Look at them: an export may have lost a column or the catalogue.")
    else:
        yield fine(said, where)


def check_recorded(patient: Patient) -> Iterator[Finding]:
    """What the service recorded and nobody has imported."""
    found = recorded_events(patient.folder)
    if found:
        said = f"{len(found)} recorded events wait for `hushrec client import --recorded`"
        yield fine(said, patient.folder / RECORDED)


def check_leftovers(patient: Patient) -> Iterator[Finding]:
    """What a crash has left, and copies of the log that are over."""
    remedy = "Run `hushrec client prune`."
    for path in data_files(patient.folder).leftovers():
        yield warn("is what a crash has left of a file with customers' events", path, remedy)
    for copy in copies_of(patient.folder):
        if is_over(copy, patient.now):
            yield warn("is a copy of the log that no job may use any more", copy, remedy)


def check_sealing(patient: Patient) -> Iterator[Finding]:
    """Encryption at rest: the key is there and private, and nothing is left in the clear."""
    files = data_files(patient.folder)
    if files.key_file is None:
        return
    key = files.key_file.resolve()
    if files.sealer is not None and key.is_relative_to(patient.folder.resolve()):
        yield fail(
            "the key lies beside what it opens", key, "Unseal, move it away, and seal again."
        )
    if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield fail("can be read by others than its owner", key, "chmod go-rwx it.")
    left = [name for name in (EVENTS, HELDOUT, REJECTED) if _in_the_clear(files, name)]
    if is_in_the_clear(patient.folder):
        left.append(RECORDED)
    if left:
        remedy = f"Run `hushrec client seal {patient.folder} --key-file {key}`."
        yield fail(f"{', '.join(left)} also lie there in the clear", patient.folder, remedy)
    else:
        yield fine("the data are encrypted", key)


def _in_the_clear(files: DataFiles, name: str) -> bool:
    return (files.folder / name).exists()

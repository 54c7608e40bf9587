"""Events that the shop recorded through the service: `recorded.sqlite`, the owner's alone.

An event is on the disk before the reply that says so (WAL, full fsync), and counts from the
next answer on. It is no part of `events.parquet`: models are trained on what was imported.
Where the folder is sealed, so are the events, also when it is sealed while the service runs.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from client.recorded_file import RECORDED, begin_file, connect, guarded, transaction
from client.recorded_log import seal_if_wanted
from client.recorded_rows import Form, PlainRows, RecordedEvent, Rows, form_of, rows_in

__all__ = ["RECORDED", "Event", "Met", "Rating", "Recorded", "Written"]


@dataclass(frozen=True)
class Event:
    """One event. Sensitive.

    Attributes:
        event_id: the caller's, the same when it is sent again.
        user_id: the shopper.
        item_id: an item of the catalogue.
        microseconds: when it happened, since 1970 UTC; None: now, in the order of the call, and
            on a repetition what was written then.
        rating: positive and finite; None: nobody said.
    """

    event_id: str
    user_id: str
    item_id: str
    microseconds: int | None
    rating: float | None = None


class Rating(NamedTuple):
    """How a shopper rates an item, and since when. Sensitive."""

    value: float
    microseconds: int


class Met:
    """What one shopper has events with. Sensitive."""

    __slots__ = ("_last", "_ratings")

    def __init__(self, events: Iterable[RecordedEvent] = ()) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        self._ratings: dict[str, Rating] = {}
        for event in events:
            self.add(event)

    def add(self, event: RecordedEvent) -> None:
        """Take one more event, whose number is greater than those before."""
        item, place = event.item_id, (event.microseconds, event.seq)
        self._last[item] = max(place, self._last.get(item, place))
        known = self._ratings.get(item)
        if event.rating is not None and (known is None or known.microseconds < event.microseconds):
            self._ratings[item] = Rating(event.rating, event.microseconds)

    @property
    def items(self) -> list[str]:
        """Items, each once, in the order of their last events."""
        return sorted(self._last, key=self._last.__getitem__)

    @property
    def ratings(self) -> dict[str, Rating]:
        """The latest rating of each item that has one; of one moment the first that came.

        It is what an import makes of them, for which events of one moment are one event.
        """
        return self._ratings.copy()


@dataclass(frozen=True)
class Written:
    """What became of events.

    Attributes:
        recorded: events that were not there before.
        repeated: events that were there, with the same content.
        conflicts: positions of events whose id is that of another event.
    """

    recorded: int
    repeated: int
    conflicts: tuple[int, ...]


class Recorded:
    """The file, for many threads. Use as a context manager."""

    def __init__(
        self, folder: Path, reader: sqlite3.Connection, writer: sqlite3.Connection
    ) -> None:
        self._folder, self._path = folder, folder / RECORDED
        self._reader, self._reading = reader, threading.Lock()
        self._writer, self._writing = writer, threading.Lock()
        self._shoppers = _Shoppers()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the file in a client's folder, or begin one; sealed if the folder is.

        Raises:
            ConfigError: `client.toml` is missing or wrong.
            DataError: `data-not-found` or `disk-full`, it cannot be made or read;
                `data-format`, it is no such file; `store-sealed`, without its key.
        """
        begin_file(folder)
        seal_if_wanted(folder)
        path = folder / RECORDED
        with guarded(path), ExitStack() as opened:
            reader, writer = (opened.enter_context(closing(connect(path))) for _ in range(2))
            opened.pop_all()
        return cls(folder, reader, writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    def write(self, events: Sequence[Event], now_microseconds: int) -> Written:
        """Write events; they are on the disk when this returns, all or none of them.

        Args:
            events: whose users, items and times are in order.
            now_microseconds: since 1970 UTC, the time of events without one, and a microsecond
                more for each place in `events`, so that what comes last is the newest.

        Raises:
            DataError: `disk-full`, or the file is damaged, or `store-sealed`, it is sealed and
                the key is not there; nothing was written.
        """
        with self._writing, guarded(self._path), transaction(self._writer):
            rows = rows_in(self._writer, self._folder)
            found = [_put(rows, event, now) for now, event in enumerate(events, now_microseconds)]
        conflicts = tuple(place for place, what in enumerate(found) if what is None)
        return Written(found.count(True), found.count(False), conflicts)

    def items_of(self, user_id: str) -> list[str]:
        """Items of a shopper's events, each once, in the order of their last ones.

        Raises:
            DataError: as `met`.
        """
        return self.met(user_id)[0]

    def met(self, user_id: str) -> tuple[list[str], dict[str, Rating]]:
        """Items of a shopper's events as in `Met`, and their ratings.

        Raises:
            DataError: the file is damaged, or `store-sealed`.
        """
        with self._reading, guarded(self._path), transaction(self._reader, "DEFERRED"):
            rows = rows_in(self._reader, self._folder)
            if isinstance(rows, PlainRows):
                self._shoppers = _Shoppers()
                found = Met(rows.of_user(user_id))
            else:
                found = self._shoppers.met(user_id, rows, form_of(self._reader))
            return found.items, found.ratings


class _Shoppers:
    """What each shopper has met, in memory: in the file nobody can look it up."""

    def __init__(self) -> None:
        self._generation, self._last = -1, 0
        self._met: dict[str, Met] = {}

    def met(self, user_id: str, rows: Rows, form: Form) -> Met:
        """What one has met, with the events that have come since."""
        if self._generation != form.generation:
            self._generation, self._last, self._met = form.generation, 0, {}
        for event in rows.after(self._last):
            self._met.setdefault(event.user_id, Met()).add(event)
            self._last = event.seq
        return self._met.get(user_id, Met())


def _put(rows: Rows, event: Event, now: int) -> bool | None:
    """True: written; False: was there; None: another event has the id."""
    there = rows.find(event.event_id)
    if there is None:
        time = now if event.microseconds is None else event.microseconds
        ids = (event.event_id, event.user_id, event.item_id)
        rows.put(RecordedEvent(rows.next_seq(), *ids, time, event.rating))
        return True
    mine = (event.user_id, event.item_id, event.rating)
    same = (there.user_id, there.item_id, there.rating) == mine
    same_time = event.microseconds in (None, there.microseconds)
    return False if same and same_time else None

"""Rows of recorded events, as they are or sealed: the same to whoever reads and writes them.

Guarantee:
    The bytes of a sealed row are its number, a hash of the event's id under a key that is made
    of the owner's, and what the owner's key alone opens, bound to the row's number. So the
    file shows how many rows there are, in which order they came, and their sizes in steps of
    64 bytes: no shopper, no item, no time, no rating, no event's id, and not which rows are of
    one shopper. Not noticed: rows that were left out, and an older row of the same number that was
    put back.
"""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from client.recorded_file import RECORDED
from client.sealed import Sealer
from client.store import sealer_of
from common.errors import Code, DataError

__all__ = [
    "Form",
    "PlainRows",
    "RecordedEvent",
    "Rows",
    "SealedRows",
    "form_of",
    "mark_deletion",
    "rows_in",
    "set_form",
]

_STEP_BYTES: Final = 64
_STATE: Final = f"{RECORDED}/state/seal"


class RecordedEvent(NamedTuple):
    """One event that the service recorded. Sensitive.

    `rating` is None where nobody gave one, as in every row of before there were any.
    """

    seq: int
    event_id: str
    user_id: str
    item_id: str
    microseconds: int
    rating: float | None = None


class Form(NamedTuple):
    """What `state` says.

    Attributes:
        generation: grows whenever rows are deleted or change their form.
        seal: what only the rows' key opens; None if they are not sealed.
    """

    generation: int
    seal: bytes | None


class Rows(ABC):
    """The rows of one form. Use it inside of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @abstractmethod
    def find(self, event_id: str) -> RecordedEvent | None:
        """The event of an id, None if there is none."""

    @abstractmethod
    def put(self, event: RecordedEvent) -> None:
        """Write a row whose number and event id are not there."""

    @abstractmethod
    def after(self, seq: int) -> Iterator[RecordedEvent]:
        """All events with a greater number, increasing."""

    @abstractmethod
    def next_seq(self) -> int:
        """The number of the next row."""

    @abstractmethod
    def delete(self, seqs: list[int]) -> None:
        """Delete rows by their numbers; they are overwritten."""


class PlainRows(Rows):
    """Rows that whoever has the file can read."""

    def find(self, event_id: str) -> RecordedEvent | None:
        """The event of an id, None if there is none."""
        return next(self._select("WHERE event_id = ?", event_id), None)

    def put(self, event: RecordedEvent) -> None:
        """Write a row."""
        self._connection.execute(
            "INSERT INTO event (seq, event_id, user_id, item_id, microseconds, rating)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            event,
        )

    def after(self, seq: int) -> Iterator[RecordedEvent]:
        """All events with a greater number, increasing."""
        return self._select("WHERE seq > ? ORDER BY seq", seq)

    def next_seq(self) -> int:
        """The number of the next row."""
        return _next(self._connection, "event")

    def delete(self, seqs: list[int]) -> None:
        """Delete rows."""
        self._connection.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq in seqs])

    def of_user(self, user_id: str) -> Iterator[RecordedEvent]:
        """A shopper's events, increasing by number."""
        return self._select("WHERE user_id = ? ORDER BY seq", user_id)

    def _select(self, which: str, value: object) -> Iterator[RecordedEvent]:
        columns = "seq, event_id, user_id, item_id, microseconds, rating"
        query = f"SELECT {columns} FROM event {which}"  # noqa: S608
        return (RecordedEvent(*row) for row in self._connection.execute(query, (value,)))


class SealedRows(Rows):
    """Rows that only their key opens.

    Args:
        connection: in a transaction.
        sealer: the key.
    """

    def __init__(self, connection: sqlite3.Connection, sealer: Sealer) -> None:
        super().__init__(connection)
        self._sealer = sealer

    def find(self, event_id: str) -> RecordedEvent | None:
        """The event of an id, None if there is none."""
        query = "SELECT seq, content FROM sealed WHERE event_hash = ?"
        row = self._connection.execute(query, (self._hash(event_id),)).fetchone()
        if row is None:
            return None
        found = self._opened(*row)
        if found.event_id != event_id:
            raise _swapped(found.seq)
        return found

    def put(self, event: RecordedEvent) -> None:
        """Write a row; one without a rating as before there were any, for who knows of none."""
        fields = event[1:-1] if event.rating is None else event[1:]
        text = json.dumps(fields).encode()
        padded = text.ljust(-(-len(text) // _STEP_BYTES) * _STEP_BYTES)
        self._connection.execute(
            "INSERT INTO sealed (seq, event_hash, content) VALUES (?, ?, ?)",
            (event.seq, self._hash(event.event_id), self._sealer.seal(padded, _label(event.seq))),
        )

    def after(self, seq: int) -> Iterator[RecordedEvent]:
        """All events with a greater number, increasing."""
        query = "SELECT seq, content FROM sealed WHERE seq > ? ORDER BY seq"
        return (self._opened(*row) for row in self._connection.execute(query, (seq,)))

    def next_seq(self) -> int:
        """The number of the next row."""
        return _next(self._connection, "sealed")

    def delete(self, seqs: list[int]) -> None:
        """Delete rows."""
        self._connection.executemany("DELETE FROM sealed WHERE seq = ?", [(seq,) for seq in seqs])

    def _opened(self, seq: int, content: bytes) -> RecordedEvent:
        opened = self._sealer.open(content, _label(seq), where=f"{RECORDED}, row {seq}")
        return RecordedEvent(seq, *json.loads(opened))

    def _hash(self, event_id: str) -> bytes:
        return self._sealer.keyed_hash(event_id.encode(), f"{RECORDED}/sealed/event_hash")


def form_of(connection: sqlite3.Connection) -> Form:
    """The form that the rows have now."""
    row = connection.execute("SELECT generation, seal FROM state").fetchone()
    return Form(0, None) if row is None else Form(*row)


def set_form(connection: sqlite3.Connection, sealer: Sealer | None) -> None:
    """Say which form the rows have, in a new generation; who calls changes them with it."""
    seal = None if sealer is None else sealer.seal(b"", _STATE)
    _next_generation(connection, seal)


def mark_deletion(connection: sqlite3.Connection) -> None:
    """Say that rows were deleted."""
    _next_generation(connection, form_of(connection).seal)


def rows_in(connection: sqlite3.Connection, folder: Path) -> Rows:
    """The rows in the form that they have.

    Args:
        connection: in a transaction.
        folder: the client's.

    Raises:
        ConfigError: `client.toml` is missing or wrong.
        DataError: `store-sealed`, they are sealed and their key is not there, or is another.
    """
    seal = form_of(connection).seal
    if seal is None:
        return PlainRows(connection)
    where = str(folder / RECORDED)
    sealer = sealer_of(folder)
    if sealer is None:
        raise DataError(
            Code.STORE_SEALED,
            "this is sealed, and client.toml names no key.",
            where=where,
            remedy="Set `key_file` in client.toml to where the key is.",
        )
    sealer.open(seal, _STATE, where=where)
    return SealedRows(connection, sealer)


def _next_generation(connection: sqlite3.Connection, seal: bytes | None) -> None:
    connection.execute(
        "INSERT INTO state (id, generation, seal) VALUES (0, 1, ?)"
        " ON CONFLICT (id) DO UPDATE SET generation = generation + 1, seal = excluded.seal",
        (seal,),
    )


def _next(connection: sqlite3.Connection, table: str) -> int:
    """Never again the number of a row that is in the log."""
    query = f"SELECT max(seq) FROM (SELECT seq FROM {table} UNION ALL SELECT seq FROM taken)"  # noqa: S608
    (last,) = connection.execute(query).fetchone()
    return 1 if last is None else int(last) + 1


def _label(seq: int) -> str:
    return f"{RECORDED}/sealed/content/{seq}"


def _swapped(seq: int) -> DataError:
    return DataError(
        Code.DATA_FORMAT,
        "a sealed row has another event's hash.",
        where=f"{RECORDED}, row {seq}",
        remedy="Restore it from a backup.",
    )

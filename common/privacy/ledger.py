"""Rows of the privacy ledger and their hash chain. Pure: no disk, no clock.

Every row hashes its own content with the hash of the row before it; the first is bound to a
client, a data set and a random nonce, so that a head tells nobody anything about the rows.

kind      body
open      client, dataset_id, nonce
admit     job_id, fingerprint, plan, unit, neighbouring, accountant, snapshot: a plan accepted
          as a whole; the snapshot is a keyed hash of the data, its key stands in no row
reserve   job_id, step, session, request_hash, event: charged from here on; with
          `reproducible: true` if a seed decides the noise, so that it hides nothing
spend     reservation (its seq), release_sha256: the bytes exist and may be sent
refuse    job_id, step, code, detail (its first 500 characters): asked for and not given

Nothing gives budget back: what is in force is every reservation, spent or not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from common.config import Settings
from common.errors import Code, LedgerError

__all__ = ["Kind", "Row", "charges", "next_row", "open_row", "verify"]

Kind: TypeAlias = Literal["open", "admit", "reserve", "spend", "refuse"]
_BEFORE_ALL: Final = "0" * 64


class Row(Settings):
    """One row; immutable once written."""

    seq: int
    """Position in the ledger, from 0."""
    kind: Kind
    """What the row records."""
    time: str
    """ISO 8601, UTC, by the client's clock; informative only."""
    body: dict[str, Any]
    """Fields of the kind."""
    prev: str
    """Hash of the row before."""
    hash: str
    """SHA-256 of the canonical JSON of everything above."""


def open_row(client: str, dataset_id: str, nonce: str, time: str) -> Row:
    """The first row of a ledger."""
    body = {"client": client, "dataset_id": dataset_id, "nonce": nonce}
    return _row(0, "open", body, time, _BEFORE_ALL)


def next_row(last: Row, kind: Kind, body: Mapping[str, Any], time: str) -> Row:
    """The row after `last`."""
    return _row(last.seq + 1, kind, dict(body), time, last.hash)


def verify(
    rows: Sequence[Row],
    *,
    client: str | None = None,
    dataset_id: str | None = None,
    head: str | None = None,
) -> None:
    """Check the whole chain, and whose it is where that is given.

    Finds a row edited, dropped, reordered, duplicated or inserted, and a spend without its
    reservation. Rows cut off at the end leave a consistent ledger: only a later head that
    somebody else holds shows that.

    Args:
        rows: all rows in order.
        client: the client that the ledger must belong to.
        dataset_id: the data set that it must belong to.
        head: a hash that somebody else holds; some row must have it.

    Raises:
        LedgerError: `ledger-broken`, naming the first bad row, or `ledger-foreign`.
    """
    if not rows or rows[0].kind != "open":
        raise _broken(0, "the ledger does not begin with an `open` row")
    previous, reserved = _BEFORE_ALL, set[int]()
    for position, row in enumerate(rows):
        if row.seq != position:
            raise _broken(position, f"carries number {row.seq}: rows are missing or out of order")
        if row.prev != previous:
            raise _broken(position, "does not continue the row before it")
        if row.hash != _hash(row.seq, row.kind, row.body, row.time, row.prev):
            raise _broken(position, "does not have the hash that it carries: it was edited")
        if row.kind == "open" and position > 0:
            raise _broken(position, "opens the ledger a second time")
        if row.kind == "spend" and row.body.get("reservation") not in reserved:
            raise _broken(position, "spends what was never reserved, or spends it twice")
        reserved.discard(row.body.get("reservation", -1))
        if row.kind == "reserve":
            reserved.add(row.seq)
        previous = row.hash
    _check_owner(rows[0], client, dataset_id)
    if head is not None and all(row.hash != head for row in rows):
        raise _broken(len(rows), "is missing: a head that was seen before is not here")


def charges(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Events in force, as stored: those of every reservation, with or without its bytes."""
    return [row.body["event"] for row in rows if row.kind == "reserve"]


def _check_owner(first: Row, client: str | None, dataset_id: str | None) -> None:
    for name, expected in (("client", client), ("dataset_id", dataset_id)):
        if expected is not None and first.body.get(name) != expected:
            raise LedgerError(
                Code.LEDGER_FOREIGN,
                f"it belongs to {name} {first.body.get(name)!r}, not to {expected!r}.",
                where="ledger",
                remedy="Put the client's own ledger back; never start with another's.",
            )


def _row(seq: int, kind: Kind, body: dict[str, Any], time: str, prev: str) -> Row:
    return Row(
        seq=seq, kind=kind, time=time, body=body, prev=prev, hash=_hash(seq, kind, body, time, prev)
    )


def _hash(seq: int, kind: Kind, body: Mapping[str, Any], time: str, prev: str) -> str:
    values = {"seq": seq, "kind": kind, "time": time, "body": body, "prev": prev}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _broken(position: int, what: str) -> LedgerError:
    return LedgerError(
        Code.LEDGER_BROKEN,
        f"row {position} {what}.",
        where="ledger",
        remedy="Do not use it: restore the ledger from a backup and compare heads with the server.",
    )

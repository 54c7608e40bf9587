"""Rows of the privacy ledger: their fields, their hash and their one text form.

kind      body
open      client, dataset_id, nonce, public_key: whose ledger, about which data, signed by whom
admit     job_id, fingerprint, plan, unit, neighbouring, accountant, snapshot, server: a plan
          accepted as a whole; the snapshot is a keyed hash of the data, its key stands in no
          row; `server` is the public key of who asked, null if nobody signed; of secure sums
          also `guarantees`, derived from the plan: [{shops, epsilon, delta, accountant,
          against: {server, colluders, clients, threshold}}] for a user of one client, and of
          the policy's most
reserve   job_id, step, session, request_hash, event: charged from here on; with
          `reproducible: true` if a seed decides the noise, so that it hides nothing
spend     reservation (its seq), release_sha256: the bytes exist and may be sent
refuse    job_id, step, code, detail (its first 500 characters): asked for and not given;
          `would_be` says what it would have cost, where a budget refused
close     job_id: the owner ended a job; what it had not reserved is no longer held for it
agree     job_id, step, session, survivors (names, in order): whose words are in the total of a
          secure sum; written before the signature under the list leaves, one list for a session
halt      seq, hash, server: somebody showed a later head of this ledger, or another one; a
          ledger that was rolled back answers nothing more. `server` is empty if it was the
          client itself, by what it said in secure sums
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from pydantic_core import from_json

from common.config import Settings

__all__ = [
    "BEFORE_ALL",
    "KINDS",
    "Kind",
    "PlainRow",
    "Row",
    "next_row",
    "open_row",
    "read_own_text",
    "read_text",
    "row_hash",
    "row_text",
]

Kind: TypeAlias = Literal["open", "admit", "reserve", "spend", "refuse", "close", "halt", "agree"]
KINDS: Final = frozenset(get_args(Kind))
BEFORE_ALL: Final = "0" * 64
"""What the first row carries as the hash of the row before it."""

_HASH_LENGTH: Final = len(',"hash":""}') + 64
"""Length of what follows the content in a row's text form."""
_TOO_LARGE: Final = 1 << 63
_FIELDS: Final = {"seq": int, "kind": str, "time": str, "body": dict, "prev": str, "hash": str}

_TYPES: Final = list(_FIELDS.values())


class Row(Settings):
    """One row; immutable once written."""

    seq: int
    """Position in the ledger, from 0."""
    kind: Kind
    """What the row records."""
    time: str
    """ISO 8601, UTC, by the client's clock, never before the row before it."""
    body: dict[str, Any]
    """Fields of the kind."""
    prev: str
    """Hash of the row before."""
    hash: str
    """SHA-256 of the canonical JSON of everything above."""


class PlainRow(NamedTuple):
    """A row as read from its text, without the price of a validated model."""

    seq: int
    kind: str
    time: str
    body: dict[str, Any]
    prev: str
    hash: str
    intact: bool
    """Whether the content has the hash that the row carries."""


def open_row(client: str, dataset_id: str, nonce: str, time: str, public_key: str) -> Row:
    """The first row of a ledger: whose it is, about which data, and who signs its heads.

    The nonce is random, so that a head tells nobody anything about the rows.
    """
    body = {
        "client": client,
        "dataset_id": dataset_id,
        "nonce": nonce,
        "public_key": public_key,
    }
    return _row(0, "open", body, time, BEFORE_ALL)


def next_row(last: Row | PlainRow, kind: Kind, body: Mapping[str, Any], time: str) -> Row:
    """The row after `last`; a clock that went back does not move the ledger back."""
    return _row(last.seq + 1, kind, dict(body), max(time, last.time), last.hash)


def row_hash(row: Row) -> str:
    """The hash that the row's content should have."""
    return _sha256(_canonical(row.seq, row.kind, row.time, row.body, row.prev))


def row_text(row: Row) -> str:
    """The one text form of a row: canonical JSON, the hash at the end."""
    return _with_hash(_canonical(row.seq, row.kind, row.time, row.body, row.prev), row.hash)


def read_text(text: str) -> PlainRow:
    """A row from its text form, strictly: any other spelling of the same row is refused.

    Raises:
        ValueError: it is not a row in its text form. A row whose content does not have the
            hash that it carries is one; it is not `intact`.
    """
    row = read_own_text(text)
    canonical = _canonical(row.seq, row.kind, row.time, row.body, row.prev)
    if text != _with_hash(canonical, row.hash):
        raise ValueError("not in canonical form")
    return row


def read_own_text(text: str) -> PlainRow:
    """As `read_text`, for a text that this program wrote: its spelling is taken on trust.

    The hash is that of the text as it stands, so that who does not make the chain cannot
    change the spelling either. Half the price of `read_text`, for long ledgers.

    Raises:
        ValueError: it does not hold the fields of a row.
    """
    try:
        values = from_json(text, allow_inf_nan=False)
    except ValueError:
        values = json.loads(text)  # lone surrogates, which Python can write
    if not isinstance(values, dict) or values.keys() != _FIELDS.keys():
        raise ValueError("not the fields of a row")
    fields = [values[name] for name in _FIELDS]
    if [type(value) for value in fields] != _TYPES:
        raise ValueError("a field of another type than a row has there")
    if values["kind"] not in KINDS:
        raise ValueError(f"unknown kind {values['kind']!r}")
    if not 0 <= values["seq"] < _TOO_LARGE:
        raise ValueError("no row has this number")
    intact = _sha256(f"{text[:-_HASH_LENGTH]}}}") == values["hash"]
    return PlainRow._make((*fields, intact))


def _row(seq: int, kind: Kind, body: dict[str, Any], time: str, prev: str) -> Row:
    found = _sha256(_canonical(seq, kind, time, body, prev))
    return Row(seq=seq, kind=kind, time=time, body=body, prev=prev, hash=found)


def _canonical(seq: int, kind: str, time: str, body: Mapping[str, Any], prev: str) -> str:
    return _dumps({"seq": seq, "kind": kind, "time": time, "body": body, "prev": prev})


def _dumps(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _with_hash(canonical: str, found: str) -> str:
    return f'{canonical[:-1]},"hash":{json.dumps(found)}}}'


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Receipts beside the ledger: which of its heads a server saw and countersigned."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from client.ledger_file import broken_file
from common.errors import Code, LedgerError
from common.privacy.heads import Receipt

__all__ = ["ReceiptTable", "rolled_back"]

_ADD: Final = (
    "INSERT INTO receipt VALUES ((SELECT coalesce(max(id), 0) + 1 FROM receipt), ?, ?, ?, ?)"
)
_MISFITS: Final = (
    "SELECT receipt.seq FROM receipt LEFT JOIN ledger USING (seq) WHERE row IS NULL"
    " OR substr(row, -66, 64) != hash OR (CASE WHEN json_valid(receipt) THEN"
    " json_extract(receipt, '$.head.seq', '$.head.hash', '$.server') END)"
    " IS NOT json_array(seq, hash, server) ORDER BY receipt.id"
)
"""The text form of a row ends with its hash."""
_NEWEST: Final = "SELECT max(seq), receipt FROM receipt GROUP BY server"


class ReceiptTable:
    """Receipts, kept in the order in which they came, later and later for each server."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, receipt: Receipt) -> None:
        """Keep a receipt that is later than its server's last; belongs into a transaction."""
        query = "SELECT coalesce(max(seq), -1) FROM receipt WHERE server = ?"
        (last,) = self._connection.execute(query, (receipt.server,)).fetchone()
        if receipt.head.seq > last:
            head, text = receipt.head, receipt.model_dump_json()
            self._connection.execute(_ADD, (receipt.server, head.seq, head.hash, text))

    def misfits(self) -> Iterator[str]:
        """Receipts for rows that the ledger does not have, in words."""
        for (seq,) in self._connection.execute(_MISFITS):
            yield f"a receipt is about a row {seq} that is not here, or says something else"
        for seq, text in self._connection.execute(_NEWEST):
            try:
                Receipt.model_validate_json(text).check()
            except ValidationError:
                yield f"the receipt for row {seq} cannot be read"
            except LedgerError as error:
                yield f"the receipt for row {seq}: {error.message.rstrip('.')}"

    def all(self, path: Path) -> list[Receipt]:
        """All receipts.

        Raises:
            LedgerError: `ledger-broken`, one cannot be read; `path` says where.
        """
        try:
            return [
                Receipt.model_validate_json(text)
                for (text,) in self._connection.execute("SELECT receipt FROM receipt ORDER BY id")
            ]
        except ValidationError:
            raise broken_file("a receipt cannot be read", path) from None


def rolled_back(what: str, path: Path) -> LedgerError:
    """`ledger-rolled-back`, about the ledger at `path`."""
    return LedgerError(
        Code.LEDGER_ROLLED_BACK,
        f"the ledger is not the newest of its kind: {what}.",
        where=str(path),
        remedy="Put the newest ledger back; this one would count too little.",
    )

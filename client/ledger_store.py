"""The ledger on SQLite: append-only by trigger, WAL, full fsync outside simulations.

`reserve` is durable before anything is computed; a release's bytes and its `spend` row are
one transaction before anything is sent. A process that dies between any two steps leaves a
ledger that counts at least what left the client. Every row is written with the head that it
makes, signed, and with what it changes in the derived tables.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from client.ledger_file import broken_file, connect
from client.ledger_key import begin_key, check_place, keep_key, load_key, no_ledger
from client.ledger_reader import Key, LedgerReader, StoredRelease
from client.ledger_receipts import rolled_back
from common.audit.export import write_export
from common.errors import Code, PrivacyError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger import ANSWERS, Kind, Row, check_owner, next_row, open_row, row_text
from common.privacy.ledger_index import AdmittedJob
from common.privacy.signing import SigningKey

__all__ = ["AdmittedJob", "Key", "LedgerStore", "StoredRelease"]

_NAMES: Final = "ledger names"


class LedgerStore(LedgerReader):
    """One client's ledger file. Use as a context manager."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, clock: Callable[[], datetime] | None
    ) -> None:
        super().__init__(connection, path)
        self._clock = clock
        self._key: SigningKey
        self._client: str

    @classmethod
    def open(
        cls,
        path: Path,
        client: str,
        dataset_id: str,
        *,
        survives_power_cut: bool = True,
        clock: Callable[[], datetime] | None = None,
        mends: bool = True,
    ) -> Self:
        """Open the ledger, or begin one with its key beside it.

        Looks at the first and the last row, at how many there are, at the tables and triggers
        of the file, and adds up what its budget is read from; `verify` looks at everything.
        Derived tables that are not those of the last row are made again from all rows. A
        table or trigger that keeps something and is not what it has to be is never put back:
        what it should have kept is no longer known to be whole.

        Args:
            path: the file.
            client: whose it is.
            dataset_id: which data it is about.
            survives_power_cut: wait for the disk at every commit. Without, what a killed
                process wrote is still kept, but not what a power cut interrupts: for
                simulations, where thousands of ledgers would wait for one disk.
            clock: what time it is, in UTC; None is the machine's.
            mends: without, for audits, nothing is begun or made again, and only what is wrong
                with the ends is an error; the rest is for `verify` and `findings` to say.

        Raises:
            LedgerError: `ledger-foreign`, it belongs to another client or data set;
                `ledger-missing`, ledger or key is there without the other;
                `ledger-signature`, the key or the signature under the last row is another's;
                `ledger-broken`, it is no ledger, or its end does not hold;
                `ledger-write`, the disk refuses.
        """
        check_place(path)
        if not mends and not path.exists():
            raise no_ledger(path)
        connection = connect(path, survives_power_cut=survives_power_cut, mends=mends)
        store = cls(connection, path, clock)
        try:
            if mends and store._last() is None:
                store._begin(client, dataset_id, durable=survives_power_cut)
            store._check_ends(client, dataset_id)
            if mends:
                store._check_tables()
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def key(self) -> SigningKey:
        """The ledger's own key."""
        return self._key

    @property
    def public_key(self) -> str:
        """Its public half, hexadecimal."""
        return self._key.public

    def keyed_hash(self, text: str) -> str:
        """HMAC-SHA256 of `text` under a key that is made from the ledger's and in no row.

        Rows are shown to auditors: who lacks the key can tell from the hash whether two
        values are the same, and cannot try out what they were.
        """
        secret = self._key.derive(_NAMES)
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    def append(self, kind: Kind, body: Mapping[str, Any]) -> Row:
        """Write one row, durably unless a transaction around it is still open.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; `ledger-rolled-back`, nothing more
                is answered from it; `ledger-broken`, the body lacks what its kind has. The
                ledger is as it was.
        """
        with self.transaction():
            last = self._last()
            if last is None:
                raise broken_file("the ledger is empty", self._path)
            if kind in ANSWERS and self.last("halt") is not None:
                raise rolled_back("it was found to be rolled back before", self._path)
            row = next_row(last, kind, body, self._time())
            self._insert(row)
        return row

    def commit_release(
        self, key: Key, request_hash: str, payload: bytes, spend: Mapping[str, Any]
    ) -> StoredRelease:
        """Write a release's bytes and its `spend` row in one transaction.

        Returns:
            What may be sent: this release, or the one that another process committed for
            the same request meanwhile. Two for one request would halve the noise.

        Raises:
            LedgerError: `ledger-write`, the disk refuses; the reservation stays counted.
            PrivacyError: `replay-conflict`, the step was answered for another request.
        """
        with self.transaction():
            earlier = self.find(key)
            if earlier is not None:
                return self.same_request(earlier, key, request_hash)
            row = self.append("spend", spend)
            head = self.signed_head()
            names = (key.job_id, key.step, key.session, request_hash, row.seq)
            self._connection.execute(
                "INSERT INTO release VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*names, head.model_dump_json(), payload),
            )
        return StoredRelease(request_hash, head, payload)

    @staticmethod
    def same_request(stored: StoredRelease, key: Key, request_hash: str) -> StoredRelease:
        """`stored`, if it answers this request.

        Raises:
            PrivacyError: `replay-conflict`, it answered another one.
        """
        if stored.request_hash != request_hash:
            raise PrivacyError(
                Code.REPLAY_CONFLICT,
                "this step was answered before, for a request with other content.",
                where=f"job {key.job_id} step {key.step}",
                remedy="A server must not change a job under way: start a new job.",
            )
        return stored

    def check_receipt(self, receipt: Receipt) -> None:
        """Hold a head that a server saw of this ledger to its rows.

        Call it outside a transaction: the `halt` row must outlive the error.

        Raises:
            LedgerError: `ledger-signature`, this ledger's key did not sign the head, or the
                server not the receipt; nothing follows from it. `ledger-rolled-back`, the
                ledger does not have that row: it was restored from a backup, or is a copy
                of one that went on. A `halt` row is there, and nothing more is answered.
        """
        self.check_head(receipt.head, "a server", receipt.server)
        receipt.check()

    def check_head(self, head: SignedHead, who: str, server: str = "") -> None:
        """Hold a head that somebody has of this ledger to its rows.

        Args:
            head: what somebody has.
            who: in words.
            server: its public key; empty if it is none.

        Raises:
            LedgerError: `ledger-signature`, this ledger's key did not sign it;
                `ledger-rolled-back`, as `check_receipt`.
        """
        head.check(self.public_key)
        with self.transaction():
            row = self._row(head.seq)
            fits = row is not None and row.hash == head.hash
            if not fits and self.last("halt") is None:
                body = {"seq": head.seq, "hash": head.hash, "server": server}
                self.append("halt", body)
        if not fits:
            raise rolled_back(f"{who} saw its row {head.seq}, which is not here", self._path)

    def export(self, path: Path) -> SignedHead:
        """Write everything but the releases to `path`, to hand to somebody else.

        Returns:
            The head that the file ends with.

        Raises:
            LedgerError: `ledger-broken`, a row or a receipt cannot be read.
            DataError: `disk-full`, or `data-not-found` when the place cannot be written.
        """
        with self.snapshot():
            return write_export(path, self.texts(), self.receipts(), self._key)

    def add_receipt(self, receipt: Receipt) -> None:
        """Check a receipt and keep it, if it is later than what its server gave before.

        Raises:
            LedgerError: as `check_receipt`, or `ledger-write`.
        """
        self.check_receipt(receipt)
        with self.transaction():
            self._receipts.add(receipt)

    def _begin(self, client: str, dataset_id: str, *, durable: bool) -> None:
        with self.transaction():
            if self._last() is not None:  # another process was faster
                return
            self._client, self._key = client, begin_key(self._path, durable=durable)
            self._index.use(self._key)
            nonce = secrets.token_hex(32)
            self._insert(open_row(client, dataset_id, nonce, self._time(), self.public_key))
        keep_key(self._path, self.public_key)

    def _check_ends(self, client: str, dataset_id: str) -> None:
        with self.snapshot():
            first, last = self._row(0), self._last()
            if first is None or last is None or first.kind != "open":
                raise broken_file("the ledger does not begin with an `open` row", self._path)
            if not (first.intact and last.intact):
                raise broken_file("its first or last row was edited", self._path)
            check_owner(first.body, client, dataset_id)
            self._client = client
            self._key = load_key(self._path, str(first.body.get("public_key")))
            self._public = self._key.public
            self._index.use(self._key)
            self._check_tip(last)

    def _check_tables(self) -> None:
        """Hold the derived tables to the last row, and make them again if they are not its."""
        with self.snapshot():
            if self._are_current():
                return
        with self.transaction():
            if not self._are_current():  # else another process was faster
                self._index.rebuild(self._chained())

    def _are_current(self) -> bool:
        last, rows = self._last(), self._connection.execute("SELECT count(*) FROM ledger")
        if last is None or rows.fetchone()[0] != last.seq + 1:
            raise broken_file("rows are missing", self._path)
        return self._index.is_current(last)

    def _insert(self, row: Row) -> None:
        values = (row.seq, row.kind, row_text(row))
        self._connection.execute("INSERT INTO ledger VALUES (?, ?, ?)", values)
        self._index.add(row)
        head = SignedHead.sign(self._key, self._client, row.seq, row.hash).model_dump_json()
        self._connection.execute("INSERT OR REPLACE INTO tip VALUES (0, ?)", (head,))

    def _time(self) -> str:
        return _now() if self._clock is None else _text(self._clock())


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")

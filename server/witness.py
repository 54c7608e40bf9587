"""The witness: what the server remembers of its clients' ledgers, and countersigns.

A ledger that was put back to an earlier state is consistent in itself. Somebody else must have
seen how far it had come: here, the server, which hands every client its countersignature.
Several runs of one server may share the file, also at the same time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

from pydantic import Field

from common.config import Settings
from common.errors import ArtifactError, Code, DataError, HushRecError, LedgerError
from common.job import JobId
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey

__all__ = ["WITNESS_NAME", "Asked", "Witness"]

WITNESS_NAME: Final = "witness.jsonl"
"""The file in the server's home."""
_LOG: Final = logging.getLogger("hushrec.server")


class Asked(Settings):
    """What a head was shown for: one release."""

    job_id: JobId
    """The job."""
    step: int = Field(ge=0)
    """Index of its step."""
    session: int = Field(default=0, ge=0)
    """Number of the attempt at a sum."""


class _Line(Settings):
    """One countersigned head, as it stands in the file."""

    asked: Asked
    receipt: Receipt


@dataclass
class Witness:
    """Every head that this server countersigned, on its disk.

    Guarantee:
        For one client, a release has one head for ever, and a head that is countersigned for
        a new release has a later row than all before it: two hashes are never countersigned
        for one row. Both hold across restarts and over all runs that share the file, also
        those that write to it at the same time, as long as the file does.

    Attributes:
        path: the file, one line a head; only ever appended to, by who holds its lock and has
            read what others appended.
        key: what countersigns.
        left_out: why the releases of a client are not used any more, by client.
    """

    path: Path
    key: SigningKey
    left_out: dict[str, Code] = field(default_factory=dict)
    _bytes: int = 0
    _lines: int = 0
    _newest: dict[str, Receipt] = field(default_factory=dict)
    _given: dict[tuple[str, Asked], Receipt] = field(default_factory=dict)
    _rows: dict[tuple[str, int], SignedHead] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, key: SigningKey) -> Self:
        """Read what was seen before; a line that a kill cut off had not left this machine.

        Args:
            folder: the server's home.
            key: what countersigns, and did.

        Raises:
            ArtifactError: `artifact-invalid`, a line is none of ours, or contradicts another.
            DataError: the file cannot be read or written.
        """
        witness = cls(folder / WITNESS_NAME, key)
        witness.refresh()
        return witness

    def refresh(self) -> None:
        """Read what other runs have appended, and wait until the disk has it.

        Raises:
            ArtifactError: `artifact-invalid`, as when it is opened; or lines have gone.
            DataError: the file cannot be read or written.
        """
        known = self._bytes
        if not known and not self.path.exists():
            return
        with self._alone():
            pass
        if self._bytes != known:
            self.sync()

    def receipt(self, client: str) -> Receipt | None:
        """The countersignature under the newest head of `client`, if there is one."""
        return self._newest.get(client)

    def meet(self, client: str, ledger_key: str | None) -> None:
        """Hold the ledger key that a client states to the one that it had.

        Whoever comes with another one is left out: see `left_out`.
        """
        known = self._newest.get(client)
        if known is not None and ledger_key is not None and ledger_key != known.head.key:
            self._leave_out(client, _another_key(known.head.key, ledger_key))

    def see(
        self, client: str, asked: Asked, head: SignedHead | None, *, ledger_key: str | None = None
    ) -> Receipt:
        """Countersign the head that came with a release; the same one again at a replay.

        Args:
            client: who sent it.
            asked: what for.
            head: what it showed.
            ledger_key: the key that it stated beforehand, if it did.

        Raises:
            LedgerError: the release must not be used, and its sender is left out from now on.
                `ledger-signature`, there is no head, or not by this client's key;
                `ledger-foreign`, it is the head of another client's ledger;
                `ledger-rolled-back`, it contradicts an earlier one: another row for this
                release, or the same row for something else; or the row lies before one that
                was seen. That alone leaves nobody out: so does a release whose reply was lost
                and that is asked for again after later ones.
            ArtifactError: `artifact-invalid`, another run has appended what cannot be.
            DataError: the file cannot be written.
        """
        with self._alone() as file:
            given = self._given.get((client, asked))
            try:
                checked = self._checked(client, head, ledger_key)
                if given is not None:
                    _same(given.head, checked)
                    return given
                self._unseen(client, checked)
            except LedgerError as error:
                self._leave_out(client, error)
                raise
            self._later(client, checked)
            line = _Line(asked=asked, receipt=Receipt.sign(self.key, checked, _now()))
            self._append(file, line)
        return line.receipt

    def sync(self) -> None:
        """Wait until the disk has it all: before a receipt leaves.

        Raises:
            DataError: the disk refuses.
        """
        if not self._newest:
            return
        try:
            for path in (self.path, self.path.parent):
                _sync(path)
        except OSError as error:
            raise _unwritable(error, self.path) from None

    def _checked(self, client: str, head: SignedHead | None, ledger_key: str | None) -> SignedHead:
        known = self._newest.get(client)
        key = ledger_key if known is None else known.head.key
        if head is None:
            raise LedgerError(Code.LEDGER_SIGNATURE, "it shows no signed head.", where=client)
        if head.client != client:
            raise LedgerError(
                Code.LEDGER_FOREIGN, f"it shows the head of {head.client}.", where=client
            )
        if key is not None and head.key != key:
            raise _another_key(key, head.key)
        head.check()
        return head

    def _unseen(self, client: str, head: SignedHead) -> None:
        seen = self._rows.get((client, head.seq))
        if seen is not None:
            raise _rolled_back(seen, head)

    def _later(self, client: str, head: SignedHead) -> None:
        known = self._newest.get(client)
        if known is not None and head.seq < known.head.seq:
            error = _rolled_back(known.head, head)
            _LOG.error("%s shows an earlier head: %s", client, error.message)
            raise error

    def _leave_out(self, client: str, error: LedgerError) -> None:
        self.left_out[client] = error.code
        _LOG.error("%s is left out: %s", client, error.message)

    @contextmanager
    def _alone(self) -> Iterator[BinaryIO]:
        """The file, locked, with all of it read; the kernel unlocks it however this ends."""
        try:
            if not self._bytes:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            create = 0 if self._bytes else os.O_CREAT
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | create, 0o666)
            with os.fdopen(handle, "rb+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._read(file)
                yield file
        except OSError as error:
            raise _unwritable(error, self.path) from None

    def _append(self, file: BinaryIO, line: _Line) -> None:
        text = line.model_dump_json().encode() + b"\n"
        written = file.write(text)
        if written < len(text):  # whoever comes next cuts it off
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._keep(line, len(text))

    def _keep(self, line: _Line, size: int) -> None:
        head = line.receipt.head
        self._newest[head.client] = self._given[head.client, line.asked] = line.receipt
        self._rows[head.client, head.seq] = head
        self._bytes += size
        self._lines += 1

    def _read(self, file: BinaryIO) -> None:
        """Read on from where this process has read to; nobody else is writing."""
        size = os.fstat(file.fileno()).st_size
        if size < self._bytes:
            raise _damaged(self.path, self._lines, "is not there any more")
        file.seek(self._bytes)
        blob = file.read()
        whole = blob[: blob.rfind(b"\n") + 1]
        for text in whole.split(b"\n")[:-1]:
            number = self._lines + 1
            line = self._line(text, number)
            newest = self._newest.get(line.receipt.head.client)
            if newest is not None and newest.head.seq >= line.receipt.head.seq:
                raise _damaged(self.path, number, "goes back behind one before it")
            self._keep(line, len(text) + 1)
        if len(whole) < len(blob):
            file.truncate(self._bytes)

    def _line(self, text: bytes, number: int) -> _Line:
        try:
            line = _Line.load(json.loads(text))
            line.receipt.check(server=self.key.public)
        except (HushRecError, ValueError, TypeError, RecursionError):
            raise _damaged(self.path, number, "is no receipt of this server") from None
        return line


def _same(known: SignedHead, shown: SignedHead) -> None:
    if (known.seq, known.hash) != (shown.seq, shown.hash):
        raise _rolled_back(known, shown)


def _another_key(known: str, shown: str) -> LedgerError:
    return LedgerError(
        Code.LEDGER_SIGNATURE,
        f"its ledger key was {known} and now is {shown}.",
        where="ledger key",
        remedy="Ask its owner, by a way of your own, what became of the ledger.",
    )


def _rolled_back(known: SignedHead, shown: SignedHead) -> LedgerError:
    """Both heads in full: two hashes for one row, signed by one key, prove it to anybody."""
    return LedgerError(
        Code.LEDGER_ROLLED_BACK,
        f"after {known.model_dump_json()} it shows {shown.model_dump_json()}.",
        where="ledger",
        remedy="Ask its owner to put the newest ledger back.",
    )


def _damaged(path: Path, number: int, what: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        f"line {number} {what}.",
        where=str(path),
        remedy="Restore the file. Without it the server cannot tell a ledger that was put back.",
    )


def _unwritable(error: OSError, path: Path) -> DataError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return DataError(
        Code.DISK_FULL if full else Code.DATA_NOT_FOUND,
        f"cannot be read or written: {error.strerror}.",
        where=str(path),
        remedy="Make room on the disk." if full else "Check the folder and its permissions.",
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""Checking an exported ledger from the file and public keys alone.

Guarantee:
    Without the ledger's private key no row of an export can be changed, dropped, added or
    moved unseen. Who has that key can write another history; then every receipt of a server
    that is not in league with them, and every head that somebody kept, must still be a row
    of it. What no receipt and no kept head reaches is consistent, and not shown complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from pydantic import Field

from common.audit.export import Export
from common.audit.links import LinkFault, link_faults
from common.config import Settings
from common.errors import HushRecError, LedgerError
from common.privacy.guarantees import guarantee_fault
from common.privacy.heads import Receipt, SignedHead
from common.privacy.ledger import Meaning
from common.privacy.plan import PrivacyPlan
from common.privacy.signing import PublicKey

__all__ = ["LedgerFinding", "Verdict", "What", "verify_export"]

_MOST: Final = 100
"""Findings that a verdict lists; one edit can make thousands."""

What: TypeAlias = Literal[
    "edited",
    "dropped",
    "reordered",
    "duplicated",
    "inserted",
    "truncated",
    "opening",
    "time-backwards",
    "halted",
    "unreserved",
    "agreed-twice",
    "signature",
    "receipt",
    "rolled-back",
    "guarantee",
    "file",
]
"""What happened, in a word; `docs/errors/ledger-broken.md` and its neighbours say more."""
KeyFrom: TypeAlias = Literal["given", "the file itself"]


class LedgerFinding(Settings):
    """One thing that is wrong with a ledger."""

    row: int | None
    """Number of the row, None for the file as a whole."""
    what: What
    """What happened."""
    says: str
    """In a sentence."""


class Verdict(Settings):
    """What an exported ledger shows."""

    client: str
    """Whose ledger it says it is."""
    dataset_id: str
    """About which data."""
    rows: int
    """How many rows it has."""
    receipts: int
    """How many receipts."""
    head: SignedHead
    """The signed head that it ends with."""
    key: PublicKey
    """Key that heads were held to."""
    key_from: KeyFrom
    """Where that key came from; a key from the file shows only that the file fits itself."""
    server_keys: tuple[PublicKey, ...]
    """Keys that receipts were held to."""
    server_keys_from: KeyFrom
    """Where they came from."""
    findings: tuple[LedgerFinding, ...]
    """What is wrong, in the order of rows, the file as a whole last."""
    findings_left_out: int = Field(default=0, ge=0)
    """Findings beyond those listed."""
    shown_up_to: int | None
    """Last row that somebody else is known to have seen; None if nobody shows any."""
    complete: str
    """How far the history is shown to be complete, in words."""

    @property
    def consistent(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify_export(
    export: Export,
    *,
    client_key: str | None = None,
    server_keys: Collection[str] = (),
    seen: SignedHead | str | None = None,
) -> Verdict:
    """Check rows, signatures and receipts of an export.

    Args:
        export: the file, read.
        client_key: public ledger key, hexadecimal, from its owner; None takes the file's.
        server_keys: public keys of the servers whose receipts count; none takes those that
            signed receipts in the file.
        seen: a head of this ledger that somebody kept: a server, an officer, a manifest; or
            its bare hash.
    """
    key = export.header.public_key if client_key is None else client_key
    servers = set(server_keys) or {receipt.server for receipt in export.receipts}
    note = "" if server_keys else ", whose key is from the file itself"
    checker = _Checker(export, key, servers, note)
    found = sorted(checker.findings(seen), key=lambda one: (one.row is None, one.row or 0))
    reached = [] if found else list(checker.reached(seen))
    keys_from: KeyFrom = "given" if server_keys else "the file itself"
    return Verdict(
        client=export.header.client,
        dataset_id=export.header.dataset_id,
        rows=len(export.rows),
        receipts=len(export.receipts),
        head=export.end.head,
        key=key,
        key_from="the file itself" if client_key is None else "given",
        server_keys=tuple(sorted(servers)),
        server_keys_from=keys_from,
        findings=tuple(found[:_MOST]),
        findings_left_out=max(0, len(found) - _MOST),
        shown_up_to=max((seq for seq, _ in reached), default=None),
        complete=_complete(found, reached),
    )


class _Checker:
    """Checks one export against one key."""

    def __init__(self, export: Export, key: str, servers: Collection[str], note: str) -> None:
        self._export = export
        self._key = key
        self._note = note
        self._newest = _newest(export.receipts, servers)
        self._hashes = {row.hash: row.seq for row in export.rows}

    def findings(self, seen: SignedHead | str | None) -> Iterator[LedgerFinding]:
        """Everything that is wrong, each thing once."""
        faults = list(link_faults(self._export.rows))
        yield from map(_of_link, faults)
        yield from self._meaning(faults)
        yield from self._guarantees(faults)
        yield from self._end(faults)
        for receipt in self._export.receipts:
            yield from self._receipt(receipt)
        if isinstance(seen, str) and seen not in self._hashes:
            says = f"somebody saw head {seen}, and no row here has it: it was rolled back"
            yield LedgerFinding(row=len(self._export.rows), what="rolled-back", says=says)
        elif isinstance(seen, SignedHead):
            yield from self._seen(seen)

    def reached(self, seen: SignedHead | str | None) -> Iterator[tuple[int, str]]:
        """Rows that others saw, and who; for an export without findings."""
        for server, receipt in self._newest.items():
            yield receipt.head.seq, f"receipts of {server[:16]}{self._note}"
        if seen is not None:
            row = seen.seq if isinstance(seen, SignedHead) else self._hashes[seen]
            yield row, "a head that was seen before"

    def _meaning(self, faults: list[LinkFault]) -> Iterator[LedgerFinding]:
        """Rows that cannot follow those before them, up to where rows are missing."""
        meaning = Meaning()
        end = max(0, min((fault.row for fault in faults), default=len(self._export.rows)))
        for row in self._export.rows[:end]:
            problem = meaning.add(row)
            if problem is not None:
                yield LedgerFinding(
                    row=row.seq, what=problem.what, says=_row(row.seq, problem.says)
                )

    def _guarantees(self, faults: list[LinkFault]) -> Iterator[LedgerFinding]:
        """Plans of secure sums whose row says another promise than they make."""
        edited = {fault.row for fault in faults}
        for row in self._export.rows:
            if row.kind != "admit" or row.seq in edited:
                continue
            problem = _of_guarantees(row.body)
            if problem is not None:
                yield LedgerFinding(row=row.seq, what="guarantee", says=_row(row.seq, problem))

    def _end(self, faults: list[LinkFault]) -> Iterator[LedgerFinding]:
        """The last line against key and rows; the header against the first row."""
        export, end = self._export, self._export.end
        yield from self._signed(end.head, None, "the last line")
        if not end.is_signed():
            yield _file("signature", "the signature under the last line does not fit")
        last = export.rows[-1].seq if export.rows else -1
        if not faults and last < end.head.seq:
            says = f"rows {last + 1} to {end.head.seq} are missing at the end"
            yield LedgerFinding(row=last + 1, what="truncated", says=says)
        elif not faults and last > end.head.seq:
            says = f"rows after {end.head.seq}, the signed head, were added"
            yield LedgerFinding(row=end.head.seq + 1, what="inserted", says=says)
        elif not faults and export.rows[-1].hash != end.head.hash:
            says = _row(last, "is not the one that was signed: it was edited")
            yield LedgerFinding(row=last, what="edited", says=says)
        elif not faults and (end.rows, end.receipts, end.sha256) != (
            len(export.rows),
            len(export.receipts),
            export.sha256,
        ):
            yield _file("file", "lines were changed after the last one was signed")
        if export.rows and not self._fits_header():
            yield _file("file", "the header does not say what row 0 says")

    def _fits_header(self) -> bool:
        header, body = self._export.header, self._export.rows[0].body
        names = ("client", "dataset_id", "public_key")
        return all(body.get(name) == getattr(header, name) for name in names)

    def _receipt(self, receipt: Receipt) -> Iterator[LedgerFinding]:
        """A receipt that fits its row needs no signature, unless completeness hangs on it."""
        server, head = receipt.server[:16], receipt.head
        fits = self._has(head)
        if fits and self._newest.get(receipt.server) is not receipt:
            return
        try:
            receipt.check()
        except LedgerError as error:
            yield _file("signature", f"a receipt of {server} for row {head.seq}: {error.message}")
            return
        if head.key != self._key:
            yield _file("receipt", f"a receipt of {server} is for another ledger's key")
        elif not fits:
            yield self._missing(head, f"server {server} saw", "receipt")

    def _seen(self, seen: SignedHead) -> Iterator[LedgerFinding]:
        signed = list(self._signed(seen, seen.seq, "the head that was seen before"))
        yield from signed
        if not signed and not self._has(seen):
            yield self._missing(seen, "somebody saw", "rolled-back")

    def _missing(self, head: SignedHead, who: str, what: What) -> LedgerFinding:
        if head.seq >= len(self._export.rows):
            says = f"{who} row {head.seq}; the ledger ends before it: it was rolled back"
            return LedgerFinding(row=len(self._export.rows), what="rolled-back", says=says)
        says = f"{who} another row {head.seq} than this one"
        return LedgerFinding(row=head.seq, what=what, says=says)

    def _signed(self, head: SignedHead, row: int | None, name: str) -> Iterator[LedgerFinding]:
        try:
            head.check(self._key)
        except LedgerError as error:
            yield LedgerFinding(row=row, what="signature", says=f"{name}: {error.message}")

    def _has(self, head: SignedHead) -> bool:
        return self._hashes.get(head.hash) == head.seq


def _newest(receipts: Iterable[Receipt], servers: Collection[str]) -> dict[str, Receipt]:
    newest: dict[str, Receipt] = {}
    for receipt in receipts:
        if receipt.server in servers:
            last = newest.get(receipt.server, receipt)
            newest[receipt.server] = max(last, receipt, key=lambda one: one.head.seq)
    return newest


def _complete(found: list[LedgerFinding], reached: list[tuple[int, str]]) -> str:
    if found:
        return "not consistent"
    if not reached:
        return "consistent, completeness not shown"
    last = max(seq for seq, _ in reached)
    return f"shown up to row {last} by {' and '.join(who for seq, who in reached if seq == last)}"


def _of_guarantees(body: Mapping[str, Any]) -> str | None:
    """What is wrong with the guarantees of an `admit` row, None if nothing is."""
    plan = body.get("plan")
    if not isinstance(plan, Mapping) or plan.get("mode") != "distributed":
        return None
    try:
        return guarantee_fault(PrivacyPlan.load(plan, where="plan"), body.get("guarantees"))
    except (HushRecError, ValueError, ArithmeticError):
        return "has a plan of secure sums that nobody can read"


def _of_link(fault: LinkFault) -> LedgerFinding:
    return LedgerFinding(row=fault.row, what=fault.what, says=_row(fault.row, fault.says))


def _file(what: What, says: str) -> LedgerFinding:
    return LedgerFinding(row=None, what=what, says=f"{says.rstrip('.')}.")


def _row(seq: int, says: str) -> str:
    return f"row {seq} {says}."

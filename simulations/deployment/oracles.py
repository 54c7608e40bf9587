"""What must hold of a federation whatever was done to it: no row lost, nothing spent twice.

Each check returns sentences about what does not hold. They look at the parties' disks. The
chain, the counts and the comparisons are made here anew; plans, ε, caps and signatures are
those of `hushrec audit`, which has its own tests.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from client.audited import audit_client
from client.owner import Owner
from common.errors import HushRecError
from common.privacy.heads import Receipt
from simulations.deployment.evidence import LedgerCopy, Said

__all__ = ["audited", "charged", "ledger_faults", "lost_rows", "unspent", "witness_faults"]

_BEFORE_ALL: Final = "0" * 64


def lost_rows(before: LedgerCopy, now: LedgerCopy) -> Iterator[str]:
    """A ledger and its releases only grow."""
    who = now.client
    if now.texts[: len(before.texts)] != before.texts:
        kept = sum(a == b for a, b in zip(before.texts, now.texts, strict=False))
        yield f"{who}: of {len(before.texts)} rows {kept} are as they were"
    for said, release in before.releases.items():
        if now.releases.get(said) != release:
            yield f"{who}: the release of {_said(said)} is gone or another one"


def ledger_faults(ledger: LedgerCopy) -> Iterator[str]:
    """Chain, spends and their reservations, releases and their bytes, no halt."""
    yield from _chain(ledger)
    yield from _spends(ledger)
    yield from _releases(ledger)
    for row in ledger.of("halt"):
        yield f"{ledger.client}: row {row['seq']} halts the ledger: {row['body']}"


def unspent(ledger: LedgerCopy) -> Counter[Said]:
    """How many reservations each release has that nothing was spent on.

    They count against the shop's budget all the same.
    """
    spent = {row["body"]["reservation"] for row in ledger.of("spend")}
    rows = (row for row in ledger.of("reserve") if row["seq"] not in spent)
    return Counter(_reserved(row["body"]) for row in rows)


def charged(ledger: LedgerCopy, job_id: str) -> Counter[int]:
    """In how many sessions each step of a job was spent."""
    bodies = {row["seq"]: row["body"] for row in ledger.of("reserve")}
    spent = (bodies.get(row["body"]["reservation"]) for row in ledger.of("spend"))
    said = {_reserved(body) for body in spent if body is not None}
    return Counter(one.step for one in said if one.job_id == job_id)


def audited(owner: Owner) -> Iterator[str]:
    """What `hushrec audit` finds: signatures, plans, ε against the policy's caps."""
    try:
        found = audit_client(owner)
    except HushRecError as error:
        yield f"{owner.settings.name}: {error}"
        return
    for finding in found.findings:
        yield f"{finding.where}: {finding.what}"


def witness_faults(
    lines: list[dict[str, Any]], server: str, ledgers: Mapping[str, LedgerCopy]
) -> Iterator[str]:
    """Every head that the server countersigned is a row of that client's ledger.

    Args:
        lines: of `witness.jsonl`.
        server: public key of the server.
        ledgers: by client.
    """
    last: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        receipt = Receipt.model_validate(line["receipt"])
        head, asked = receipt.head, line["asked"]
        place = f"witness line {number}, {head.client}"
        try:
            receipt.check(server=server)
            head.check()
        except HushRecError as error:
            yield f"{place}: {error}"
        if head.seq <= last.get(head.client, -1):
            yield f"{place}: row {head.seq} comes after row {last[head.client]}"
        last[head.client] = head.seq
        ledger = ledgers.get(head.client)
        rows = () if ledger is None else ledger.rows
        if head.seq >= len(rows) or rows[head.seq]["hash"] != head.hash:
            yield f"{place}: row {head.seq} is not in the ledger as it was seen"
        elif ledger is not None and not _is_release(ledger, head.seq, asked):
            yield f"{place}: row {head.seq} is not the release that it was shown for"


def _chain(ledger: LedgerCopy) -> Iterator[str]:
    before = _BEFORE_ALL
    for place, (row, found) in enumerate(zip(ledger.rows, ledger.hashes(), strict=True)):
        if row["seq"] != place or row["prev"] != before or row["hash"] != found:
            yield f"{ledger.client}: row {place} does not follow the row before it"
            return
        before = row["hash"]


def _spends(ledger: LedgerCopy) -> Iterator[str]:
    reserved = {row["seq"]: row["body"] for row in ledger.of("reserve")}
    used: Counter[int] = Counter()
    said: Counter[Said] = Counter()
    for row in ledger.of("spend"):
        place = row["body"]["reservation"]
        used[place] += 1
        body = reserved.get(place)
        if body is None or place > row["seq"]:
            yield f"{ledger.client}: row {row['seq']} spends what was not reserved"
            continue
        said[_reserved(body)] += 1
    for place, count in used.items():
        if count > 1:
            yield f"{ledger.client}: reservation {place} is spent {count} times"
    for key, count in said.items():
        if count > 1:
            yield f"{ledger.client}: {_said(key)} is spent {count} times"


def _releases(ledger: LedgerCopy) -> Iterator[str]:
    """Each spend has its bytes and each release its spend, for the step that was reserved."""
    bodies = {row["seq"]: row["body"] for row in ledger.rows}
    spent = {row["seq"] for row in ledger.of("spend")}
    for said, release in ledger.releases.items():
        who, spend = f"{ledger.client}: the release of {_said(said)}", release.spend_seq
        if spend not in spent:
            yield f"{who} has no spend"
            continue
        spent.discard(spend)
        reserve = bodies.get(bodies[spend]["reservation"], {})
        if Said(*(reserve.get(name, -1) for name in Said._fields)) != said:
            yield f"{who} is spent as another one"
        if reserve.get("request_hash") != release.request_hash:
            yield f"{who} answers another request than was reserved"
        if hashlib.sha256(release.payload).hexdigest() != bodies[spend]["release_sha256"]:
            yield f"{who} is not what was charged for"
    for seq in sorted(spent):
        yield f"{ledger.client}: row {seq} spends and nothing was kept"


def _is_release(ledger: LedgerCopy, seq: int, asked: Mapping[str, Any]) -> bool:
    release = ledger.releases.get(Said(asked["job_id"], asked["step"], asked["session"]))
    return release is not None and release.spend_seq == seq


def _reserved(body: Mapping[str, Any]) -> Said:
    return Said(body["job_id"], body["step"], body["session"])


def _said(said: Said) -> str:
    return f"job {said.job_id[:8]} step {said.step} session {said.session}"

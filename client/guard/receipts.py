"""Receipts: proof of a roll-back from whoever brings it, anything else from servers known here."""

from __future__ import annotations

from client.guard.rules import check_server_key
from client.ledger_store import LedgerStore
from common.errors import Code, PolicyError
from common.privacy.heads import Receipt
from common.privacy.policy import Policy

__all__ = ["keep_receipt"]


def keep_receipt(
    ledger: LedgerStore, policy: Policy, receipt: Receipt, server: str | None = None
) -> None:
    """Keep a receipt about this ledger, by `server` if one is expected.

    What a stranger signs would only make the ledger's file grow.

    Raises:
        LedgerError: `ledger-signature`, it is not about this ledger or not by that server;
            `ledger-rolled-back`, this copy of the ledger does not have that head.
        PolicyError: `policy-server`, of a server that is not known here.
    """
    ledger.check_receipt(receipt)
    receipt.check(server)
    check_server_key(policy, receipt.server)
    if receipt.server not in policy.servers and not _has_job(ledger, receipt.server):
        raise PolicyError(
            Code.POLICY_SERVER,
            f"a receipt of server {receipt.server[:8]}…, which has no job here.",
            remedy="Receipts are kept of servers that have a job here or stand in `servers`.",
        )
    ledger.add_receipt(receipt)


def _has_job(ledger: LedgerStore, server: str) -> bool:
    last = ledger.last("admit")
    if last is None or last.body.get("server") == server:
        return last is not None
    return any(row.body.get("server") == server for row in ledger.rows("admit"))

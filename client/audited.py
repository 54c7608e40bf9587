"""What the audit of a client's own folder finds: chain, plans, ε and caps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client.owner import Owner
from common.audit.caps import CapAudit, audit_caps
from common.audit.findings import Finding
from common.audit.ledgers import LedgerAudit, audit_ledger, unreadable
from common.audit.statement import Bound, Statement, make_statement
from common.privacy.ledger import Row

__all__ = ["AuditedClient", "audit_client"]


@dataclass(frozen=True)
class AuditedClient:
    """One client.

    Attributes:
        owner: its folder.
        rows: of its ledger, in order.
        key: public key that signs its heads.
        servers: public keys of servers whose receipts it has.
        ledger: what the rows amount to.
        caps: its policy's, the lifetime first; none where the chain does not hold.
        findings: of all of that.
    """

    owner: Owner
    rows: tuple[Row, ...]
    key: str
    servers: tuple[str, ...]
    ledger: LedgerAudit
    caps: tuple[CapAudit, ...]
    findings: tuple[Finding, ...]

    def statement(
        self, date: str, bounds: Sequence[Bound] = (), more_findings: int = 0
    ) -> Statement:
        """The statement of this client."""
        return make_statement(
            self.ledger,
            self.owner.policy,
            population=self.owner.settings.population,
            key=self.key,
            date=date,
            receipts=len(self.servers),
            bounds=bounds,
            broken=len(self.findings) - len(self.ledger.findings) + more_findings,
        )

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            **self.ledger.to_json(),
            "key": self.key,
            "servers": list(self.servers),
            "caps": [cap.to_json() for cap in self.caps],
            "findings": [finding.model_dump() for finding in self.findings],
        }


def audit_client(owner: Owner) -> AuditedClient:
    """Check a client's ledger against itself, its plans and its policy.

    What the rows say is looked at only where their chain holds.

    Raises:
        LedgerError: `ledger-missing`, or a ledger that cannot be opened at all.
        PolicyError: `policy-missing`.
    """
    name, policy = owner.settings.name, owner.policy
    with owner.ledger(mends=False) as store, store.snapshot():
        broken = [Finding(layer="ledger", where=name, what=what) for what in store.findings()]
        head, key = store.signed_head(), store.public_key
        rows = () if broken else tuple(store.rows())
        servers = () if broken else {receipt.server for receipt in store.receipts()}
        halt = None if broken else store.last("halt")
    if halt is not None:
        what = f"somebody holds row {halt.body.get('seq')}, which this ledger does not have."
        broken.append(Finding(layer="ledger", where=name, what=what))
    if rows:
        ledger = audit_ledger(rows, policy.lifetime.delta)
        caps, exceeded = audit_caps(name, rows, policy)
    else:
        delta, dataset = policy.lifetime.delta, owner.settings.dataset_id
        ledger = unreadable(name, dataset, head.seq + 1, head.hash, delta)
        caps, exceeded = (), []
    return AuditedClient(
        owner=owner,
        rows=rows,
        key=key,
        servers=tuple(sorted(servers)),
        ledger=ledger,
        caps=caps,
        findings=(*broken, *ledger.findings, *exceeded),
    )

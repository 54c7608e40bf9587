"""The statement: what a client promises its users, on one page, for the person who signs.

Built from the policy and the ledger alone; what attacks showed is added where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from common.audit.ledgers import LedgerAudit
from common.audit.statement_figures import (
    Line,
    cap_line,
    line_of,
    lines_of_plans,
    right_guesses,
)
from common.config import Settings
from common.privacy.accounting import NEIGHBOURING
from common.privacy.plan import Mode, Unit
from common.privacy.policy import Policy, Serving
from common.privacy.roster import Terms

__all__ = ["Bound", "Line", "Statement", "make_statement"]


class Bound(Settings):
    """What an attack showed, and what it could have."""

    name: str
    """Which attack."""
    words: str
    """Its result in a sentence."""


class Statement(Settings):
    """Everything that the page says."""

    client: str
    """Name of the client."""
    dataset_id: str
    """Identity of the data set."""
    population: int
    """Declared users."""
    unit: Unit
    """What is protected."""
    neighbouring: str = NEIGHBOURING
    """The relation between data sets."""
    modes: tuple[Mode, ...]
    """Who may add the noise."""
    roster: int = 0
    """n: clients on the policy's roster, with whom sums may be made securely."""
    colluders: int = 1
    """c: fewest clients in league with the server that the policy wants those sums to bear."""
    sums: tuple[Terms, ...] = ()
    """Terms of the secure sums that were admitted, each once."""
    shops: int = Field(gt=0)
    """m: clients that one person may be a user of."""
    delta: float
    """δ of the policy."""
    plans: tuple[Line, ...]
    """A line for each kind of admitted plan."""
    together: Line | None
    """All reservations, as if all plans had been fixed in advance; None before the first."""
    guess: tuple[float, float | None] | None
    """How often a guess with even odds is right at most, after `together`: under any
    mechanism, and under a Gaussian one where nobody was sampled."""
    lifetime: Line
    """What the filter lets through at most."""
    periods: tuple[Line, ...]
    """The same for periods."""
    filter: str
    """Which filter."""
    serving: Serving
    """What a shopper may be shown."""
    servers: tuple[str, ...]
    """Public keys of the servers that may ask."""
    promised: bool
    """False if something left without noise, or with noise that a seed decides."""
    findings: int = Field(ge=0)
    """Promises that the audit of this ledger found broken."""
    bounds: tuple[Bound, ...] = ()
    """What attacks showed."""
    rows: int
    """Rows of the ledger."""
    head: str
    """Hash of its last row."""
    key: str
    """Public key that signs its heads."""
    receipts: int = 0
    """Servers whose countersignature under a head is at hand."""
    date: str
    """Of the statement."""


def make_statement(
    audit: LedgerAudit,
    policy: Policy,
    *,
    population: int,
    key: str,
    date: str,
    receipts: int = 0,
    bounds: Sequence[Bound] = (),
    broken: int = 0,
) -> Statement:
    """The statement of one client.

    In mode `local` the releases of several clients compose: a shopper of m clients is
    covered by m times the events of one, if all release alike. In mode `distributed` one sum
    moves by m times as much: what covers them is the event of m times the sensitivity.

    Args:
        audit: what its ledger amounts to.
        policy: what its owner allows.
        population: declared users.
        key: public ledger key.
        date: of the statement, as it is to be printed.
        receipts: servers whose countersignature is at hand.
        bounds: what attacks showed.
        broken: findings about this client from other parts of an audit.
    """
    return Statement(
        client=audit.client,
        dataset_id=audit.dataset_id,
        population=population,
        findings=len(audit.findings) + broken,
        bounds=tuple(bounds),
        rows=audit.rows,
        head=audit.head,
        key=key,
        receipts=receipts,
        date=date,
        **_allowed(policy),
        **_released(audit, policy),
    )


def _allowed(policy: Policy) -> Mapping[str, Any]:
    """What the owner allows."""
    shops = policy.max_shops_per_shopper
    return {
        "unit": policy.unit,
        "modes": policy.modes,
        "roster": len(policy.roster),
        "colluders": policy.colluders,
        "shops": shops,
        "delta": policy.lifetime.delta,
        "lifetime": cap_line("All releases ever", policy.lifetime.epsilon, policy, shops),
        "periods": tuple(
            cap_line(f"Any {period.days} days", period.epsilon, policy, shops)
            for period in policy.periods
        ),
        "filter": policy.filter().name,
        "serving": policy.serving,
        "servers": policy.servers,
    }


def _released(audit: LedgerAudit, policy: Policy) -> Mapping[str, Any]:
    """What was admitted and reserved, and what it comes to."""
    shops, delta, events = policy.max_shops_per_shopper, policy.lifetime.delta, audit.events
    terms = [job.plan.terms for job in audit.jobs]
    whole = line_of("Everything reserved so far", events, delta, shops) if events else None
    return {
        "sums": tuple(dict.fromkeys(one for one in terms if one is not None)),
        "plans": tuple(lines_of_plans(audit, shops)),
        "together": whole,
        "guess": right_guesses(events, delta),
        "promised": audit.promised,
    }

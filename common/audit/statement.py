"""The statement: what a client promises its users, on one page, for the person who signs.

Built from the policy and the ledger alone; what attacks showed is added where it is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pydantic import Field
from scipy.special import ndtr

from common.audit.ledgers import LedgerAudit
from common.config import Settings
from common.errors import PlanError
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING, epsilon
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    Event,
    NoisySumEvent,
    event_of,
)
from common.privacy.gdp import gaussian_mu
from common.privacy.guarantees import shops_epsilon
from common.privacy.plan import Mode, PrivacyPlan, Unit
from common.privacy.policy import Policy, Serving
from common.privacy.roster import Terms

__all__ = ["Bound", "Line", "Statement", "make_statement"]

_MOST_PLANS: Final = 3
"""Lines for plans: a page is a page."""


class Line(Settings):
    """One line of the table of figures."""

    what: str
    """What was, or may be, released."""
    epsilon: float | None
    """ε for a shopper of this client alone; None if none is finite."""
    delta: float
    """δ of it."""
    shops_epsilon: float | None = None
    """ε for a shopper of as many clients as the policy declares; None if none is finite, or
    none follows from what is known."""
    shops_delta: float
    """δ of that."""
    how: str
    """Accountant or filter."""
    shops_how: str = ACCOUNTANT
    """Accountant of the ε of several clients."""


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
    shops, delta = policy.max_shops_per_shopper, policy.lifetime.delta
    return Statement(
        client=audit.client,
        dataset_id=audit.dataset_id,
        population=population,
        unit=policy.unit,
        modes=policy.modes,
        roster=len(policy.roster),
        colluders=policy.colluders,
        sums=_terms(audit),
        shops=shops,
        delta=delta,
        plans=tuple(_plans(audit, shops)),
        together=_line("Everything reserved so far", audit.events, delta, shops)
        if audit.events
        else None,
        guess=_guess(audit.events, delta),
        lifetime=_cap("All releases ever", policy.lifetime.epsilon, policy, shops),
        periods=tuple(
            _cap(f"Any {period.days} days", period.epsilon, policy, shops)
            for period in policy.periods
        ),
        filter=policy.filter().name,
        serving=policy.serving,
        servers=policy.servers,
        promised=audit.promised,
        findings=len(audit.findings) + broken,
        bounds=tuple(bounds),
        rows=audit.rows,
        head=audit.head,
        key=key,
        receipts=receipts,
        date=date,
    )


def _plans(audit: LedgerAudit, shops: int) -> list[Line]:
    """A line for each kind of plan, the most frequent first; of many, the rest has one."""
    kinds = Counter(job.plan for job in audit.jobs).most_common()
    if len(kinds) <= _MOST_PLANS:
        return [_plan(plan, times, shops) for plan, times in kinds]
    lines = [_plan(plan, times, shops) for plan, times in kinds[: _MOST_PLANS - 1]]
    rest = [(_plan(plan, times, shops), times) for plan, times in kinds[_MOST_PLANS - 1 :]]
    dearest = max((line for line, _ in rest), key=lambda line: line.epsilon or math.inf)
    what = f"{sum(times for _, times in rest)} plans of other kinds, each at most"
    return [*lines, dearest.model_copy(update={"what": what})]


def _plan(plan: PrivacyPlan, times: int, shops: int) -> Line:
    solver = plan.releases[0].step.partition(".")[0]
    which = "One plan" if times == 1 else f"Each of {times} plans"
    what = f"{which} of solver {solver}, {len(plan.releases)} releases"
    return _line(what, [event_of(release) for release in plan.releases], plan.delta, shops)


def _line(what: str, events: Sequence[Event], delta: float, shops: int) -> Line:
    """ε by PLD; for m clients, of m times the events, or of m times their sensitivity.

    Where the samplers' distance to a Gaussian would take too much of δ, by concentrated DP, else
    by basic composition; nothing composes where all m clients are in one sum.
    """
    one = _finite(epsilon(events, delta) if delta else math.inf)
    several, several_delta, how = one, delta, ACCOUNTANT
    if one is not None and shops > 1:
        found, how = shops_epsilon(events, shops, delta)
        several = _finite(found)
        together = any(isinstance(event, DistributedDiscreteGaussianEvent) for event in events)
        if several is None and not together:
            several, several_delta = shops * one, shops * delta
    return Line(
        what=what,
        epsilon=one,
        delta=delta,
        shops_epsilon=several,
        shops_delta=several_delta,
        how=ACCOUNTANT,
        shops_how=how,
    )


def _cap(what: str, cap: float, policy: Policy, shops: int) -> Line:
    """A cap; m of them by basic composition, which needs to know nothing about the releases.

    It does need m releases: a cap on a sum of all m clients says nothing of who is in it m
    times.
    """
    delta = policy.lifetime.delta
    together = shops > 1 and "distributed" in policy.modes
    return Line(
        what=what,
        epsilon=cap,
        delta=delta,
        shops_epsilon=None if together else shops * cap,
        shops_delta=shops * delta,
        how=policy.filter().name,
    )


def _terms(audit: LedgerAudit) -> tuple[Terms, ...]:
    found = (job.plan.terms for job in audit.jobs)
    return tuple(dict.fromkeys(terms for terms in found if terms is not None))


def _guess(events: Sequence[Event], delta: float) -> tuple[float, float | None] | None:
    found = _finite(epsilon(events, delta)) if events else None
    if found is None:
        return None
    plain = all(isinstance(e, NoisySumEvent) and e.sampling_rate == 1 for e in events)
    try:
        gaussian = float(ndtr(gaussian_mu(found, delta) / 2)) if plain else None
    except PlanError:  # beyond what makes sense
        gaussian = None
    return min((1 + delta * math.exp(-found)) / (1 + math.exp(-found)), 1.0), gaussian


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

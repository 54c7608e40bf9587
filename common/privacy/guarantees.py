"""What an admitted plan of secure sums promises, as its ledger says it: derived, and checked.

The figures follow from the plan. They stand in the row so that whoever reads the ledger sees
what was promised, and against whom, without computing; an audit holds them to the plan. They
are of every step summed once: a session that failed after its words left is charged as one
more release, by a row of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field

from common.config import Settings
from common.errors import ConfigError
from common.privacy.accounting import ACCOUNTANT, epsilon, for_shops
from common.privacy.concentrated import CONCENTRATED, epsilon_by_concentration
from common.privacy.events import Event, event_of
from common.privacy.plan import PrivacyPlan

__all__ = [
    "Against",
    "AgainstWhom",
    "guarantee_fault",
    "guarantees_for",
    "shops_epsilon",
]

_LEEWAY: Final = 1e-3
"""Part by which two computations of one ε may differ: less than any rounding shown."""


class Against(Settings):
    """Whom a guarantee holds against: the server, and colluders together with it."""

    server: bool
    """The server, active within the protocol that clients check."""
    colluders: int = Field(gt=0)
    """c: clients that may collude with it."""
    clients: int = Field(gt=0)
    """n: clients on the roster."""
    threshold: int = Field(gt=0)
    """t: fewest clients of which a total is made."""


class AgainstWhom(Settings):
    """ε and δ of a whole plan for a user of `shops` clients, and against whom."""

    shops: int = Field(gt=0)
    """m: clients that the person is a user of."""
    epsilon: float | None
    """ε; None if none is finite."""
    delta: float = Field(gt=0, lt=1)
    """δ."""
    accountant: str
    """How ε was computed."""
    against: Against
    """Whom it holds against."""


def shops_epsilon(events: Sequence[Event], shops: int, delta: float) -> tuple[float, str]:
    """ε for a user of `shops` clients that release alike, and by which accountant.

    By PLD, or by concentrated DP where the samplers' distance to a Gaussian would take too much
    of δ: it grows with e^ε. Infinite if neither shows any.
    """
    several = for_shops(events, shops)
    found = epsilon(several, delta)
    if math.isfinite(found):
        return found, ACCOUNTANT
    return epsilon_by_concentration(several, delta), CONCENTRATED


def guarantees_for(plan: PrivacyPlan, shops: int) -> list[AgainstWhom]:
    """What `plan` promises a user of one client, and one of `shops`; nothing in other modes.

    One sum moves by up to m clips of a user of m clients: the second ε is that of m times the
    sensitivity, not that of m releases.
    """
    terms = plan.terms
    if terms is None:
        return []
    events = [event_of(release) for release in plan.releases]
    against = Against(
        server=True,
        colluders=terms.colluders,
        clients=terms.clients,
        threshold=terms.threshold,
    )
    found = []
    for m in sorted({1, shops}):
        value, accountant = shops_epsilon(events, m, plan.delta)
        found.append(
            AgainstWhom(
                shops=m,
                epsilon=value if math.isfinite(value) else None,
                delta=plan.delta,
                accountant=accountant,
                against=against,
            )
        )
    return found


def guarantee_fault(plan: PrivacyPlan, recorded: Any) -> str | None:
    """What is wrong with the guarantees that a row records beside `plan`, None if nothing is.

    The figures for m = 1 and for one m more at most must be there, and fit the plan.
    """
    if plan.terms is None:
        return None
    try:
        given = [AgainstWhom.load(one, where="guarantees") for one in recorded]
    except (ConfigError, TypeError, ValueError):
        return "does not say what it guarantees"
    expected = guarantees_for(plan, max((one.shops for one in given), default=1))
    if [one.shops for one in given] != [one.shops for one in expected]:
        return "does not say what it guarantees for m = 1 and one m more at most"
    for one, right in zip(given, expected, strict=True):
        if not _same(one, right):
            return (
                f"records ε = {_text(one.epsilon)} at δ = {one.delta:g} for m = {one.shops} "
                f"{_whom(one.against)}, its plan gives {_text(right.epsilon)} at δ = "
                f"{right.delta:g} {_whom(right.against)}"
            )
    return None


def _same(one: AgainstWhom, right: AgainstWhom) -> bool:
    if (one.delta, one.against) != (right.delta, right.against):
        return False
    if one.epsilon is None or right.epsilon is None:
        return one.epsilon == right.epsilon
    return math.isclose(one.epsilon, right.epsilon, rel_tol=_LEEWAY)


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _whom(against: Against) -> str:
    server = "the server and " if against.server else ""
    n, t, c = against.clients, against.threshold, against.colluders
    return f"against {server}{c} of {n} clients, t = {t}"

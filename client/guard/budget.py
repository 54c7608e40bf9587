"""The budget: what is in force in a client's ledger, held to every cap of its policy.

In force is every reservation, spent or not, and what open jobs still hold of their admitted
plans. The lifetime counts all of it; a period counts reservations of its last days, and
whatever may still be reserved, since that would be in them too.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Self

from client.ledger_store import LedgerStore
from common.errors import Code, PolicyError
from common.privacy.events import Event
from common.privacy.filters import Cap, Cost, Filter
from common.privacy.ledger_index import event_text
from common.privacy.policy import Period, Policy
from common.privacy.spending import cost_of

__all__ = ["Budget", "BudgetError", "Window"]


class BudgetError(PolicyError):
    """A cap that would be exceeded.

    Attributes:
        would_be: what a `refuse` row says about it: `filter`, `epsilon_now`,
            `epsilon_then` (null where no ε is finite), `cap`, `window`, and `bound`: which of
            the filter's two failed, `divergence`, or `distance` of the samplers.
    """

    would_be: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Window:
    """One cap, and what counts towards it.

    Attributes:
        filter: the filter that holds the cap.
        period: which period, None for the lifetime.
        events: what is in force in it, by canonical JSON, with how often.
    """

    filter: Filter
    period: Period | None
    events: Mapping[str, int]

    @property
    def name(self) -> str:
        """The window in words."""
        return "lifetime" if self.period is None else f"any {self.period.days} days"

    @property
    def cap(self) -> Cap:
        """The most that it may cost."""
        return self.filter.cap

    @functools.cached_property
    def cost(self) -> Cost:
        """What everything in force takes, the same in whatever order it came."""
        return cost_of(self.filter, self.events)

    @property
    def epsilon(self) -> float:
        """ε by the filter at the cap's δ; infinite where none holds."""
        return self.filter.epsilon(self.cost)

    @property
    def holds(self) -> bool:
        """Whether the cap is kept."""
        return self.filter.admits(self.cost)

    def after(self, events: Iterable[Event]) -> Self:
        """The window with `events` in force as well."""
        added = Counter(event_text(event.model_dump(mode="json")) for event in events)
        return replace(self, events=Counter(self.events) + added)


@dataclass(frozen=True)
class Budget:
    """All caps of a policy over one ledger, as of one moment.

    Attributes:
        policy: whose caps.
        windows: the lifetime first, then the periods.
    """

    policy: Policy
    windows: tuple[Window, ...]

    @classmethod
    def read(cls, ledger: LedgerStore, policy: Policy, today: date) -> Self:
        """What is in force; inside a transaction nobody can add to it meanwhile.

        Args:
            ledger: whose reservations and pledges.
            policy: whose caps.
            today: last day (UTC) of the periods, unless the ledger's last row is later.

        Raises:
            LedgerError: `ledger-broken`, an event cannot be read.
        """
        day, pledged = ledger.day(today), ledger.pledged()
        return cls(
            policy,
            tuple(
                Window(policy.filter(period), period, _reserved(ledger, period, day) + pledged)
                for period in (None, *policy.periods)
            ),
        )

    def after(self, events: Iterable[Event]) -> Self:
        """The budget with `events` in force as well; nothing is written."""
        added = list(events)
        return replace(self, windows=tuple(window.after(added) for window in self.windows))

    def hold(self, before: Budget | None = None) -> None:
        """Hold every cap as it is.

        Args:
            before: what was in force before that which is to be judged, for the message.

        Raises:
            BudgetError: `budget-lifetime` or `budget-period`.
        """
        earlier = self if before is None else before
        for window, was in zip(self.windows, earlier.windows, strict=True):
            if not window.holds:
                raise _exceeded(was, window, self.policy)


def _reserved(ledger: LedgerStore, period: Period | None, day: date) -> Counter[str]:
    if period is None:
        return ledger.reserved()
    return ledger.reserved(since=day - timedelta(days=period.days - 1))


def _exceeded(was: Window, window: Window, policy: Policy) -> BudgetError:
    filter_, cap, period = window.filter, window.cap, window.period
    diverges = window.cost.divergence > filter_.bound
    error = BudgetError(
        Code.BUDGET_LIFETIME if period is None else Code.BUDGET_PERIOD,
        f"{_epsilons(was, window) if diverges else _distances(was, window)} "
        f"(δ = {cap.delta:g}, unit {policy.unit}, {filter_.name})",
    )
    error.would_be = {
        "filter": filter_.name,
        "epsilon_now": _finite(was.epsilon),
        "epsilon_then": _finite(window.epsilon),
        "cap": {"epsilon": cap.epsilon, "delta": cap.delta},
        "window": window.name,
        "bound": "divergence" if diverges else "distance",
    }
    return error


def _epsilons(was: Window, window: Window) -> str:
    now, then, cap = was.epsilon, window.epsilon, window.cap.epsilon
    digits = _digits(then, cap)
    return (
        f"it would bring ε from {_number(now, digits)} to {_number(then, digits)}, "
        f"the {_cap_name(window)} is {_number(cap, digits)}"
    )


def _distances(was: Window, window: Window) -> str:
    """In shares of what is set aside: an ε would look as if there were room."""
    most = window.filter.distance_bound
    now, then = was.cost.distance / most, window.cost.distance / most
    digits = _digits(then, 1.0)
    return (
        "the samplers' distance to a Gaussian would take the part of δ that is set aside for "
        f"it from {_number(now, digits)} to {_number(then, digits)} times; at an ε of "
        f"{window.cap.epsilon:.2f}, the {_cap_name(window)}, that part is small: a lower cap "
        "admits more"
    )


def _cap_name(window: Window) -> str:
    return "lifetime cap" if window.period is None else f"cap of {window.name}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "∞"


def _digits(then: float, cap: float) -> int:
    """Two decimals, or as many as show on which side of the cap it is."""
    if not math.isfinite(then):
        return 2
    return next((d for d in range(2, 9) if f"{then:.{d}f}" != f"{cap:.{d}f}"), 9)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""What a ledger's rows add up to."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from common.errors import Code, LedgerError
from common.privacy.accounting import Guarantee, epsilon
from common.privacy.events import Event, read_event
from common.privacy.filters import Cost, Filter
from common.privacy.ledger import Row, charges
from common.privacy.plan import Mode
from common.privacy.roster import Terms

__all__ = ["cost_of", "events_in_force", "spent"]

_WEAK_FIRST: Final[tuple[Mode, ...]] = ("none", "distributed")
_REMEMBERED: Final = 1 << 17
"""Kinds of events whose cost a filter remembers: few where jobs repeat, many where a server
plays."""


def cost_of(chosen: Filter, counts: Mapping[str, int]) -> Cost:
    """What a filter charges for counted events, each in its stored JSON form.

    Raises:
        LedgerError: `ledger-broken`, an event cannot be read, or a count is below zero.
    """
    known = _known(chosen)
    if len(known) > _REMEMBERED:
        known.clear()
    for text in counts.keys() - known.keys():
        known[text] = chosen.cost(_read(text))
    costs = [known[text].times(count) for text, count in counts.items()]
    return Cost(math.fsum(c.divergence for c in costs), math.fsum(c.distance for c in costs))


def events_in_force(rows: Sequence[Row]) -> list[Event]:
    """Events of every reservation, with or without its bytes: nothing gives budget back.

    Raises:
        LedgerError: `ledger-broken`, an event cannot be read.
    """
    return [read_event(values) for values in charges(rows)]


def spent(rows: Sequence[Row], delta: float) -> Guarantee:
    """What all reservations together have cost at `delta`, as if fixed in advance.

    Unit and mode are the weakest of the admitted plans: `none`, else `distributed`, which
    fewer adversaries are kept from than `local`. Terms of secure sums are said where all of
    those plans have the same ones, else the fewest colluders alone: that t of n are in every
    sum is true of each plan by itself. One release whose noise a seed decided leaves no
    guarantee. More than one plan, or a step reserved twice, is marked:
    what came later may have depended on what was seen before.

    Raises:
        LedgerError: `ledger-broken`, an event cannot be read.
    """
    plans = [row.body["plan"] for row in rows if row.kind == "admit"]
    units = {plan["unit"] for plan in plans}
    reserved = [row for row in rows if row.kind == "reserve"]
    terms = _all_terms(plans)
    return Guarantee(
        epsilon=epsilon(events_in_force(rows), delta),
        delta=delta,
        unit="interaction" if "interaction" in units else "user",
        mode=_weakest({plan["mode"] for plan in plans}),
        reproducible_noise=any(row.body.get("reproducible") for row in reserved),
        as_if_fixed=len(plans) > 1 or _repeats(reserved),
        terms=next(iter(terms)) if len(terms) == 1 else None,
        colluders=min((one.colluders for one in terms), default=None),
    )


def _weakest(modes: Set[Mode]) -> Mode:
    """The mode that keeps the fewest away."""
    return next((mode for mode in _WEAK_FIRST if mode in modes), "local")


def _all_terms(plans: Sequence[Mapping[str, Any]]) -> set[Terms]:
    """Terms of all secure sums, each once."""
    shares = [release.get("shares") for plan in plans for release in plan.get("releases", ())]
    return {Terms(s["clients"], s["threshold"], s["colluders"]) for s in shares if s}


def _repeats(reserved: Sequence[Row]) -> bool:
    keys = [tuple(row.body.get(name) for name in ("job_id", "step")) for row in reserved]
    return len(set(keys)) < len(keys)


@functools.lru_cache(maxsize=16)
def _known(chosen: Filter) -> dict[str, Cost]:  # noqa: ARG001
    """Costs under one filter so far."""
    return {}


def _read(text: str) -> Event:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise LedgerError(Code.LEDGER_BROKEN, "an event is not a JSON object.", where="ledger")
    return read_event(values)

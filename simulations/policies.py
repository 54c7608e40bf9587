"""The policy of a simulated client: what its run asks for, and no more."""

from __future__ import annotations

import math
from typing import Any, Final

from common.config import toml_lines
from common.job import Job
from common.privacy.events import event_of
from common.privacy.filters import Cap, Cost, make_filter
from common.privacy.plan import PrivacyPlan
from common.privacy.policy import Policy
from common.privacy.roster import Roster
from common.schedule import schedule_of

__all__ = ["policy_for", "policy_toml", "roster_toml"]

_NO_PLAN: Final = Cap(epsilon=0.01, delta=1e-9)
"""Cap in mode `none`, which no cap can hold: next to nothing may be released privately."""
_TABLES: Final = ("roster",)
"""What has a line for each of its keys."""


def policy_for(
    job: Job, roster: Roster | None = None, *, lifetime_epsilon: float | None = None
) -> Policy:
    """A policy that admits `job` and nothing beside it.

    Args:
        job: what the run asks every client for.
        roster: whom the client sums securely with, where it does.
        lifetime_epsilon: the lifetime cap; None for what the job's plan takes with its dearest
            release once more, rounded up to two decimals: a client that dies between
            computing and sending is charged for the release again.

    Raises:
        ConfigError: no policy can say that.
        PlanError: no plan meets what the job asks for.
    """
    values: dict[str, Any] = {
        "lifetime": _cap(job, lifetime_epsilon),
        "unit": job.unit,
        "renyi_order": job.renyi_order,
        "modes": (job.mode,),
        "solvers": (job.solver,),
        "servers": () if job.server is None else (job.server,),
    }
    if roster is not None and job.colluders is not None:
        values |= {"roster": dict(roster.keys), "colluders": job.colluders}
    return Policy.load(values, where="lifetime_epsilon")


def policy_toml(policy: Policy) -> str:
    """What `policy.toml` says: `policy`, without what has its default value."""
    values = policy.model_dump(mode="json", exclude_defaults=True)
    tables = {name: values.pop(name) for name in _TABLES if name in values}
    return toml_lines(values) + "".join(f"\n[{key}]\n{toml_lines(t)}" for key, t in tables.items())


def roster_toml(roster: Roster) -> str:
    """What the server's `roster.toml` says: the table that stands in every policy."""
    return f"[roster]\n{toml_lines(roster.keys)}"


def _cap(job: Job, lifetime_epsilon: float | None) -> Cap:
    if job.epsilon is None:
        return _NO_PLAN
    if lifetime_epsilon is not None:
        return Cap(epsilon=lifetime_epsilon, delta=job.delta)
    return _with_one_repeat(schedule_of(job).plan, job.epsilon, job.renyi_order)


def _with_one_repeat(plan: PrivacyPlan, epsilon: float, order: int | None) -> Cap:
    """The cap of the plan's ε, or more if one release more needs it and there is such a cap."""
    chosen = make_filter(Cap(epsilon=epsilon, delta=plan.delta), order)
    costs = [chosen.cost(event_of(release)) for release in plan.releases]
    dearest = Cost(max(c.divergence for c in costs), max(c.distance for c in costs))
    total = sum(costs, start=dearest)
    found = chosen.epsilon(total)
    if not math.isfinite(found):  # the samplers' distance leaves no room: one death is too many
        return chosen.cap
    hundredths = max(math.ceil(found * 100), math.ceil(epsilon * 100))
    larger = Cap(epsilon=hundredths / 100, delta=plan.delta)
    return larger if make_filter(larger, order).admits(total) else chosen.cap

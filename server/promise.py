"""What a manifest says about privacy: the guarantee of all that was released for it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common.privacy.accounting import Guarantee
from common.privacy.events import event_of
from common.privacy.guarantees import shops_epsilon
from common.privacy.plan import PrivacyPlan
from common.privacy.planner import guarantee_of

__all__ = ["privacy_of"]


def privacy_of(plan: PrivacyPlan, charged: Sequence[int], *, private: bool) -> dict[str, Any]:
    """The guarantee at each client, with everything that belongs to an ε.

    Args:
        plan: of the job.
        charged: how often each step was charged, from the first; once where it says nothing.
        private: whether all noise was secret.

    Guarantee:
        ε is that of the whole plan, and of every step as often as a client was charged for it:
        a secure sum that fails after words were sent is a release all the same, since a server
        may keep its total and call it failed.
    """
    times = [max(1, count) for count in charged] + [1] * (len(plan.releases) - len(charged))
    guarantee = replace(_guarantee(plan, tuple(times)), reproducible_noise=not private)
    found = {
        "mode": plan.mode,
        "unit": plan.unit,
        "neighbouring": guarantee.neighbouring,
        "accountant": guarantee.accountant,
        "delta": plan.delta,
        "epsilon": guarantee.epsilon if guarantee.holds else None,
        "guarantee": str(guarantee),
        "releases": [release.model_dump(mode="json") for release in plan.releases],
    }
    return found if guarantee.terms is None else {**found, "charged": list(charged)}


@functools.lru_cache(maxsize=8)
def _guarantee(plan: PrivacyPlan, times: tuple[int, ...]) -> Guarantee:
    """Composed once: a long job writes hundreds of manifests."""
    planned = guarantee_of(plan)
    if max(times) <= 1:
        return planned
    pairs = zip(plan.releases, times, strict=True)
    events = [event_of(release) for release, count in pairs for _ in range(count)]
    epsilon, accountant = shops_epsilon(events, 1, plan.delta)
    return replace(planned, epsilon=epsilon, accountant=accountant, as_if_fixed=True)

"""The part about secure sums: the noise in each total, and shoppers of several shops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from common.job import Job
from common.pages.markup import Markup, element, join
from common.pages.numbers import count, epsilon_text
from common.privacy.events import event_of
from common.privacy.guarantees import shops_epsilon
from common.privacy.plan import PrivacyPlan
from common.schedule import schedule_of
from server.record import RoundRecord
from simulations.report.data import Guarantee
from simulations.report.numbers import ratio
from simulations.report.prose import qualified_epsilon, qualifier
from simulations.report.sums_data import SecureSums, ShopsEpsilon, SumNoise, SumTerms
from simulations.report.tables import Row, table

__all__ = ["read_sums", "sums_part", "terms_of"]

_SHOPS: Final = (1, 2, 3, 5)
"""Numbers of shops of one shopper that the page speaks of."""


def terms_of(job: Job) -> SumTerms | None:
    """How many clients answer and may collude; None where nothing is summed securely."""
    terms = job.terms
    if terms is None:
        return None
    return SumTerms(clients=terms.clients, threshold=terms.threshold, colluders=terms.colluders)


def read_sums(job: Job, rounds: Sequence[RoundRecord]) -> SecureSums | None:
    """What the page says of secure sums; None where there are none."""
    terms = job.terms
    if terms is None:
        return None
    plan = schedule_of(job).plan
    releases = {release.step: release for release in plan.releases}
    noise = tuple(
        SumNoise(
            promised=releases[record.name].noise_multiplier,
            in_total=(record.noise_std or 0.0) / releases[record.name].clip_norm,
            clients=len(record.answered),
            sessions=len(record.sessions),
            signal_to_noise=record.signal_to_noise,
        )
        for record in rounds
    )
    by_shops = tuple(_for_shops(plan, m) for m in _SHOPS if m <= terms.clients)
    return SecureSums(by_shops=by_shops, noise=noise)


def _for_shops(plan: PrivacyPlan, shops: int) -> ShopsEpsilon:
    events = [event_of(release) for release in plan.releases]
    found, accountant = shops_epsilon(events, shops, plan.delta)
    finite = found if math.isfinite(found) else None
    return ShopsEpsilon(shops=shops, epsilon=finite, accountant=accountant)


def sums_part(sums: SecureSums, rounds: Sequence[str], guarantee: Guarantee) -> Markup:
    """Both tables, with the sentences that they need."""
    return join(
        [
            element("h3", "Shoppers of several shops"),
            element("p", _several(guarantee)) if guarantee.epsilon is not None else None,
            _shops_table(sums, guarantee),
            element("h3", "Noise in the totals"),
            element(
                "p",
                "What is promised counts the noise of the fewest honest clients that a total may "
                "have. Every client in a total adds its share, so there is at least as much.",
            ),
            _noise_table(sums, rounds),
        ]
    )


def _several(guarantee: Guarantee) -> str:
    return (
        f"The plan promises {qualified_epsilon(guarantee)} for somebody who shops at one of the "
        "clients. Who shops at m of them moves the same total m times as far, for which the "
        "guarantee is that of a sensitivity of m: weaker than m budgets added up."
    )


def _shops_table(sums: SecureSums, guarantee: Guarantee) -> Markup:
    rows = [Row(count(one.shops), (_text(one.epsilon), one.accountant)) for one in sums.by_shops]
    caption = (
        f"ε of the plan by number of shops of one shopper; {qualifier(guarantee)}, or the one "
        "that the row names"
    )
    return table(caption, ["Shops, m", "ε", "By"], rows)


def _text(epsilon: float | None) -> str:
    return "∞" if epsilon is None else epsilon_text(epsilon)


def _noise_table(sums: SecureSums, rounds: Sequence[str]) -> Markup:
    rows = [
        Row(
            name,
            (
                ratio(one.promised),
                ratio(one.in_total),
                count(one.clients),
                count(one.sessions),
                "–" if one.signal_to_noise is None else ratio(one.signal_to_noise, 2),
            ),
        )
        for name, one in zip(rounds, sums.noise, strict=True)
    ]
    caption = (
        "Standard deviation of the noise on each entry, in units of the largest contribution of "
        "one user, and what was estimated of the signal"
    )
    columns = ["Round", "Promised", "In the total", "Clients in it", "Sessions", "Signal to noise"]
    return table(caption, columns, rows)

"""The section about privacy: the promise in words, what each client spent, what audits found."""

from __future__ import annotations

from simulations.report.budgets import audit_part, budget_part
from simulations.report.charts import round_lines
from simulations.report.data import ReportData
from simulations.report.layout import figure, pair, section
from simulations.report.markup import Markup, element, join
from simulations.report.numbers import epsilon_text
from simulations.report.prose import (
    guarantee_paragraphs,
    not_promised,
    qualifier,
    who_is_trusted,
)
from simulations.report.sums import sums_part
from simulations.report.tables import Row, table

__all__ = ["privacy_section"]

_MOST_COLUMNS = 8
"""Rounds that the table shows; the picture shows all of them."""


def privacy_section(data: ReportData) -> Markup:
    """Guarantee, trust, spend by round, and what is not promised."""
    paragraphs = guarantee_paragraphs(data.guarantee, seeded_noise=data.seeded_noise)
    return section(
        "privacy",
        "The guarantee",
        *(element("p", words) for words in paragraphs),
        element("h3", "Who is trusted"),
        element("p", who_is_trusted(data.guarantee)),
        element("h3", "What is not promised"),
        element("ul", *(element("li", words) for words in not_promised(data)), class_="plain"),
        sums_part(data.sums, data.rounds, data.guarantee) if data.sums is not None else None,
        _spend(data) if data.spend else None,
        budget_part(data.budgets, data.guarantee.mode) if data.budgets else None,
        audit_part(data.audit, data.guarantee),
    )


def _spend(data: ReportData) -> Markup:
    ends = [client.epsilon[-1] for client in data.spend]
    unit = qualifier(data.guarantee)
    words = (
        f"Cumulative ε of {len(ends)} clients over {len(data.rounds)} rounds; after the last one "
        f"from {epsilon_text(min(ends))} to {epsilon_text(max(ends))}; {unit}."
    )
    picture = round_lines(
        "epsilon", "Privacy spent by round", words, data.rounds, [c.epsilon for c in data.spend]
    )
    chart = figure(picture, "ε by round, cumulative", f"{len(ends)} clients; {unit}.")
    return join(
        [
            element("h3", "Privacy spent by round"),
            pair(chart, _spend_table(data, unit)),
            _all_clients(data, unit),
        ]
    )


def _shown(rounds: int) -> list[int]:
    """Which rounds a table shows: all of a few, else the last and some before it."""
    if rounds <= _MOST_COLUMNS:
        return list(range(rounds))
    every = -(-rounds // _MOST_COLUMNS)
    return [k for k in range(rounds) if (rounds - 1 - k) % every == 0]


def _spend_table(data: ReportData, unit: str) -> Markup:
    columns = list(zip(*(client.epsilon for client in data.spend), strict=True))
    rows = [
        Row(data.rounds[k], (epsilon_text(min(columns[k])), epsilon_text(max(columns[k]))))
        for k in _shown(len(data.rounds))
    ]
    caption = f"Cumulative ε over clients; {unit}"
    return table(caption, ["After round", "Lowest client", "Highest client"], rows)


def _all_clients(data: ReportData, unit: str) -> Markup:
    shown = _shown(len(data.rounds))
    rows = [Row(c.client, tuple(epsilon_text(c.epsilon[k]) for k in shown)) for c in data.spend]
    full = table(
        f"Cumulative ε of each client after each round; {unit}",
        ["Client", *(data.rounds[k] for k in shown)],
        rows,
    )
    return element("details", element("summary", f"All {len(rows)} clients, round by round"), full)

"""The sections of an audit's page: one for each layer that can fail on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from client.budget_view import Part, WindowView
from common.audit.recompute import CLOSED, PLD, PRV, Recomputed
from common.pages.markup import Markup, element
from common.pages.numbers import big, count, epsilon_text
from simulations.audit.honest import alone_words
from simulations.audit.pictures import bounds_picture, budget_picture
from simulations.audit.run import RunAudit
from simulations.report.layout import NOT_PRIVATE, figure, section
from simulations.report.tables import Row, table

__all__ = [
    "attack_sections",
    "budget_section",
    "epsilon_section",
    "ledger_section",
    "limits_section",
    "model_section",
]

_MOST_ROWS: Final = 12
_LIMITS: Final = (
    "An attack that fails proves nothing: each is shown with what it could have seen at best.",
    "Attacks train on shadow data with the run's settings: they attack the code, not the data.",
    "A ledger without a later head that somebody else holds is not shown to be complete.",
    "Timing and other side channels, and what a client's computer does beside this program.",
    "That a client really drew its noise: only its own code does, which the attacks look at.",
)


def ledger_section(audit: RunAudit) -> Markup:
    """Chains, signatures, receipts."""
    rows = [
        Row(
            client.name,
            (
                count(client.verdict.rows),
                count(client.verdict.receipts),
                "–" if client.verdict.shown_up_to is None else count(client.verdict.shown_up_to),
                element("td", element("code", client.verdict.head.hash[:16]), class_="w"),
                element("td", client.verdict.complete, class_="w"),
            ),
        )
        for client in audit.clients
    ]
    columns = ["Client", "Rows", "Receipts", "Seen up to row", "Head", "Complete"]
    whole = sum(client.seen_whole for client in audit.clients)
    words = (
        "Exported to JSON Lines and read back with public keys alone: every row's hash and place, "
        "the head's signature, the server's receipts and what it remembers. "
        f"{count(whole)} of {count(len(rows))} ledgers are shown to be whole, up to their last "
        f"{'release' if audit.job.mode == 'distributed' else 'row'}."
    )
    caption = "What somebody outside can check of each ledger"
    return section(
        "ledgers", "Ledgers", element("p", words), _folded(table(caption, columns, rows), rows)
    )


def epsilon_section(audit: RunAudit) -> Markup:
    """ε by accountants that share no code."""
    found: dict[tuple[str, ...], list[str]] = {}
    for client in audit.clients:
        ledger = client.audited.ledger
        for job in ledger.jobs:
            released = f"{count(len(job.spent))} of {count(len(job.plan.releases))}"
            key = (f"job {job.job_id[:8]}", released, *_epsilons(job.recomputed))
            found.setdefault(key, []).append(client.name)
        key = ("all", count(len(ledger.events)), *_epsilons(ledger.total))
        found.setdefault(key, []).append(client.name)
    rows = [
        Row(f"{_named(names)}, {key[0]}", key[1:], chosen=key[0] == "all")
        for key, names in found.items()
    ]
    columns = ["Ledger", "Releases", "δ", "PLD", "PRV", "Closed form", "Agree"]
    caption = (
        f"ε from the events in the ledgers, unit {audit.job.unit} (add/remove one user), mode "
        f"{audit.job.mode}. {PLD}; {PRV}; {CLOSED} where nobody was sampled. A job's "
        "line is its whole plan; `all` is every reservation as if all plans had been fixed in "
        "advance."
    )
    words = (
        "Every reservation is what its admitted plan says, every plan costs no more than it was "
        "made for, and the accountants agree, or it is a finding."
    )
    return section("epsilon", "ε once more", element("p", words), table(caption, columns, rows))


def budget_section(audit: RunAudit) -> Markup:
    """Caps of the clients' own policies, and what counts towards them."""
    if not audit.clients:
        return section("budget", "Budgets", element("p", "No ledger could be read."))
    budgets = [client.budget for client in audit.clients]
    rows = [
        Row(f"{view.owner.settings.name}, {window.name}", _window(window))
        for view in budgets
        for window in view.windows
    ]
    columns = [
        "Client, window", "Cap ε", "In force", "Spent", "Never sent", "Held", "Left",
        "A plan that fits", "Refused",
    ]  # fmt: skip
    refused = [sum((view.refused or {}).values()) for view in budgets for _ in view.windows]
    rows = [
        Row(row.label, (*row.cells, count(number)))
        for row, number in zip(rows, refused, strict=True)
    ]
    window = budgets[0].windows[0]
    caption = (
        f"By the {window.filter}, δ = {big(window.delta)}, unit {budgets[0].owner.policy.unit} "
        "(add/remove one user). Shares of a cap add up as the filter does; ε does not."
    )
    words = "shares of each lifetime cap; of many clients those with the least left."
    return section(
        "budget",
        "Budgets",
        figure(budget_picture(budgets), "Budget of each client", words),
        _folded(table(caption, columns, rows), rows),
    )


def model_section(audit: RunAudit) -> Markup:
    """Artefacts against heads."""
    kinds = [one.manifest.kind for one in audit.artefacts]
    words = (
        f"{count(kinds.count('model'))} model and {count(kinds.count('checkpoint'))} checkpoints: "
        "each head that a manifest names is a row of that client's ledger, signed by its key; "
        "job, plan, and the steps released up to it agree with the ledger, or it is a finding."
    )
    return section("models", "Models and checkpoints", element("p", words))


def attack_sections(audit: RunAudit) -> list[Markup]:
    """What attacks showed, then those that have more to say."""
    if not audit.attacks:
        words = element("p", "None was asked for.")
        return [section("attacks", "Attacks", words)]
    rows = [
        Row(
            attack.title,
            (
                "–" if attack.bound is None else f"ε ≥ {attack.bound:.2f}",
                "–" if attack.promised is None else f"{attack.promised:.2f}",
                "–" if attack.ceiling is None else f"{attack.ceiling:.1f}",
                f"{attack.seconds:.0f} s",
                element("td", attack.words[:1].upper() + attack.words[1:], class_="w"),
            ),
        )
        for attack in audit.attacks
    ]
    columns = ["Attack", "Shown", "Promised", "Could have shown", "Time", "In words"]
    caption = "ε at each attack's own δ, 95% confidence, unit user (add/remove one user)"
    shown = any(attack.bound is not None for attack in audit.attacks)
    about = "the promise, the lower bound that was found, and the most that could have been."
    return [
        section(
            "attacks",
            "Attacks",
            NOT_PRIVATE,
            element("p", how) if (how := alone_words(audit.job)) else None,
            figure(bounds_picture(audit.attacks), "Bounds", about) if shown else None,
            table(caption, columns, rows),
        ),
        *(attack.section for attack in audit.attacks if attack.section is not None),
    ]


def limits_section() -> Markup:
    """What no audit of this kind can show."""
    items = (element("li", words) for words in _LIMITS)
    return section("limits", "What this audit cannot show", element("ul", *items, class_="plain"))


def _folded(found: Markup, rows: Sequence[Row]) -> Markup:
    """A long table behind a line that says how long."""
    if len(rows) <= _MOST_ROWS:
        return found
    return element("details", element("summary", f"All {count(len(rows))} lines"), found)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{count(len(names))} clients"


def _epsilons(found: Recomputed) -> tuple[str, ...]:
    values: Sequence[float | None] = (found.pld, found.prv, found.closed)
    return (big(found.delta), *map(_epsilon, values), "yes" if found.agrees else "NO")


def _window(window: WindowView) -> tuple[str, ...]:
    parts: Sequence[Part] = (window.spent, window.without_bytes, window.held)
    shares = (f"{p.share:.1%}" if math.isfinite(p.share) else "∞" for p in parts)
    fits = f"ε = {math.floor(window.left_epsilon * 100) / 100:.2f}"
    return (
        f"{window.cap:g}",
        _epsilon(window.in_force),
        *shares,
        f"{window.left:.1%}",
        fits,
    )


def _epsilon(value: float | None) -> str:
    if value is None:
        return "–"
    return epsilon_text(value) if math.isfinite(value) else "∞"

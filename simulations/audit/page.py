"""The audit as a page: verdict, findings, then every layer with its figures."""

from __future__ import annotations

from typing import Final

from common.pages.markup import Markup, element, join
from common.pages.numbers import big, count, epsilon_text
from simulations.audit.pictures import PICTURE_STYLE
from simulations.audit.run import RunAudit
from simulations.audit.sections import (
    attack_sections,
    budget_section,
    epsilon_section,
    ledger_section,
    limits_section,
    model_section,
)
from simulations.report.layout import section
from simulations.report.style import STYLE

__all__ = ["render_audit", "verdict_words"]

_CONTENTS: Final = (
    ("findings", "Findings"),
    ("ledgers", "Ledgers"),
    ("epsilon", "ε once more"),
    ("budget", "Budgets"),
    ("models", "Models"),
    ("attacks", "Attacks"),
    ("limits", "What it cannot show"),
)


def render_audit(audit: RunAudit) -> str:
    """HTML that needs no network, no script and no other file."""
    body = element(
        "body",
        element("a", "Skip to the findings", href="#findings", class_="skip"),
        _header(audit),
        _contents(),
        element(
            "main",
            _findings(audit),
            ledger_section(audit),
            epsilon_section(audit),
            budget_section(audit),
            model_section(audit),
            *attack_sections(audit),
            limits_section(),
        ),
        element("footer", f"HushRec audit of {audit.created}. One file, no network, no script."),
    )
    return "<!doctype html>\n" + element("html", _head(audit), body, lang="en") + "\n"


def verdict_words(audit: RunAudit) -> str:
    """The verdict in a sentence."""
    if audit.verdict == "broken":
        found = len(audit.findings)
        return f"{count(found)} {'promise is' if found == 1 else 'promises are'} broken."
    if audit.verdict == "nothing promised":
        return "Nothing is promised: no noise, or noise that a known seed decides."
    return "No broken promise was found."


def _head(audit: RunAudit) -> Markup:
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", f"Audit of {audit.folder.name} – HushRec"),
        element("style", Markup(STYLE + PICTURE_STYLE)),
    )


def _contents() -> Markup:
    links = (element("li", element("a", words, href=f"#{name}")) for name, words in _CONTENTS)
    return element("nav", element("ul", *links), aria_label="Contents")


def _header(audit: RunAudit) -> Markup:
    tried = f", and by {len(audit.attacks)} attacks on shadow data" if audit.attacks else ""
    warning = None
    if audit.verdict != "kept":
        words = element("p", element("strong", verdict_words(audit)))
        warning = element("div", words, class_="warn", role="note")
    return element(
        "header",
        element("p", f"HushRec audit, {audit.created}", class_="over"),
        element("h1", f"Audit of {audit.folder.name}"),
        element(
            "p",
            f"{verdict_words(audit)} {count(len(audit.clients))} clients, solver "
            f"{audit.job.solver}; checked from their own ledgers, by accountants that share no "
            f"code{tried}.",
            class_="lead",
        ),
        warning,
        element("dl", *_key_figures(audit), class_="key"),
    )


def _key_figures(audit: RunAudit) -> list[Markup]:
    totals = [client.audited.ledger.total for client in audit.clients]
    qualifier = f"{audit.job.unit} level, add/remove, {audit.job.mode} mode"
    figures = [("Findings", count(len(audit.findings)), "of all layers together")]
    finite = [total for total in totals if total.pld < float("inf")]
    if finite and audit.verdict != "nothing promised":
        worst = max(finite, key=lambda total: total.pld)
        figures.append(
            (
                "Largest ε of a client",
                epsilon_text(worst.pld),
                f"δ = {big(worst.delta)}, {qualifier}, PLD, as if fixed in advance",
            )
        )
    if audit.clients:
        window = min((c.budget.windows[0] for c in audit.clients), key=lambda one: one.left)
        figures.append(("Least left of a cap", f"{window.left:.0%}", f"cap ε = {window.cap:g}"))
    shown = [attack for attack in audit.attacks if attack.bound is not None]
    if shown:
        best = max(shown, key=lambda attack: attack.bound or 0.0)
        promised = "nothing" if best.promised is None else f"{best.promised:.2f}"
        figures.append(("Most that was shown", f"ε ≥ {best.bound:.2f}", f"of {promised} promised"))
    return [_figure(*figure) for figure in figures]


def _figure(label: str, value: str, small: str) -> Markup:
    words = join([element("span", value, class_="n"), element("span", small, class_="s")])
    return element("div", element("dt", label), element("dd", words))


def _findings(audit: RunAudit) -> Markup:
    items = [
        element("li", element("b", f"{one.layer}, {one.where}: "), one.what)
        for one in audit.findings
    ]
    listed = element("ul", *items, class_="plain") if items else element("p", "None.")
    return section("findings", "Findings", listed)

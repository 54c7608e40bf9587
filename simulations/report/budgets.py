"""What clients' own policies allow and have left, and what an audit of the run found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from client.budget_view import BudgetView, view_budget
from client.owner import owners
from common.config import read_json
from common.errors import HushRecError
from common.pages.markup import Markup, element, join
from common.pages.numbers import big, count, epsilon_text
from common.privacy.accounting import NEIGHBOURING
from common.privacy.plan import Mode
from simulations.report.data import AuditFigures, ClientBudget, Guarantee
from simulations.report.tables import Row, table

__all__ = ["audit_part", "budget_part", "read_audit", "read_budgets"]

_MOST_ROWS: Final = 12
_VERDICTS: Final = {
    "kept": "No broken promise was found.",
    "broken": "It found promises that are broken.",
    "nothing promised": "Nothing is promised that it could hold.",
}


def read_budgets(run: Path) -> tuple[ClientBudget, ...]:
    """The lifetime cap of every client of a run, from policies and ledgers.

    Raises:
        HushRecError: a policy or a ledger cannot be read.
    """
    today = datetime.now(UTC).date()
    return tuple(_budget(view_budget(owner, today)) for owner in owners(run))


def read_audit(run: Path) -> AuditFigures | None:
    """The last audit of a run, None without one or where its file cannot be read."""
    path = run / "audit" / "audit.json"
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return AuditFigures(
            created=found["created"],
            verdict=found["verdict"],
            findings=len(found["findings"]),
            attacks=tuple((one["name"], one["words"]) for one in found["bounds"]),
        )
    except (HushRecError, KeyError, TypeError, ValueError):
        return None


def budget_part(budgets: Sequence[ClientBudget], mode: Mode) -> Markup:
    """The caps, and what is left of them."""
    first = budgets[0]
    least = min(budgets, key=lambda one: one.left)
    words = (
        f"Each client holds a lifetime cap of its own, over all jobs and servers; the least that "
        f"is left is {least.left:.0%}, at {least.client}."
    )
    rows = [Row(one.client, _cells(one)) for one in budgets]
    columns = ["Client", "Cap ε", "In force", "Released", "Reserved", "Left", "Fits", "Refused"]
    caption = (
        f"ε by the {first.filter} at δ = {big(first.delta)}, user level ({NEIGHBOURING}), {mode} "
        "mode. Released, reserved and left are shares of the cap; `fits` is the ε of a plan that "
        "would still be admitted."
    )
    found = table(caption, columns, rows)
    if len(rows) > _MOST_ROWS:
        found = element("details", element("summary", f"All {count(len(rows))} budgets"), found)
    return join([element("h3", "Budgets"), element("p", words), found])


def audit_part(audit: AuditFigures | None, guarantee: Guarantee) -> Markup:
    """What an audit found, or how to have one."""
    heading = element("h3", "Audit")
    if audit is None:
        command = element("code", "hushrec audit DIR")
        return join([heading, element("p", "Not audited when this page was made: ", command, ".")])
    found = "" if audit.findings == 0 else f" Findings: {count(audit.findings)}."
    words = f"Audited on {audit.created}. {_VERDICTS.get(audit.verdict, audit.verdict)}{found} "
    terms = f" ({guarantee.unit} level, {guarantee.neighbouring}, {guarantee.mode} mode)"
    items = (
        element("li", element("b", f"{name}: "), sentence.rstrip("."), f"{terms}.")
        for name, sentence in audit.attacks
    )
    return join(
        [
            heading,
            element("p", words, "All of it: ", element("code", "audit/audit.html"), "."),
            element("ul", *items, class_="plain") if audit.attacks else None,
        ]
    )


def _budget(view: BudgetView) -> ClientBudget:
    window = view.windows[0]
    waiting = window.without_bytes.share + window.held.share
    return ClientBudget(
        client=view.owner.settings.name,
        cap=window.cap,
        delta=window.delta,
        filter=window.filter,
        in_force=_finite(window.in_force),
        spent=_finite(window.spent.share),
        reserved=_finite(waiting),
        left=window.left,
        left_epsilon=window.left_epsilon,
        refused=sum((view.refused or {}).values()),
    )


def _cells(one: ClientBudget) -> tuple[str, ...]:
    shares = ("∞" if share is None else f"{share:.1%}" for share in (one.spent, one.reserved))
    return (
        f"{one.cap:g}",
        "∞" if one.in_force is None else epsilon_text(one.in_force),
        *shares,
        f"{one.left:.1%}",
        f"{math.floor(one.left_epsilon * 100) / 100:.2f}",
        count(one.refused),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""The pictures of an audit: budgets as bars, bounds beside promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from client.budget_view import BudgetView, WindowView
from common.pages.markup import Markup, element
from common.pages.numbers import epsilon_text
from simulations.audit.attacks import Attack
from simulations.report.charts import DotRow, dot_rows
from simulations.report.data import Estimate
from simulations.report.svg import WIDTH, picture, text

__all__ = ["PICTURE_STYLE", "bounds_picture", "budget_picture"]

PICTURE_STYLE: Final = """
.s-spent{fill:var(--joint)}.s-unspent{fill:var(--alone)}.s-held{fill:var(--shop)}
.s-left{fill:var(--grid)}
#ledgers th,#ledgers td:nth-child(5),#attacks td:nth-child(2){white-space:nowrap}
#ledgers th:nth-last-child(-n+2),#attacks thead th:last-child{text-align:left}
"""
"""Beside the report's own style."""

_LABELS: Final = 96
_MOST: Final = 16
_PARTS: Final = (
    ("spent", "spent"),
    ("unspent", "reserved, never sent"),
    ("held", "held for open jobs"),
    ("left", "left"),
)


def budget_picture(budgets: Sequence[BudgetView]) -> Markup:
    """A bar for each client's lifetime cap, the fullest first: at most 16."""
    views = sorted(budgets, key=lambda view: view.windows[0].left)[:_MOST]
    described = "; ".join(_described(view) for view in views)
    parts: list[Markup] = []
    left, top = 4.0, 24.0
    for name, words in _PARTS:
        parts += [_rect(left, 4, 10, 10, name), text(left + 14, 13, words)]
        left += 24 + 5.7 * len(words)
    for k, view in enumerate(views):
        y = top + 18.0 * k
        parts.append(text(_LABELS - 8, y + 10, view.owner.settings.name[:15], anchor="end"))
        parts += _bar(view.windows[0], y)
    height = top + 18.0 * len(views) + 4
    return picture("budgets", "Budget of each client", described, height, *parts)


def bounds_picture(attacks: Sequence[Attack]) -> Markup:
    """What each attack showed beside what was promised and what it could have shown."""
    rows = tuple(
        DotRow(label=attack.name, points=tuple(_points(attack)))
        for attack in attacks
        if attack.bound is not None
    )
    words = "; ".join(f"{a.title}: {a.words}" for a in attacks if a.bound is not None)
    names = {
        "shop": "shown: ε is at least this",
        "joint": "promised",
        "alone": "could have been shown",
    }
    return dot_rows("bounds", "Lower bounds on ε", words, rows, names=names)


def _points(attack: Attack) -> list[tuple[str, Estimate]]:
    values = (("shop", attack.bound), ("joint", attack.promised), ("alone", attack.ceiling))
    return [
        (kind, Estimate(mean=value, low=value, high=value))
        for kind, value in values
        if value is not None and math.isfinite(value)
    ]


def _bar(window: WindowView, y: float) -> list[Markup]:
    """Shares of the cap: they add up to one, unless something left without a mechanism."""
    parts = (window.spent, window.without_bytes, window.held)
    shares = [part.share if math.isfinite(part.share) else 1.0 for part in parts]
    wide, x = WIDTH - _LABELS - 4.0, float(_LABELS)
    drawn = []
    for (name, _), share in zip(_PARTS, [*shares, max(1.0 - sum(shares), 0.0)], strict=True):
        length = min(share * wide, WIDTH - 4.0 - x)
        if length > 0:
            drawn.append(_rect(x, y, length, 13, name))
        x += max(length, 0.0)
    return drawn


def _rect(x: float, y: float, width: float, height: float, name: str) -> Markup:
    return element("rect", x=x, y=y, width=width, height=height, class_=f"s-{name}")


def _described(view: BudgetView) -> str:
    window = view.windows[0]
    spent = epsilon_text(window.in_force) if math.isfinite(window.in_force) else "no finite ε"
    return f"{view.owner.settings.name}: {spent} of {window.cap:g}, {window.left:.0%} left"

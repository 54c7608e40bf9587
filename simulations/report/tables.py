"""Tables with captions and headers that a screen reader can follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulations.report.data import Estimate
from simulations.report.markup import Child, Markup, element
from simulations.report.numbers import interval, ratio, signed

__all__ = ["Row", "estimate_cell", "gain_cell", "pairs_table", "table"]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: its header.
        cells: the rest, text or made by `estimate_cell`.
        chosen: whether it stands out.
    """

    label: str
    cells: tuple[Child, ...]
    chosen: bool = False


def table(caption: Child, columns: Sequence[str], rows: Sequence[Row]) -> Markup:
    """A table that scrolls by itself where it is too wide.

    Args:
        caption: what it shows; text or markup.
        columns: headers, the first of them over the labels.
        rows: from top to bottom.
    """
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    body = [
        element(
            "tr",
            element("th", row.label, scope="row"),
            *(_cell(cell) for cell in row.cells),
            class_="chosen" if row.chosen else None,
        )
        for row in rows
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", element("span", caption)),
            element("thead", head),
            element("tbody", *body),
        ),
        class_="scroll",
        role="region",
        tabindex="0",
        aria_label=f"Table: {', '.join(columns)}",
    )


def pairs_table(
    caption: Child, columns: tuple[str, str], pairs: Sequence[tuple[str, str]]
) -> Markup:
    """Names and words: settings, versions, seeds."""
    rows = [
        element("tr", element("th", name, scope="row"), element("td", words, class_="w"))
        for name, words in pairs
    ]
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    return element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *rows),
        class_="words",
    )


def estimate_cell(value: Estimate | None, digits: int = 3) -> Markup:
    """The mean over its interval; a dash for what was not computed."""
    if value is None:
        return element("td", "–")
    if value.low == value.high:
        return element("td", ratio(value.mean, digits))
    return element(
        "td", ratio(value.mean, digits), element("span", interval(value, dash=True), class_="ci")
    )


def gain_cell(value: Estimate, kind: str) -> Markup:
    """A gain with its sign and interval, coloured by its verdict."""
    return element(
        "td",
        element("b", signed(value.mean), class_=kind),
        element("span", interval(value, sign=True), class_="ci"),
    )


def _cell(cell: Child) -> Child:
    if isinstance(cell, Markup) and cell.startswith("<td"):
        return cell
    return element("td", cell)

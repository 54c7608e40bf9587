"""Pieces that every section is laid out with."""

from __future__ import annotations

from typing import Final

from simulations.report.markup import Child, Markup, element

__all__ = ["NOT_PRIVATE", "figure", "pair", "section"]

NOT_PRIVATE: Final = element(
    "p",
    element("strong", "Exact simulation figures: not a private release", class_="not-private"),
)
"""Heads everything that was computed from all the data."""


def section(name: str, heading: str, *children: Child) -> Markup:
    """A section that the contents can point at."""
    title = element("h2", heading, id=f"{name}-heading")
    return element("section", title, *children, id=name, aria_labelledby=f"{name}-heading")


def figure(picture: Markup, title: str, caption: str) -> Markup:
    """A picture with a title and what there is to say about it."""
    return element("figure", picture, element("figcaption", element("b", title), ": ", caption))


def pair(*children: Child, even: bool = False) -> Markup:
    """Side by side where there is room, one under the other where there is not.

    Args:
        children: two pieces, a figure and its table.
        even: whether both are of one kind and get the same room.
    """
    return element("div", *children, class_="pair even" if even else "pair")

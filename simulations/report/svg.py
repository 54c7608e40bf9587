"""A small drawing surface: one picture, 360 units wide, that a phone shows one to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simulations.report.markup import Child, Markup, element, join

__all__ = ["WIDTH", "Axis", "legend", "mark", "picture", "rule", "text"]

WIDTH: Final = 360
_CHARACTER = 6.0
"""Mean width of a character at the size of a picture's text."""


@dataclass(frozen=True)
class Axis:
    """A linear axis from values to units of the picture.

    Attributes:
        low, high: values at its ends.
        start, stop: units at its ends.
    """

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Where `value` lies."""
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.stop - self.start)


def picture(name: str, title: str, description: str, height: float, *parts: Child) -> Markup:
    """A picture with its text alternative.

    Args:
        name: unique in the page.
        title: what it is.
        description: what it shows, in words, for those who do not see it.
        height: in units.
        parts: shapes.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", class_: str = "") -> Markup:
    """Words with their baseline at `y`."""
    return element(
        "text",
        words,
        x=x,
        y=y,
        text_anchor=None if anchor == "start" else anchor,
        class_=class_ or None,
    )


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _circle(x: float, y: float, r: float) -> Markup:
    return element("circle", cx=x, cy=y, r=r)


def _square(x: float, y: float, r: float) -> Markup:
    return element("rect", x=x - 0.9 * r, y=y - 0.9 * r, width=1.8 * r, height=1.8 * r)


def _diamond(x: float, y: float, r: float) -> Markup:
    return _polygon((x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y))


def _triangle(x: float, y: float, r: float) -> Markup:
    return _polygon((x, y - 1.2 * r), (x + 1.2 * r, y + r), (x - 1.2 * r, y + r))


def _cross(x: float, y: float, r: float) -> Markup:
    arm, half = 1.2 * r, 0.45 * r
    return join(
        element("rect", x=x - a, y=y - b, width=2 * a, height=2 * b)
        for a, b in ((arm, half), (half, arm))
    )


def _polygon(*corners: tuple[float, float]) -> Markup:
    places = " L".join(f"{x:.2f} {y:.2f}" for x, y in corners)
    return element("path", d=f"M{places}Z")


_SHAPES: Final[dict[str, Callable[[float, float, float], Markup]]] = {
    "joint": _circle,
    "shop": _square,
    "alone": _diamond,
    "popularity": _triangle,
    "noised-popularity": _triangle,
    "random": _cross,
}


def mark(kind: str, x: float, y: float, radius: float = 4.0, *, faint: bool = False) -> Markup:
    """The mark of a series: each has a colour and, for those who see none, a shape."""
    shape = _SHAPES.get(kind, _circle)(x, y, radius)
    return element("g", shape, class_=f"mark c-{kind}{' faint' if faint else ''}")


def legend(entries: Sequence[tuple[str, str]], y: float, x: float = 4.0) -> tuple[Markup, float]:
    """Marks and names in as many lines as it takes.

    Args:
        entries: kind of mark and name.
        y: centre of the first line.
        x: where lines start.

    Returns:
        The legend and where it ends.
    """
    parts, left = [], x
    for kind, name in entries:
        wide = 16 + _CHARACTER * len(name) + 12
        if left + wide > WIDTH + 12 and left > x:
            left, y = x, y + 17
        parts += [mark(kind, left + 5, y), text(left + 14, y + 4, name)]
        left += wide
    return join(parts), y + 10

"""The picture of an attack: curves on log-log axes, chance, and what the promise allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Floats
from simulations.attacks.roc import Promise, Roc
from simulations.report.markup import Markup, element
from simulations.report.numbers import big
from simulations.report.svg import Axis, picture, rule, text

__all__ = ["roc_picture"]

_LEFT: Final = 44.0
_TOP: Final = 8.0
_SIDE: Final = 268.0
_KINDS: Final = ("joint", "shop", "popularity")
_NAMED: Final = 18
"""Where along a line its name stands, of 61 places."""


@dataclass(frozen=True)
class _Line:
    """A line of the picture: its name, its colour, TPR at each FPR of the grid, its dashes."""

    label: str
    kind: str
    rates: Floats
    dashes: str | None = None


def roc_picture(
    name: str,
    title: str,
    description: str,
    curves: Sequence[tuple[str, Roc]],
    promise: Promise | None,
) -> Markup:
    """Curves on log-log axes with the chance line and what the promise allows.

    Args:
        name: of the picture, unique in the page.
        title: what it is.
        description: what it shows, in words.
        curves: label and curve, at most three.
        promise: what is allowed at best; None without privacy.
    """
    decades = max(1, math.floor(-math.log10(max(roc.lowest_fpr for _, roc in curves))))
    grid = np.geomspace(10.0**-decades, 1.0, 61)
    lines = [_Line("chance", "random", grid, "4 3")]
    for (label, roc), kind in zip(curves, _KINDS, strict=False):
        lines.append(_Line(label, kind, _rates(roc, grid)))
    if promise is not None:
        lines.append(_Line("(ε, δ) allows", "alone", promise.by_epsilon(grid), "2 3"))
        curve = promise.by_mu(grid)
        if curve is not None:
            lines.append(_Line("μ-GDP allows", "alone", curve))
    parts = [*_axes(decades), *_drawn(grid, lines, decades)]
    return picture(name, title, description, _TOP + _SIDE + 44, *parts)


def _rates(roc: Roc, grid: Floats) -> Floats:
    """The best TPR at each FPR of the grid."""
    at = np.searchsorted(roc.fpr, grid * (1 + 1e-12), side="right") - 1
    return np.asarray(roc.tpr[at], dtype=np.float64)


def _scales(decades: int) -> tuple[Axis, Axis]:
    across = Axis(-decades, 0, _LEFT, _LEFT + _SIDE)
    return across, Axis(-decades, 0, _TOP + _SIDE, _TOP)


def _axes(decades: int) -> list[Markup]:
    across, up = _scales(decades)
    bottom, right = _TOP + _SIDE, _LEFT + _SIDE
    parts = []
    for power in range(-decades, 1):
        x, y, words = across.at(power), up.at(power), big(10.0**power)
        parts += [rule(x, _TOP, x, bottom, "grid"), rule(_LEFT, y, right, y, "grid")]
        parts.append(text(x, bottom + 16, words, anchor="middle", class_="t"))
        parts.append(text(_LEFT - 6, y + 4, words, anchor="end", class_="t"))
    middle = _LEFT + _SIDE / 2
    words = "false-positive rate (across), true-positive rate (up)"
    return [*parts, text(middle, bottom + 36, words, anchor="middle", class_="t")]


def _drawn(grid: Floats, lines: Sequence[_Line], decades: int) -> list[Markup]:
    """The lines, and their names under them, none on another."""
    across, up = _scales(decades)
    floor = 10.0**-decades
    parts, names = [], []
    for line in lines:
        xs = [across.at(math.log10(x)) for x in grid]
        ys = [up.at(math.log10(max(y, floor))) for y in line.rates]
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(xs, ys, strict=True))
        parts.append(
            element(
                "polyline",
                points=points,
                class_=f"line k-{line.kind}",
                stroke_dasharray=line.dashes,
            )
        )
        names.append((ys[_NAMED] + 12, xs[_NAMED] + 7, line))
    free = 0.0
    for y, x, line in sorted(names, key=lambda name: name[0]):
        free = max(y, free)
        halo = "paint-order:stroke;stroke:var(--paper);stroke-width:3px"
        style = f"fill:var(--{line.kind});{halo}"
        parts.append(element("text", line.label, x=x, y=free, style=style))
        free += 13
    return parts

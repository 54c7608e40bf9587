"""The pictures: rows of marks with intervals, lines over rounds, bars, gain by size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulations.report.data import Estimate
from simulations.report.markup import Markup, element, join
from simulations.report.numbers import big, count, ratio, ticks
from simulations.report.svg import WIDTH, Axis, legend, mark, picture, rule, text

__all__ = ["DotRow", "SizePoint", "bar_rows", "dot_rows", "round_bars", "round_lines", "size_chart"]

_LABELS: Final = 118
"""Units for the labels on the left of a chart of rows."""
_VALUES: Final = 42
"""Units for the values on its right."""
_FOOT: Final = 26
"""Units under the plot: tick labels."""


@dataclass(frozen=True)
class DotRow:
    """One row of marks.

    Attributes:
        label: what it is about.
        points: kind of mark and value with its interval.
    """

    label: str
    points: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class SizePoint:
    """Shops of one size.

    Attributes:
        users: users per shop.
        values: kind of mark and value with its interval.
    """

    users: float
    values: tuple[tuple[str, Estimate], ...]


def dot_rows(
    name: str,
    title: str,
    description: str,
    rows: Sequence[DotRow],
    *,
    names: dict[str, str] | None = None,
    digits: int = 3,
    from_zero: bool = True,
) -> Markup:
    """Rows of marks with intervals on one axis.

    Args:
        name: of the picture, unique in the page.
        title: what it is.
        description: what it shows, in words.
        rows: from top to bottom.
        names: names of the kinds for a legend; None when each row has one mark, whose value
            is then written at its right.
        digits: of that value.
        from_zero: whether the axis starts at zero.
    """
    head, top = legend(list(names.items()), 12) if names else (None, 4.0)
    each = max(len(row.points) for row in rows)
    step = 26.0 if each == 1 else 12.0 + 11.0 * each
    bottom = top + step * len(rows) + 4
    ends = [v for row in rows for _, e in row.points for v in (e.low, e.high)]
    stop = WIDTH - (_VALUES if each == 1 else 12)
    axis, grid = _axis(0.0 if from_zero else min(ends), max(ends), stop, top, bottom)
    parts = []
    for k, row in enumerate(rows):
        middle = top + step * (k + 0.5)
        parts += [text(_LABELS - 10, middle + 4, row.label, anchor="end")]
        for j, (kind, value) in enumerate(row.points):
            y = middle + 11.0 * (j - (len(row.points) - 1) / 2)
            parts += [_whisker(axis, kind, value, y), mark(kind, axis.at(value.mean), y)]
            if each == 1:
                parts.append(_value(middle, ratio(value.mean, digits)))
    return picture(name, title, description, bottom + _FOOT, grid, *parts, head)


def _axis(low: float, high: float, stop: float, top: float, bottom: float) -> tuple[Axis, Markup]:
    """A horizontal axis with its grid and labels."""
    values = ticks(low, high, most=4)
    axis = Axis(values[0], values[-1], _LABELS, stop)
    lines = [rule(axis.at(v), top, axis.at(v), bottom, "grid") for v in values]
    labels = [text(axis.at(v), bottom + 16, big(v), anchor="middle", class_="t") for v in values]
    return axis, join(lines + labels)


def _whisker(axis: Axis, kind: str, value: Estimate, y: float) -> Markup:
    return rule(axis.at(value.low), y, axis.at(value.high), y, f"whisker k-{kind}")


def _value(y: float, words: str) -> Markup:
    return text(WIDTH - 2, y + 4, words, anchor="end", class_="v")


def bar_rows(
    name: str, title: str, description: str, rows: Sequence[tuple[str, float, str]]
) -> Markup:
    """Horizontal bars: label, value, and the value in words."""
    most = max(value for _, value, _ in rows) or 1.0
    axis = Axis(0.0, most, _LABELS, WIDTH - 60)
    parts = []
    for k, (label, value, words) in enumerate(rows):
        y = 4 + 24.0 * k
        wide = max(axis.at(value) - _LABELS, 1.0)
        parts += [
            text(_LABELS - 10, y + 14, label, anchor="end"),
            element("rect", x=_LABELS, y=y + 3, width=wide, height=14, class_="bar b-0"),
            text(_LABELS + wide + 6, y + 14, words, class_="v"),
        ]
    return picture(name, title, description, 8 + 24.0 * len(rows), *parts)


_LEFT: Final = 40
_PLOT: Final = 170.0


def _frame(low: float, high: float, top: float) -> tuple[Axis, list[Markup]]:
    """A vertical axis with grid and labels."""
    values = ticks(low, high, most=5)
    axis = Axis(values[0], values[-1], top + _PLOT, top)
    parts = []
    for v in values:
        parts.append(rule(_LEFT, axis.at(v), WIDTH - 6, axis.at(v), "grid"))
        parts.append(text(_LEFT - 6, axis.at(v) + 4, big(v), anchor="end", class_="t"))
    return axis, parts


def _round_labels(rounds: Sequence[str], places: Sequence[float], y: float) -> list[Markup]:
    """As many names as fit; the last one always."""
    room = (WIDTH - _LEFT) / max(max(len(r) for r in rounds) * 6.2 + 8, 1)
    every = max(1, math.ceil(len(rounds) / room))
    shown = [k for k in range(len(rounds)) if (len(rounds) - 1 - k) % every == 0]
    return [
        text(
            min(places[k], WIDTH - 3.1 * len(rounds[k])), y, rounds[k], anchor="middle", class_="t"
        )
        for k in shown
    ]


def round_lines(
    name: str,
    title: str,
    description: str,
    rounds: Sequence[str],
    series: Sequence[Sequence[float]],
) -> Markup:
    """A line for each client over rounds; the highest and the lowest stand out.

    Args:
        name: of the picture, unique in the page.
        title: what it is.
        description: what it shows, in words.
        rounds: names of the rounds.
        series: cumulative values of each client.
    """
    order = sorted(series, key=lambda values: values[-1])
    same = order[0][-1] == order[-1][-1]
    entries = [("joint", "every client" if same else "highest client")]
    head, top = legend(entries if same else [*entries, ("alone", "lowest client")], 12, _LEFT)
    axis, parts = _frame(0.0, max(max(values) for values in series), top + 6)
    across = Axis(0, max(len(rounds) - 1, 1), _LEFT + 14, WIDTH - 24)
    places = [across.at(k) for k in range(len(rounds))]
    outer = [order[-1]] if same else [order[0], order[-1]]
    parts += [_polyline(places, [axis.at(v) for v in s], "line faint") for s in order[1:-1]]
    for values, kind in zip(outer, ["joint"] if same else ["alone", "joint"], strict=True):
        heights = [axis.at(v) for v in values]
        parts.append(_polyline(places, heights, f"line k-{kind}"))
        if len(rounds) <= 24:
            parts += [mark(kind, x, y, 3.5) for x, y in zip(places, heights, strict=True)]
    parts += _round_labels(rounds, places, top + 6 + _PLOT + 18)
    return picture(name, title, description, top + 6 + _PLOT + _FOOT, *parts, head)


def _polyline(xs: Sequence[float], ys: Sequence[float], class_: str) -> Markup:
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(xs, ys, strict=True))
    return element("polyline", points=points, class_=class_)


def round_bars(
    name: str,
    title: str,
    description: str,
    rounds: Sequence[str],
    pairs: Sequence[tuple[float, float]],
    names: tuple[str, str],
    unit: str,
) -> Markup:
    """Two bars for each round, side by side; `unit` stands above the axis."""
    axis, parts = _frame(0.0, max(max(pair) for pair in pairs), 36.0)
    slot = (WIDTH - 6 - _LEFT) / len(rounds)
    wide = min(slot * 0.36, 26.0)
    places = [_LEFT + slot * (k + 0.5) for k in range(len(rounds))]
    for x, pair in zip(places, pairs, strict=True):
        for j, value in enumerate(pair):
            left, y = x + (j - 1) * wide, axis.at(value)
            height = 36.0 + _PLOT - y
            parts.append(
                element("rect", x=left, y=y, width=wide, height=height, class_=f"bar b-{j}")
            )
    parts += _round_labels(rounds, places, 36.0 + _PLOT + 18)
    head = [text(0, 14, unit, class_="t")]
    for j, label in enumerate(names):
        x = 110.0 + 125 * j
        head += [
            element("rect", x=x, y=5, width=10, height=10, class_=f"bar b-{j}"),
            text(x + 15, 14, label),
        ]
    return picture(name, title, description, 36.0 + _PLOT + _FOOT, *parts, *head)


def size_chart(
    name: str,
    title: str,
    description: str,
    groups: Sequence[SizePoint],
    shops: Sequence[tuple[float, dict[str, float]]],
    names: dict[str, str],
) -> Markup:
    """Quality against users per shop on a logarithmic axis; single shops are faint.

    Args:
        name: of the picture, unique in the page.
        title: what it is.
        description: what it shows, in words.
        groups: sizes from small to large.
        shops: users and value by kind of each shop.
        names: names of the kinds.
    """
    head, top = legend(list(names.items()), 12, _LEFT)
    values = [v for g in groups for _, e in g.values for v in (e.low, e.high)]
    values += [v for _, by_kind in shops for v in by_kind.values()]
    axis, parts = _frame(min(values), max(values), top + 6)
    across, labels = _size_axis([g.users for g in groups], [u for u, _ in shops], top + 6)
    parts += labels
    for k, kind in enumerate(names):
        dodge = 13.0 * (k - (len(names) - 1) / 2)
        parts += [
            mark(kind, across.at(math.log(users)) + dodge, axis.at(by_kind[kind]), 2.0, faint=True)
            for users, by_kind in shops
        ]
        series = _size_series(kind, groups, across, axis, dodge)
        parts.append(element("g", *series, class_="thin"))
    height = top + 6 + _PLOT + _FOOT + 14
    parts.append(text(WIDTH / 2 + 16, height - 4, "users per shop", anchor="middle", class_="t"))
    return picture(name, title, description, height, *parts, head)


def _size_axis(
    sizes: Sequence[float], others: Sequence[float], top: float
) -> tuple[Axis, list[Markup]]:
    """A logarithmic axis with the sizes of the groups written where there is room."""
    users = [*sizes, *others]
    low, high = math.log(min(users) / 1.6), math.log(max(users) * 1.6)
    across = Axis(low, high, _LEFT + 4, WIDTH - 10)
    labels: list[Markup] = []
    free = 0.0
    for size in sorted(sizes):
        x = across.at(math.log(size))
        labels.append(rule(x, top + _PLOT, x, top + _PLOT + 4, "tick"))
        if x - 16 >= free:
            labels.append(text(x, top + _PLOT + 17, count(size), anchor="middle", class_="t"))
            free = x + 18
    return across, labels


def _size_series(
    kind: str, groups: Sequence[SizePoint], across: Axis, axis: Axis, dodge: float
) -> list[Markup]:
    xs = [across.at(math.log(group.users)) + dodge for group in groups]
    estimates = [dict(group.values)[kind] for group in groups]
    ys = [axis.at(e.mean) for e in estimates]
    parts = [_polyline(xs, ys, f"line k-{kind}")] if len(xs) > 1 else []
    for x, y, e in zip(xs, ys, estimates, strict=True):
        parts.append(rule(x, axis.at(e.low), x, axis.at(e.high), f"whisker k-{kind}"))
        parts.append(mark(kind, x, y, 4.2))
    return parts

"""Numbers as people read them: those of every page, and those of estimates."""

from __future__ import annotations

import math

from common.pages.numbers import MINUS, big, count, epsilon_text
from simulations.report.data import Estimate

__all__ = [
    "big",
    "byte_size",
    "count",
    "epsilon_text",
    "interval",
    "metric_name",
    "ratio",
    "signed",
    "ticks",
]


def ratio(value: float, digits: int = 3) -> str:
    """`0.186`."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """`+0.041`, with a real minus."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def interval(estimate: Estimate, digits: int = 3, *, sign: bool = False, dash: bool = False) -> str:
    """`0.176 to 0.196`; with `sign`, both ends carry theirs; with `dash`, `0.176–0.196`."""
    write = signed if sign else ratio
    if dash and estimate.low >= 0:
        return f"{write(estimate.low, digits)}–{write(estimate.high, digits)}"
    return f"{write(estimate.low, digits)} to {write(estimate.high, digits)}"


def byte_size(value: float) -> str:
    """`4.2 MB`, powers of a thousand."""
    for unit in ("B", "kB", "MB"):
        if value < 1_000:
            return f"{value:.3g} {unit}"
        value /= 1_000
    return f"{value:,.3g} GB" if value < 1_000 else f"{value:,.0f} GB"


def metric_name(name: str) -> str:
    """`HR@10` for `hr@10`."""
    return name.upper()


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round values from at or below `low` to at or above `high`."""
    span = high - low if high > low else max(abs(high), 1e-9)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(m for m in (1, 2, 5, 10, 20) if span / (step * m) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]

"""Numbers as people read them."""

from __future__ import annotations

import math

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

_MINUS = "\N{MINUS SIGN}"


def ratio(value: float, digits: int = 3) -> str:
    """`0.186`."""
    return f"{value:.{digits}f}".replace("-", _MINUS)


def signed(value: float, digits: int = 3) -> str:
    """`+0.041`, with a real minus."""
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def interval(estimate: Estimate, digits: int = 3, *, sign: bool = False, dash: bool = False) -> str:
    """`0.176 to 0.196`; with `sign`, both ends carry theirs; with `dash`, `0.176–0.196`."""
    write = signed if sign else ratio
    if dash and estimate.low >= 0:
        return f"{write(estimate.low, digits)}–{write(estimate.high, digits)}"
    return f"{write(estimate.low, digits)} to {write(estimate.high, digits)}"


def count(value: float) -> str:
    """`5,800`."""
    return f"{value:,.0f}"


def big(value: float) -> str:
    """Four significant digits at most, tiny values in powers of ten: `7.2×10⁻⁵`."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}".replace("-", _MINUS)
    exponent = math.floor(math.log10(abs(value)))
    power = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10.0**exponent:.2g}×10{power}".replace("-", _MINUS)


def epsilon_text(value: float) -> str:
    """`7.98`: two decimals rounded up, so that no figure promises too much."""
    if value < 0.1:
        return big(math.ceil(value * 1e5 - 1e-6) / 1e5)
    return f"{math.ceil(value * 100 - 1e-6) / 100:.2f}"


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

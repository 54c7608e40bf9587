"""Numbers as people read them."""

from __future__ import annotations

import math

__all__ = ["MINUS", "big", "count", "epsilon_text"]

MINUS = "\N{MINUS SIGN}"


def count(value: float) -> str:
    """`5,800`."""
    return f"{value:,.0f}"


def big(value: float) -> str:
    """Four significant digits at most, tiny values in powers of ten: `7.2×10⁻⁵`."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}".replace("-", MINUS)
    exponent = math.floor(math.log10(abs(value)))
    power = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10.0**exponent:.2g}×10{power}".replace("-", MINUS)


def epsilon_text(value: float) -> str:
    """`7.98`: two decimals rounded up, so that no figure promises too much."""
    if value < 0.1:
        return big(math.ceil(value * 1e5 - 1e-6) / 1e5)
    return f"{math.ceil(value * 100 - 1e-6) / 100:.2f}"

"""Where a function of one number changes sign, in few evaluations, and on the side that counts.

Each evaluation may be an accountant's, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["FINEST", "largest", "meet"]

FINEST: Final = 1e-6
"""As near as numbers are told apart."""
_TOLERANCE: Final = 1e-4
_STEP: Final = 0.25
_SECANTS: Final = 12


def largest(holds: Callable[[float], bool], start: float) -> float:
    """The largest number that `holds`, to 1e-6 and never above; near `start`, if possible."""
    low, step = start, _STEP
    while not holds(low):
        low, step = low - step, 2 * step
    high, step = low + step, 2 * step
    while holds(high):
        low, high, step = high, high + step, 2 * step
    while high - low > FINEST:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def meet(excess: Callable[[float], float], start: float) -> float:
    """Where `excess` is just not above 0: secants in logarithms, kept inside a bracket."""
    low = high = start
    low_excess = high_excess = excess(start)
    evaluations, step = 1, _STEP
    while low_excess > 0:
        high, high_excess = low, low_excess
        low, step = low - step, 2 * step
        low_excess, evaluations = excess(low), evaluations + 1
    step = _STEP
    while high_excess <= 0:
        low, low_excess = high, high_excess
        if -low_excess <= _TOLERANCE:
            return low
        high, step = high + step, 2 * step
        high_excess, evaluations = excess(high), evaluations + 1
    while -low_excess > _TOLERANCE and high - low > FINEST:
        # aim a little below the target, so that the guess lands on the side that counts
        share = (-_TOLERANCE / 3 - low_excess) / (high_excess - low_excess)
        # (halving where that does not help: on the fast grid multipliers come in steps)
        share = min(max(share, 0.02), 0.98) if evaluations < _SECANTS else 0.5
        guess = low + share * (high - low)
        guess_excess, evaluations = excess(guess), evaluations + 1
        if guess_excess <= 0:
            low, low_excess = guess, guess_excess
        else:
            high, high_excess = guess, guess_excess
    return low

"""Comparing a uniform number with c·exp(-γ), exactly: bits are drawn until it is decided."""

from __future__ import annotations

from fractions import Fraction

from common.privacy.stream import NoiseSource

__all__ = ["LazyUniform", "exp_bounds"]

_GUARD_BITS = 24


def exp_bounds(gamma: Fraction, bits: int) -> tuple[int, int]:
    """Integers `low <= exp(-gamma) * 2**bits <= high`, usually one apart; `gamma >= 0`.

    exp(-γ) = exp(-γ/m)^m with γ/m <= 1; the alternating series brackets the root, and
    interval multiplication in integers keeps the bracket.
    """
    if gamma == 0:
        return 1 << bits, 1 << bits
    parts = -(-gamma.numerator // gamma.denominator)
    work = bits + _GUARD_BITS + parts.bit_length()
    low, high = _series(gamma / parts, work)
    total_low = total_high = 1 << work
    for _ in range(parts):
        total_low = (total_low * low) >> work
        total_high = -((-total_high * high) >> work)
    shift = work - bits
    return total_low >> shift, -((-total_high) >> shift)


def _series(x: Fraction, work: int) -> tuple[int, int]:
    """Bounds of exp(-x) * 2**work for 0 < x <= 1, from 1 - x + x²/2 - ..."""
    low = high = 1 << work
    term_low = term_high = 1 << work
    n, p, q = 0, x.numerator, x.denominator
    while term_high > 1:
        n += 1
        term_low = (term_low * p) // (q * n)
        term_high = -((-term_high * p) // (q * n))
        low, high = (
            (low - term_high, high - term_low) if n % 2 else (low + term_low, high + term_high)
        )
    # what is left of the alternating series is at most the last term, 1 unit
    return max(low - 1, 0), high + 1


class LazyUniform:
    """A uniform number in [0, 1) of which only the first bits have been drawn."""

    def __init__(self, noise: NoiseSource, prefix: int = 0, bits: int = 0) -> None:
        self._noise = noise
        self._prefix = prefix
        self._bits = bits

    def below_exp(self, scale: Fraction, gamma: Fraction) -> bool:
        """Whether the number is below `scale * exp(-gamma)`; draws more bits as needed."""
        while True:
            low, high = exp_bounds(gamma, self._bits + _GUARD_BITS)
            prefix = Fraction(self._prefix << _GUARD_BITS)
            if prefix + (1 << _GUARD_BITS) <= scale * low:
                return True
            if prefix >= scale * high:
                return False
            self._prefix = (self._prefix << 64) | self._noise.bits(64)
            self._bits += 64

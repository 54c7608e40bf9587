import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.samplers.bits import LazyUniform, exp_bounds
from common.privacy.samplers.exact import _MARGIN
from common.privacy.stream import NoiseSource


@settings(max_examples=60, deadline=None)
@given(st.fractions(min_value=0, max_value=200, max_denominator=10**6), st.integers(8, 200))
def test_bounds_bracket_exp(gamma, bits):
    low, high = exp_bounds(gamma, bits)
    with mpmath.workprec(bits + 400):
        true = mpmath.exp(-mpmath.mpf(gamma.numerator) / gamma.denominator) * mpmath.mpf(2) ** bits
        assert low <= true <= high
    assert high - low <= 2


def test_zero_is_exact():
    assert exp_bounds(Fraction(0), 40) == (1 << 40, 1 << 40)


def test_numpy_exp_is_far_inside_the_margin():
    gammas = np.random.default_rng(0).uniform(0, 33, 2000)
    ours = np.exp(-gammas)
    for gamma, value in zip(gammas, ours, strict=True):
        low, high = exp_bounds(Fraction(float(gamma)), 80)
        assert low * 2.0**-80 - 2.0**-46 <= value <= high * 2.0**-80 + 2.0**-46
    assert _MARGIN >= 2.0**-46 * 8


@pytest.mark.parametrize(
    ("scale", "gamma"),
    [(Fraction(1), Fraction(1, 3)), (Fraction(1, 2), Fraction(0)), (Fraction(3, 4), Fraction(2))],
)
def test_lazy_uniform_has_the_right_chance(scale, gamma):
    noise = NoiseSource.seeded(4)
    hits = sum(LazyUniform(noise).below_exp(scale, gamma) for _ in range(4000))
    p = float(scale) * math.exp(-gamma)
    assert abs(hits / 4000 - p) < 5 * math.sqrt(p * (1 - p) / 4000)


def test_a_prefix_on_the_boundary_is_settled_by_more_bits():
    gamma = Fraction(1, 3)
    prefix = exp_bounds(gamma, 32)[0]
    noise = NoiseSource.seeded(5)
    below = sum(LazyUniform(noise, prefix, 32).below_exp(Fraction(1), gamma) for _ in range(4000))
    share = math.exp(-1 / 3) * 2**32 - prefix
    assert abs(below / 4000 - share) < 5 * math.sqrt(0.25 / 4000)
    assert LazyUniform(noise, prefix - 1, 32).below_exp(Fraction(1), gamma)
    assert not LazyUniform(noise, prefix + 1, 32).below_exp(Fraction(1), gamma)


def test_certainty_and_impossibility():
    noise = NoiseSource.seeded(6)
    assert all(LazyUniform(noise).below_exp(Fraction(1), Fraction(0)) for _ in range(50))
    assert not any(LazyUniform(noise).below_exp(Fraction(0), Fraction(1)) for _ in range(50))

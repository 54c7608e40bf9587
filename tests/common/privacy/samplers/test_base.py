import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy.samplers import ExactSampler, FastSampler, grid_sigma, make_sampler


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["exact", "fast"]), st.floats(0.05, 100))
def test_grid_is_a_power_of_two_and_fine_beside_a_contribution(sampler, multiplier):
    sigma = grid_sigma(sampler, multiplier)
    assert sigma & (sigma - 1) == 0
    assert sigma / multiplier >= 2**10
    assert sigma >= {"exact": 2**20, "fast": 2**12}[sampler]


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.inf, math.nan, 1e9])
@pytest.mark.parametrize("sampler", ["exact", "fast"])
def test_multipliers_without_a_grid_are_refused(sampler, multiplier):
    with pytest.raises(ValueError, match="noise multiplier"):
        grid_sigma(sampler, multiplier)


def test_samplers_by_name():
    assert isinstance(make_sampler("exact", 2**20), ExactSampler)
    assert isinstance(make_sampler("fast", 2**12), FastSampler)
    assert make_sampler("fast", 2**13).sigma_grid == 2**13

"""Sums of discrete Gaussians against their own laws, summed over the integers."""

import math
import sys

import numpy as np
import pytest
from scipy.stats import norm

from common.privacy.accounting import epsilon
from common.privacy.events import DistributedDiscreteGaussianEvent
from common.privacy.gdp import gaussian_epsilon
from common.privacy.renyi import epsilon_beyond_rdp
from common.privacy.samplers.exact import rounded_gaussian_distance
from common.privacy.samplers.shares import (
    SMALLEST_SHARE_VARIANCE,
    closeness,
    concentrated_epsilon,
    shares_total_variation,
)


def pmf(variance: float, reach: int) -> np.ndarray:
    """Of one discrete Gaussian on -reach..reach."""
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return weights / weights.sum()


def pmf_of_sum(variance: int, shares: int, deviations: float = 9.0) -> tuple[np.ndarray, int]:
    """Of the sum of `shares` of them, and how far it reaches: sums of products alone."""
    reach = math.ceil(deviations * math.sqrt(variance * shares))
    one = pmf(variance, reach)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)[reach:-reach]
    return total, reach


@pytest.mark.parametrize("shares", [2, 3, 5, 9])
@pytest.mark.parametrize("variance", [1, 2])
def test_a_sum_is_the_discrete_gaussian_of_its_variance_up_to_the_bound(variance, shares):
    total, reach = pmf_of_sum(variance, shares)
    near = slice(reach // 3, -(reach // 3))  # where nothing is cut off, and digits are left
    apart = np.abs(np.log(total[near] / pmf(variance * shares, reach)[near])).max()
    assert apart < closeness(variance, shares)
    if shares == 2:
        assert apart > closeness(variance, shares) / 6


def test_closeness_is_at_least_the_paper_s_sum():
    for variance in (1, 2, 5):
        for shares in (1, 2, 3, 10, 50):
            terms = (k / (k + 1) for k in range(1, shares))
            tau = 10 * math.fsum(math.exp(-2 * math.pi**2 * variance * term) for term in terms)
            assert tau <= closeness(variance, shares)


def test_what_is_too_small_for_a_float_is_not_nothing():
    assert closeness(SMALLEST_SHARE_VARIANCE, 1) == 0
    least = closeness(SMALLEST_SHARE_VARIANCE, 2)
    assert sys.float_info.min <= least < 1e-300
    assert closeness(2**54, 1_000_000) < 1e-300


@pytest.mark.parametrize("shares", [1, 2, 4])
@pytest.mark.parametrize("variance", [2, 4, 16])
def test_the_distance_to_a_rounded_gaussian_is_bounded_and_not_loosely(variance, shares):
    total, reach = pmf_of_sum(variance, shares)
    sigma = math.sqrt(variance * shares)
    rounded = np.diff(norm.cdf((np.arange(-reach, reach + 2) - 0.5) / sigma))
    variation = 0.5 * np.abs(total - rounded).sum()
    bound = shares_total_variation(variance, shares, 1)
    assert variation <= bound <= 2 * variation


def test_the_distance_is_that_of_one_discrete_gaussian_and_a_hair():
    alone = rounded_gaussian_distance(7 * 10**6, 60_000)
    assert alone <= shares_total_variation(10**6, 7, 60_000) <= alone * (1 + 1e-12)
    assert shares_total_variation(10**6, 7, 240_000) == pytest.approx(2 * alone, rel=1e-6)
    assert shares_total_variation(256, 1, 10**30) == 1.0


def test_a_variance_is_rounded_down_where_a_float_cannot_hold_it():
    below, above = 2**60, 2**60 + 2**7 + 1
    assert rounded_gaussian_distance(above, 1) == rounded_gaussian_distance(below, 1)
    assert rounded_gaussian_distance(above - 2, 1) >= rounded_gaussian_distance(above, 1)


@pytest.mark.parametrize("count", [10**400])
def test_values_that_cannot_be_counted_are_an_overflow(count):
    with pytest.raises(OverflowError):
        shares_total_variation(256, 3, count)


# the guarantee of the event, by two other ways


def event_of(variance, shares, clip_grid, rows=1):
    return DistributedDiscreteGaussianEvent(
        clients=shares + 1,
        threshold=shares + 1,
        colluders=1,
        share_variance=variance,
        clip_grid=clip_grid,
        word_bits=32,
        rows=rows,
        width=1,
    )


def true_delta(total, moved, at):
    """Smallest δ of a sum that one user moves by `moved` on one entry, exactly."""
    one, other = total[moved:], total[: len(total) - moved]
    return max(
        np.maximum(one - math.exp(at) * other, 0).sum(),
        np.maximum(other - math.exp(at) * one, 0).sum(),
    )


CASES = [(256, 2, 20), (256, 5, 40), (300, 3, 15), (1000, 2, 90), (256, 1, 8)]


@pytest.mark.parametrize(("variance", "shares", "clip_grid"), CASES)
def test_no_sum_of_shares_costs_more_than_the_event_says(variance, shares, clip_grid):
    """And little less: the hockey stick between two exact laws, moved by one clip."""
    event, delta = event_of(variance, shares, clip_grid), 1e-2
    claimed = epsilon([event], delta)
    total, _ = pmf_of_sum(variance, shares)
    assert true_delta(total, clip_grid, claimed) <= delta
    slack = 2 * math.exp(claimed) * event.total_variation / delta
    assert true_delta(total, clip_grid, claimed * 0.98) > delta * (1 - 3 * slack - 0.01)


@pytest.mark.parametrize("missing", [2 / 3, 0.5])
def test_a_share_with_less_noise_is_told_apart(missing):
    """The exact laws of two thirds of σ break the claim."""
    event, delta = event_of(2304, 3, 80), 1e-3
    total, _ = pmf_of_sum(round(2304 * missing**2), 3)
    assert true_delta(total, 80, epsilon([event], delta)) > 2 * delta


@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-4])
@pytest.mark.parametrize("multiplier", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shares", [1, 2, 50])
def test_the_claim_lies_between_the_gaussian_s_and_the_paper_s(shares, multiplier, delta):
    clip, draws = round(2**26 / multiplier), 100
    event = event_of(math.ceil((multiplier * clip) ** 2 / shares), shares, clip, draws)
    claimed = epsilon([event], delta)
    lower = gaussian_epsilon(1 / event.noise_multiplier, delta)
    rho = concentrated_epsilon(clip, event.share_variance, shares, draws) ** 2 / 2
    upper = min(rho * order + epsilon_beyond_rdp(order, delta) for order in range(2, 400))
    assert lower * (1 - 1e-9) <= claimed <= upper


def test_the_paper_s_bound_is_the_gaussian_s_where_shares_are_not_tiny():
    assert concentrated_epsilon(100, 256, 4, 10**6) == pytest.approx(100 / 32, rel=1e-12)
    assert concentrated_epsilon(0, 1, 2, 4) == pytest.approx(2 * closeness(1, 2))
    assert concentrated_epsilon(10, 1, 2, 1) > 10 / math.sqrt(2)

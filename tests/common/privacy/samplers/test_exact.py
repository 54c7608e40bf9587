import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, norm

from common.privacy.samplers import ExactSampler, exact, oracle
from common.privacy.samplers.exact import discrete_gaussian, staircase
from common.privacy.stream import NoiseSource

VARIANCES = [Fraction(1), Fraction(9, 4), Fraction(16), Fraction(200, 3)]


def pmf(variance, reach):
    """Exact probabilities of -reach..reach."""
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / float(2 * variance))
    return weights / weights.sum()


def p_value(draws, variance):
    """Chi-square of integers against the discrete Gaussian, thin tails pooled."""
    reach = math.ceil(12 * math.sqrt(variance))
    expected = pmf(variance, reach) * len(draws)
    counts = np.bincount(np.clip(draws, -reach, reach) + reach, minlength=2 * reach + 1)
    dense = expected > 20
    return chisquare(
        np.r_[counts[dense], counts[~dense].sum()], np.r_[expected[dense], expected[~dense].sum()]
    ).pvalue


@pytest.mark.parametrize("variance", VARIANCES)
def test_law_is_the_discrete_gaussian(variance):
    draws = discrete_gaussian((600_000,), variance, NoiseSource.seeded(10))
    assert p_value(draws, variance) > 1e-3


@pytest.mark.parametrize("wrong", [Fraction(4, 9), Fraction(9, 4)])
def test_other_variances_are_told_apart(wrong):
    draws = discrete_gaussian((20_000,), Fraction(16) * wrong, NoiseSource.seeded(11))
    assert p_value(draws, Fraction(16)) < 1e-12


@pytest.mark.parametrize("variance", VARIANCES[:3])
def test_oracle_has_the_same_law(variance):
    noise = NoiseSource.seeded(12)
    draws = np.array([oracle.discrete_gaussian(variance, noise) for _ in range(15_000)])
    assert p_value(draws, variance) > 1e-3


@pytest.mark.parametrize("reach", [1, 2])
def test_tail_beyond_the_stairs_is_exact(reach):
    table = staircase(Fraction(9), reach)
    draws = exact._draw((40_000,), table, NoiseSource.seeded(13))
    assert p_value(draws, Fraction(9)) > 1e-3
    assert (np.abs(draws) > reach * 4).sum() > 0


@pytest.mark.parametrize("variance", [*VARIANCES, *(Fraction(2**k) ** 2 for k in (20, 27, 40))])
@pytest.mark.parametrize("reach", [1, 8])
def test_envelope_dominates_and_its_weights_are_a_power_of_two(variance, reach):
    table = staircase(variance, reach)
    assert sum(table.weights) == 2**40
    assert min(table.weights) >= 1
    for stair, weight in enumerate(table.weights[:-1]):
        start = stair << table.width_bits
        chance = table.scale / weight * math.exp(-(start**2) / float(2 * variance))
        assert chance <= 1 + 1e-9
        last = start + (1 << table.width_bits) - 1
        lowest = table.scale / weight * math.exp(-(last**2) / float(2 * variance))
        assert table.squeeze[stair] * 2.0**-32 <= lowest + 1e-12
    assert table.squeeze[-1] == 0
    for block in range(4):
        start = (table.stairs << table.width_bits) + (block << table.tail_width_bits)
        widen = 2.0 ** (block + 1 + table.tail_width_bits - table.width_bits)
        assert table.scale * widen * math.exp(-(start**2) / float(2 * variance)) <= (
            table.weights[-1] * (1 + 1e-9)
        )


@pytest.mark.parametrize("variance", [Fraction(9, 4), Fraction(2**26) ** 2])
def test_alias_table_gives_every_stair_its_exact_weight(variance):
    table = staircase(variance)
    mass = np.zeros(len(table.cut), dtype=object)
    for column, (cut, alias) in enumerate(zip(table.cut, table.alias, strict=True)):
        mass[column] += int(cut)
        mass[alias] += 2**31 - int(cut)
    assert tuple(mass[: len(table.weights)]) == table.weights
    assert not any(mass[len(table.weights) :])


@pytest.mark.parametrize("sigma", [2**26, 3 * 2**26, 2**29, 2**40])
def test_moments_and_shape_at_a_large_sigma(sigma):
    sampler = ExactSampler(sigma)
    draws = sampler.draw((400_000,), NoiseSource.seeded(14)) / sigma
    assert abs(draws.mean()) < 5 / math.sqrt(400_000)
    assert draws.var() == pytest.approx(1, abs=5 * math.sqrt(2 / 400_000))
    assert kstest(draws, norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("sigma", "bit"),
    [(2**26, bit) for bit in (0, 3, 12, 20)] + [(2**33, bit) for bit in (0, 5, 6, 7, 22, 27)],
)
def test_low_bits_at_a_large_sigma_are_fair(sigma, bit):
    draws = ExactSampler(sigma).draw((200_000,), NoiseSource.seeded(15))
    share = ((draws >> bit) & 1).mean()
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(200_000)
    both = (((draws >> bit) ^ (draws >> (bit + 1))) & 1).mean()
    assert abs(both - 0.5) < 5 * 0.5 / math.sqrt(200_000)


def test_the_tail_of_wide_stairs_is_that_of_the_gaussian():
    draws = exact._draw((40_000,), staircase(Fraction(2**35) ** 2, 1), NoiseSource.seeded(18))
    assert kstest(draws / 2**35, norm.cdf).pvalue > 1e-3
    assert (np.abs(draws) > 2**35).mean() > 0.2


def test_doubtful_coins_are_settled_exactly(monkeypatch):
    # with a huge margin every doubtful candidate goes through big integers
    monkeypatch.setattr(exact, "_MARGIN", 2.0)
    draws = discrete_gaussian((20_000,), Fraction(16), NoiseSource.seeded(16))
    assert p_value(draws, Fraction(16)) > 1e-3


def test_same_stream_same_draws_whatever_the_threads(monkeypatch):
    one = ExactSampler(2**20).draw((300_000, 2), NoiseSource.seeded(17))
    monkeypatch.setattr("common.privacy.samplers.parallel.cores", lambda: 1)
    two = ExactSampler(2**20).draw((300_000, 2), NoiseSource.seeded(17))
    assert one.shape == (300_000, 2)
    assert one.dtype == np.int64
    assert np.array_equal(one, two)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 0)])
def test_small_shapes(shape):
    assert ExactSampler(2**20).draw(shape, NoiseSource.system()).shape == shape


@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(2**41) ** 2])
def test_variances_without_a_table_are_refused(variance):
    with pytest.raises(ValueError, match="not between"):
        staircase(variance)


def true_chi2(sigma):
    """χ² of the rounded against the discrete Gaussian, summed over the integers."""
    reach = 30 * sigma
    k = np.arange(-reach, reach + 1)
    p = np.exp(-(k**2) / (2 * sigma**2))
    p /= p.sum()
    upper = np.abs(k) + 0.5
    q = norm.sf(upper - 1, scale=sigma) - norm.sf(upper, scale=sigma)
    heavy = p > 1e-14
    return float(np.sum((q[heavy] - p[heavy]) ** 2 / p[heavy])), float(np.abs(q - p).sum() / 2)


@pytest.mark.parametrize("sigma", [1, 2, 4, 8])
def test_distance_to_rounded_gaussian_is_bounded_and_not_loosely(sigma):
    chi2, variation = true_chi2(sigma)
    bound = ExactSampler(sigma).total_variation(1)
    assert variation <= bound
    assert 0.5 * math.sqrt(chi2) <= bound * (1 + 1e-6)
    assert bound <= 0.5 * math.sqrt(chi2) * 1.1


def test_distance_grows_like_the_root_and_stays_below_one():
    sampler = ExactSampler(2**20)
    assert sampler.total_variation(2**26) == pytest.approx(
        math.sqrt(2**26 / 1152) / 2**40, rel=1e-6
    )
    assert sampler.total_variation(0) == 0
    assert ExactSampler(1).total_variation(10**9) == 1

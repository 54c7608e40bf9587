import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.privacy.grid import LARGEST_CLIP_GRID
from common.privacy.plan import NoiseShares
from common.privacy.samplers.base import LARGEST_SIGMA_GRID
from common.privacy.samplers.exact import discrete_gaussian
from common.privacy.samplers.shares import SMALLEST_SHARE_VARIANCE
from common.privacy.stream import NoiseSource
from common.privacy.words import shorter, size
from tests.common.privacy.wrapping import SPARE_POPULATION, chance_of_wrapping


@st.composite
def noise_shares(draw: st.DrawFn) -> NoiseShares:
    """Safe terms of any size, any population, words of either size."""
    clients = draw(st.integers(2, 10_000))
    colluders = draw(st.integers(1, max(1, clients - 2)))
    fewest = max((clients + colluders) // 2 + 1, colluders + 1)
    colluders, fewest = (colluders, fewest) if fewest <= clients else (1, clients)
    return NoiseShares(
        clients=clients,
        threshold=draw(st.integers(fewest, clients)),
        colluders=colluders,
        population=draw(st.integers(1, 10**9)),
        word_bits=draw(st.sampled_from([32, 64])),
    )


MULTIPLIERS = st.floats(0.05, 1e4)


@given(noise_shares(), MULTIPLIERS)
def test_a_size_has_the_noise_and_the_room_or_is_refused(shares, multiplier):
    try:
        variance, clip = size(shares, multiplier)
    except ValueError:
        return
    assert Fraction(shares.honest * variance) >= (Fraction(multiplier) * clip) ** 2
    # one unit² less would not do
    assert Fraction(shares.honest * (variance - 1)) < (Fraction(multiplier) * clip) ** 2
    assert 2**10 <= clip <= LARGEST_CLIP_GRID
    assert SMALLEST_SHARE_VARIANCE <= variance <= LARGEST_SIGMA_GRID**2
    half = 2 ** (shares.word_bits - 1) - 1
    room = half - SPARE_POPULATION * shares.population * clip
    assert room**2 >= 143 * shares.clients * variance  # 12² and a hair for rounding variance up
    assert chance_of_wrapping(shares, variance, clip, 10**9) <= 2e9 * math.exp(-71.5)


@given(noise_shares(), MULTIPLIERS)
def test_the_grid_is_as_fine_as_something_lets_it_be(shares, multiplier):
    try:
        variance, clip = size(shares, multiplier)
    except ValueError:
        return
    half = 2 ** (shares.word_bits - 1) - 1
    used = SPARE_POPULATION * shares.population * clip
    used += 12 * multiplier * clip * math.sqrt(shares.clients / shares.honest)
    assert (
        clip >= LARGEST_CLIP_GRID - 1
        or used >= half * (1 - 2 / clip)
        or variance >= LARGEST_SIGMA_GRID**2 * (1 - 3 / clip)
    )


@pytest.mark.parametrize(
    ("population", "multiplier", "word_bits"),
    [
        (10**6, 1.0, 32),  # 536 units to a clip
        (10**16, 1.0, 64),
        (10**400, 1.0, 64),
        (1, 1e-9, 64),
        (1, 1e9, 64),
        (1, 1e300, 32),
        (100, 5e-5, 32),
        (100, 0.0, 32),
        (100, -1.0, 32),
        (100, math.nan, 64),
        (100, math.inf, 64),
    ],
)
def test_what_has_no_fine_grid_is_refused(population, multiplier, word_bits):
    shares = NoiseShares(
        clients=1000, threshold=900, colluders=2, population=population, word_bits=word_bits
    )
    with pytest.raises(ValueError, match=r"units|grid|finite"):
        size(shares, multiplier)


def test_sizes_do_not_change():
    """Clients of one sum must arrive at the same grid, whatever they run on."""
    shares = NoiseShares(clients=10, threshold=8, colluders=1, population=6040, word_bits=32)
    assert size(shares, 1.25) == (1760935804, 88820)
    wide = shares.model_copy(update={"word_bits": 64})
    assert size(wide, 1.25) == (18014398400503726, 284085383)


@given(st.floats(1e-300, 1e300))
def test_a_shorter_multiplier_is_hardly_larger(multiplier):
    found = shorter(multiplier)
    assert multiplier <= found <= multiplier * (1 + 2**-23)
    assert shorter(found) == found
    assert math.ldexp(math.frexp(found)[0], 24) % 1 == 0


@pytest.mark.parametrize("last", [-3, -1, 1, 3])
def test_the_last_digits_of_a_multiplier_do_not_matter(last):
    middle = 1.1858057
    assert shorter(middle) == shorter(middle + last * 2**-52)


@pytest.mark.parametrize("deviations", [1.5, 2.0, 3.0])
def test_a_total_wraps_around_no_more_often_than_is_said(deviations):
    """Noise of ten clients beside a population that takes all but a few deviations."""
    shares = NoiseShares(clients=10, threshold=8, colluders=1, population=1000, word_bits=32)
    variance = 10**9
    spread = math.sqrt(10 * variance)
    clip = math.floor((2**31 - 1 - deviations * spread) / (SPARE_POPULATION * 1000))
    claimed = chance_of_wrapping(shares, variance, clip, 1)
    noise = sum(
        discrete_gaussian((20_000,), Fraction(variance), NoiseSource.seeded(seed))
        for seed in range(10)
    )
    words = (noise + SPARE_POPULATION * 1000 * clip).astype(np.uint64).astype(np.uint32)
    wrapped = float(np.mean(words.view(np.int32) < 0))
    assert 0 < wrapped <= claimed
    assert claimed <= 2 * math.exp(-(deviations**2) / 2) * 1.01
    assert chance_of_wrapping(shares, variance, 2**30, 1) == 1.0

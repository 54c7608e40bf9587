import math

import numpy as np
import pytest
from randomgen.wrapper import UserBitGenerator
from scipy.stats import kstest, norm

from common.privacy.samplers import FastSampler
from common.privacy.stream import NoiseSource

TAIL = 3.6541528853610088
ACCEPTED = 0.9933  # share of the ziggurat's area under the curve, rounded down
UNIT = 2.0**-61  # one atom of one strip and one sign: 1/256 · 1/2 · 2^-52


@pytest.fixture(scope="module")
def tables():
    """Widths and cores of the ziggurat's strips, read back from the installed numpy.

    A bit generator that says what it is told: strip `i` with 52-bit abscissa 1 returns the
    strip's unit; the core ends where numpy asks for a second word.
    """
    queue, asked = [], []

    def next_raw(_state=None):
        asked.append(1)
        return queue.pop() if queue else 12345 << 9

    generator = np.random.Generator(UserBitGenerator(next_raw, 64))

    def probe(strip, abscissa):
        queue[:] = [(abscissa << 9) | strip]
        asked.clear()
        return generator.standard_normal(), len(asked)

    units = np.array([probe(strip, 1)[0] for strip in range(256)])
    cores = []
    for strip in range(256):
        low, high = 0, 1 << 52
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if probe(strip, middle)[1] == 1 else (low, middle)
        cores.append(low)
    return units, np.array(cores)


def largest_abscissa(unit, cells, sigma, sign):
    """Largest 52-bit abscissa whose draw has magnitude at most each of `cells`."""

    def beyond(abscissa):
        return sign * np.floor(sign * (abscissa * unit) * sigma + 0.5) > cells

    abscissa = np.floor((cells + 0.5) / sigma / unit) + 3
    for _ in range(8):
        abscissa = np.where(beyond(abscissa), abscissa - 1, abscissa)
    assert not beyond(abscissa).any()
    assert beyond(abscissa + 1).all()
    return abscissa


def atoms_off(units, cores, sigma, sign):
    """Atoms too many in each cell: summed over cores, and strips whose wedge is there."""
    cells = np.arange(int(TAIL * sigma), dtype=float)
    edges = (cells + 0.5) / sigma
    core, wedge = np.zeros(len(cells)), np.zeros(len(cells))
    for strip, unit in enumerate(units):
        inside = int(np.searchsorted(edges, (cores[strip] - 1) * unit))
        if inside:
            below = largest_abscissa(unit, cells[:inside], sigma, sign) + 1
            core[:inside] += np.diff(np.r_[0.0, below - edges[:inside] / unit])
        if strip:
            end = int(np.searchsorted(edges, unit * 2.0**52))
            wedge[inside : end + 1] += 1
    return core, wedge


def error_per_unit(units, cores, sigma):
    """Root mean square error of a cell's mass, in units of σ · 2^-52."""
    total = 0.0
    mass = np.exp(-((np.arange(int(TAIL * sigma)) / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
    for sign in (1, -1):
        core, wedge = atoms_off(units, cores, sigma, sign)
        off = (np.abs(core) + 2 * wedge) * UNIT
        off[0] *= math.sqrt(2)  # both signs fall into the cell of zero: (2d)²/q = 2·(√2·d)²/q
        total += float(np.sum(off**2 / (ACCEPTED**2 * mass / sigma)))
    return math.sqrt(total) / (sigma * 2.0**-52)


def test_tables_are_a_ziggurat(tables):
    units, cores = tables
    widths = units * 2.0**52
    assert widths[255] == pytest.approx(TAIL, rel=1e-12)
    assert cores[0] * units[0] == pytest.approx(TAIL, rel=1e-12)
    heights = np.exp(-(widths[1:] ** 2) / 2)
    areas = widths[2:] * (heights[:-1] - heights[1:])
    assert np.allclose(areas, widths[0] * math.exp(-(TAIL**2) / 2), rtol=1e-9)


@pytest.mark.parametrize("sigma", [2**12, 2**13, 2**14])
def test_cell_masses_are_within_the_stated_error(tables, sigma):
    core_and_wedge = error_per_unit(*tables, sigma)
    tail = 0.23  # docs/privacy/samplers.md
    stated = FastSampler(sigma).total_variation(1) * 2 / (sigma * 2.0**-52)
    assert math.hypot(core_and_wedge, tail) < stated == pytest.approx(0.5, rel=1e-6)


def test_law_is_a_gaussian_on_the_grid():
    draws = FastSampler(2**12).draw((400_000,), NoiseSource.seeded(20))
    assert draws.dtype == np.int64
    assert abs(draws.mean()) < 5 * 2**12 / math.sqrt(400_000)
    assert (draws / 2**12).var() == pytest.approx(1, abs=5 * math.sqrt(2 / 400_000))
    assert kstest(draws / 2**12, norm.cdf).pvalue > 1e-3


def test_even_and_odd_cells_are_alike():
    draws = FastSampler(2**12).draw((400_000,), NoiseSource.seeded(21))
    assert abs((draws & 1).mean() - 0.5) < 5 * 0.5 / math.sqrt(400_000)


def test_same_stream_same_draws_whatever_the_threads(monkeypatch):
    one = FastSampler().draw((300_000, 2), NoiseSource.seeded(22))
    monkeypatch.setattr("common.privacy.samplers.parallel.cores", lambda: 1)
    assert np.array_equal(one, FastSampler().draw((300_000, 2), NoiseSource.seeded(22)))


def test_distance_grows_with_draws_and_grid():
    assert FastSampler(2**12).total_variation(0) == 0
    one = FastSampler(2**12).total_variation(100)
    assert FastSampler(2**13).total_variation(100) == pytest.approx(2 * one, rel=1e-6)
    assert FastSampler(2**12).total_variation(400) == pytest.approx(2 * one, rel=1e-6)
    assert FastSampler(2**12).total_variation(10**40) == 1

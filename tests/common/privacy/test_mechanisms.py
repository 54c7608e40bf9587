import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from common.errors import Code, PrivacyError, ReleaseError
from common.privacy.contributions import SparseRows
from common.privacy.events import GaussianSumEvent, NoPrivacyEvent
from common.privacy.mechanisms import ExactSum, GaussianSum, mechanism_for
from common.privacy.plan import PrivacyPlan, Release
from common.privacy.stream import NoiseSource
from tests.common.privacy.batches import BAD, AsIs, oracle_sum, rank_one, sparse


def release(**changes):
    values = {
        "step": "solver.step",
        "rows": 7,
        "width": 3,
        "share": 1.0,
        "noise_multiplier": 1.5,
    }
    return Release(**{**values, **changes})


def plan_of(*releases, mode="local"):
    epsilon = None if mode == "none" else 1.0
    return PrivacyPlan(unit="user", mode=mode, delta=1e-5, epsilon=epsilon, releases=releases)


class NoNoise:
    """A sampler that draws zeros, to see the integers beneath."""

    def draw(self, shape, noise):
        return np.zeros(shape, dtype=np.int64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 5))
def test_fast_sum_equals_the_slow_one(seed, n_users, width):
    rng = np.random.default_rng(seed)
    planned = release(rows=9, width=width)
    users = np.flatnonzero(rng.random(n_users) < 0.8)
    half = len(users) // 2
    batches = [rank_one(rng, users[:half], 9, width), rank_one(rng, users[half:], 9, width)]
    mechanism = GaussianSum(planned, NoiseSource.seeded(1))
    mechanism._sampler = NoNoise()
    ours = mechanism.sum(batches)
    slow = oracle_sum(batches, planned, mechanism.event.clip_grid)
    assert np.array_equal(np.rint(ours / mechanism._unit).astype(np.int64), slow)


@pytest.mark.parametrize("sampler", ["exact", "fast"])
@pytest.mark.parametrize("actual", [1.0, 2 / 3, 3 / 2])
def test_noise_has_the_planned_sigma(sampler, actual):
    """Chi-square of 4,000 entries: accepts σ, rejects two thirds and three halves of it."""
    planned = release(rows=1000, width=4, noise_multiplier=1.5 * actual, sampler=sampler)
    noise = GaussianSum(planned, NoiseSource.seeded(2)).sum([])
    claimed = 1.5
    statistic = float(np.sum((noise / claimed) ** 2))
    low, high = chi2.ppf([1e-4, 1 - 1e-4], df=4000)
    assert (low < statistic < high) == (actual == 1.0)


def test_rejection_has_power_at_far_smaller_differences():
    low, high = chi2.ppf([1e-4, 1 - 1e-4], df=4000)
    assert chi2.cdf(low / 0.9**2, df=4000) > 0.99
    assert chi2.sf(high / 1.1**2, df=4000) > 0.99


@pytest.mark.parametrize("clip_norm", [0.01, 1.0, 250.0])
def test_noise_scales_with_the_clip_norm(clip_norm):
    planned = release(rows=2000, width=2, clip_norm=clip_norm)
    mechanism = GaussianSum(planned, NoiseSource.seeded(3))
    noise = mechanism.sum([])
    assert noise.std() == pytest.approx(1.5 * clip_norm, rel=0.06)
    assert mechanism.noise_std == pytest.approx(1.5 * clip_norm, rel=1e-3)
    assert mechanism.noise_std >= 1.5 * clip_norm * (1 - 1e-12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=6, max_size=6),
    st.integers(0, 2**32),
)
def test_one_user_more_moves_the_integer_sum_by_at_most_the_clip(values, seed):
    rng = np.random.default_rng(seed)
    planned = release(rows=9)
    others = rank_one(rng, np.arange(5), 9, 3)
    extra = SparseRows(
        np.array([5]), np.array([0, 2]), np.array([1, 4]), np.array(values).reshape(2, 3)
    )
    sums = []
    for batches in ([others], [others, extra]):
        mechanism = GaussianSum(planned, NoiseSource.seeded(4))
        mechanism._sampler = NoNoise()
        sums.append(np.rint(mechanism.sum(batches) / mechanism._unit).astype(np.int64))
    moved = sum(int(unit) ** 2 for unit in (sums[1] - sums[0]).ravel())
    assert moved <= mechanism.event.clip_grid**2
    sigma = mechanism.event.sigma_grid
    assert sigma**2 >= mechanism.event.noise_multiplier**2 * moved


def test_values_are_float64_whatever_the_solver_yields():
    batch = sparse([0], [[0, 3]])
    single = SparseRows(
        batch.users.astype(np.uint8),
        batch.indptr.astype(np.int32),
        batch.rows.astype(np.uint16),
        batch.values.astype(np.float32),
    )
    mechanism = GaussianSum(release(), NoiseSource.seeded(5))
    mechanism._sampler = NoNoise()
    slow = oracle_sum(
        [SparseRows(batch.users, batch.indptr, batch.rows, single.values.astype(np.float64))],
        release(),
        mechanism.event.clip_grid,
    )
    ours = mechanism.sum([single])
    assert np.array_equal(np.rint(ours / mechanism._unit).astype(np.int64), slow)


def test_an_empty_sum_is_all_noise_and_costs_the_same():
    mechanism = GaussianSum(release(steps=1), NoiseSource.seeded(6))
    noise = mechanism.sum([])
    assert noise.shape == (7, 3)
    assert np.all(noise != 0)
    with pytest.raises(ReleaseError) as refused:
        mechanism.sum([])
    assert refused.value.code == Code.RELEASE_UNDECLARED


def good():
    return sparse([2, 5], [[0, 3], [1]])


@pytest.mark.parametrize("what", BAD)
def test_contributions_that_could_break_the_sensitivity_are_refused(what):
    mechanism = GaussianSum(release(), NoiseSource.seeded(7))
    with pytest.raises(PrivacyError) as refused:
        mechanism.sum([AsIs(block) for block in BAD[what]])
    assert refused.value.code == Code.CONTRIBUTION_INVALID
    with pytest.raises(ReleaseError):  # the sum is used up: nothing gives budget back
        mechanism.sum([good()])


def test_rows_may_fall_between_users():
    GaussianSum(release(), NoiseSource.seeded(8)).sum([sparse([1, 2, 3], [[4, 6], [], [0, 1]])])


def test_only_sampled_users_take_part():
    mechanism = GaussianSum(release(sampling_rate=0.5, steps=3), NoiseSource.seeded(9))
    with pytest.raises(PrivacyError, match="without a sample"):
        mechanism.sum([])
    users = mechanism.sample(100)
    with pytest.raises(PrivacyError, match="sampled twice"):
        mechanism.sample(100)
    mechanism.sum([sparse(users, [[0]] * len(users))])
    absent = np.setdiff1d(np.arange(100), mechanism.sample(100))[:1]
    with pytest.raises(PrivacyError, match="not sampled"):
        mechanism.sum([sparse(absent, [[0]])])


def test_users_beyond_the_sampled_population_are_refused():
    mechanism = GaussianSum(release(), NoiseSource.seeded(10))
    assert np.array_equal(mechanism.sample(3), np.arange(3))
    with pytest.raises(PrivacyError, match="not sampled"):
        mechanism.sum([sparse([3], [[0]])])


def test_populations_that_could_overflow_are_refused():
    with pytest.raises(PrivacyError, match="more than"):
        GaussianSum(release(), NoiseSource.seeded(11)).sample(2**31 + 1)


def test_each_sum_and_each_mechanism_has_its_own_noise():
    mechanism = GaussianSum(release(steps=2), NoiseSource.system())
    assert not np.array_equal(mechanism.sum([]), mechanism.sum([]))
    source = NoiseSource.seeded(12)
    one, two = GaussianSum(release(), source), GaussianSum(release(), source)
    assert not np.array_equal(one.sum([]), two.sum([]))


def test_reproducible_noise_is_marked():
    assert GaussianSum(release(), NoiseSource.system()).is_private
    assert not GaussianSum(release(), NoiseSource.seeded(1)).is_private


def test_the_event_says_what_is_done():
    planned = release(steps=4, sampling_rate=0.3, sampler="fast", noise_multiplier=0.7)
    event = GaussianSum(planned, NoiseSource.system()).event
    assert event == GaussianSumEvent(
        sampler="fast",
        sigma_grid=4096,
        clip_grid=5851,
        rows=7,
        width=3,
        sampling_rate=0.3,
        steps=4,
    )
    assert 0.7 <= event.noise_multiplier < 0.7002


def test_without_privacy_the_sum_is_exact_and_marked():
    rng = np.random.default_rng(0)
    batch = rank_one(rng, np.arange(20), 7, 3)
    planned = release(noise_multiplier=0.0)
    mechanism = mechanism_for(plan_of(planned, mode="none"), 0, NoiseSource.system())
    assert isinstance(mechanism, ExactSum)
    assert not mechanism.is_private
    assert mechanism.noise_std == 0
    assert mechanism.event == NoPrivacyEvent(rows=7, width=3, steps=1)
    assert len(mechanism.sample(20)) == 20
    expected = np.zeros((7, 3))
    for block in batch.expand(4):
        np.add.at(expected, block.rows, block.values)
    assert mechanism.sum([batch]) == pytest.approx(expected)
    with pytest.raises(ReleaseError):
        mechanism.sum([batch])


def test_mechanism_for_takes_the_release_of_that_number():
    plan = plan_of(release(step="s.one"), release(step="s.two", rows=9))
    noise = NoiseSource.seeded(13)
    assert mechanism_for(plan, 1, noise).event.rows == 9
    for index in (-1, 2):
        with pytest.raises(ReleaseError) as refused:
            mechanism_for(plan, index, noise)
        assert refused.value.code == Code.RELEASE_UNDECLARED


def test_a_noisy_mechanism_without_noise_cannot_be_made():
    with pytest.raises(ReleaseError):
        GaussianSum(release(noise_multiplier=0.0), NoiseSource.system())


@pytest.mark.parametrize("what", BAD)
def test_a_client_releases_what_came_before_a_defect_with_all_its_noise(what):
    """The answer has the same form whatever contributions do; only the log tells."""
    told = []
    mechanism = GaussianSum(release(), NoiseSource.seeded(13))
    got = mechanism.sum([sparse([0], [[2]]), *map(AsIs, BAD[what])], told.append)
    assert [error.code for error in told] == [Code.CONTRIBUTION_INVALID]
    before = BAD[what][:-1]  # a block is added whole or not at all
    twin = GaussianSum(release(), NoiseSource.seeded(13))
    assert np.array_equal(got, twin.sum([sparse([0], [[2]]), *before]))
    with pytest.raises(ReleaseError):
        mechanism.sum([good()])


@pytest.mark.parametrize("error", [ValueError("row 7"), MemoryError(), GeneratorExit()])
def test_contributions_that_raise_end_there(error):
    def failing():
        yield good()
        raise error

    told = []
    got = GaussianSum(release(), NoiseSource.seeded(14)).sum(failing(), told.append)
    assert told == [error]
    assert np.array_equal(got, GaussianSum(release(), NoiseSource.seeded(14)).sum([good()]))


def test_being_told_to_stop_and_exact_sums_raise_all_the_same():
    def failing(error):
        raise error
        yield

    with pytest.raises(KeyboardInterrupt):
        GaussianSum(release(), NoiseSource.seeded(15)).sum(failing(KeyboardInterrupt()), print)
    with pytest.raises(ValueError, match="row 7"):
        ExactSum(release(), NoiseSource.seeded(15)).sum(failing(ValueError("row 7")), print)

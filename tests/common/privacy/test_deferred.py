import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, norm

from common.errors import Code, PrivacyError, ReleaseError
from common.privacy import deferred
from common.privacy.deferred import MOST_DEFERRED, DeferredSum, deferred_from
from common.privacy.events import event_of
from common.privacy.mechanisms import GaussianSum, mechanism_for
from common.privacy.plan import NoiseShares, PrivacyPlan, Release, RowSelection
from common.privacy.samplers import ExactSampler
from common.privacy.samplers.shares import closeness
from common.privacy.stream import NoiseSource
from tests.common.privacy.batches import rank_one, sparse
from tests.common.privacy.eager_sum import EagerSum

ROWS, WIDTH, STEPS = 40, 3, 11


def release(**changes):
    values = {"step": "s.step", "rows": ROWS, "width": WIDTH, "share": 1.0, "steps": STEPS}
    return Release(**{**values, "noise_multiplier": 1.5, "clip_norm": 0.5, **changes})


def plan_of(*releases, mode="local"):
    epsilon = None if mode == "none" else 1.0
    return PrivacyPlan(unit="user", mode=mode, delta=1e-5, epsilon=epsilon, releases=releases)


class NoNoise(ExactSampler):
    """To see the integers beneath: every draw, of one sum or of many, is zero."""

    def draw(self, shape, noise):
        return np.zeros(shape, dtype=np.int64)


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.setattr(deferred, "discrete_gaussian", lambda shape, *_: np.zeros(shape, np.int64))
    monkeypatch.setattr(deferred, "make_sampler", lambda *_: NoNoise())
    monkeypatch.setattr("common.privacy.mechanisms.make_sampler", lambda *_: NoNoise())


def adaptive(running, steps=STEPS, seed=0, users=6):
    """Steps of a solver: what it reads depends on what it read, and so does what it adds."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(steps):
        rows = np.flatnonzero(rng.random(ROWS) < 0.3)
        values = running.read(rows)
        seen.append(values)
        if len(rows) and values.sum() > 0:
            rows = rows[::2]
            values = running.read(rows)
        batch = sparse(range(users), [rows.tolist()] * users, WIDTH, seed)
        batch.values[:] *= 1 + np.tile(np.abs(values), (users, 1)) / 10
        running.add([batch])
    return seen, running.settle()


@pytest.mark.parametrize("sampler", ["exact", "fast"])
def test_beneath_the_noise_it_is_the_eager_total(bare, sampler):
    planned = release(sampler=sampler)
    lazy = DeferredSum(planned, NoiseSource.seeded(1))
    eager = EagerSum(GaussianSum(planned, NoiseSource.seeded(1)), planned)
    seen, total = adaptive(lazy)
    oracle_seen, oracle_total = adaptive(eager)
    for ours, slow in zip(seen, oracle_seen, strict=True):
        np.testing.assert_allclose(ours, slow, rtol=0, atol=1e-9)
    np.testing.assert_allclose(total, oracle_total, rtol=0, atol=1e-9)
    assert np.any(total)


def noises(make, repeats=60):
    """Noise at the end, in units of one sum's σ, under reading that depends on noise."""
    found = []
    for repeat in range(repeats):
        running = make(NoiseSource.seeded(repeat))
        rng = np.random.default_rng(repeat)
        for _ in range(STEPS):
            rows = np.flatnonzero(rng.random(ROWS) < 0.2)
            # of the rows that looked small, some are read again: whoever waits, waits for noise
            small = rows[np.abs(running.read(rows)).sum(axis=1) < 2 * running.noise_std]
            running.read(small)
            running.add([])
        found.append(running.settle() / running.noise_std)
    return np.array(found)


MAKERS = {
    "exact": lambda noise: DeferredSum(release(), noise),
    "fast": lambda noise: DeferredSum(release(sampler="fast"), noise),
    "eager": lambda noise: EagerSum(GaussianSum(release(), noise), release()),
}


def accepted(noise):
    """Sum of squares of the noise of STEPS sums, as normal as it should be, two-sided 10^-4."""
    scaled = noise.ravel() / np.sqrt(STEPS)
    low, high = chi2.ppf([5e-5, 1 - 5e-5], df=scaled.size)
    return low < float(scaled @ scaled) < high


@pytest.mark.parametrize("maker", MAKERS)
def test_all_rows_have_the_noise_of_all_sums_however_they_are_read(maker):
    noise = noises(MAKERS[maker])
    assert accepted(noise)
    assert not accepted(noise * 2 / 3)
    assert not accepted(noise * 3 / 2)
    assert kstest(noise.ravel() / np.sqrt(STEPS), norm.cdf).pvalue > 1e-3
    entries = noise.reshape(len(noise), -1)
    products = entries[:, 1:] * entries[:, :-1] / STEPS
    assert abs(products.mean()) < 5 / np.sqrt(products.size)


def forgets_a_sum(self, pending, stream, usual=0):
    return SOUND(self, np.maximum(pending - 1, 0), stream)


def one_sum_is_as_good_as_many(self, pending, stream, usual=0):
    return SOUND(self, np.minimum(pending, 1), stream)


def only_what_is_usual(self, pending, stream, usual=0):
    return SOUND(self, np.where(pending == usual, pending, 0), stream, usual)


def grows_linearly(self, pending, stream, usual=0):
    return SOUND(self, np.minimum(pending, 1), stream) * pending[:, None]


SOUND = DeferredSum._draw


@pytest.mark.parametrize(
    "defect", [forgets_a_sum, one_sum_is_as_good_as_many, only_what_is_usual, grows_linearly]
)
def test_noise_that_is_lost_or_gained_while_it_waits_is_found(monkeypatch, defect):
    monkeypatch.setattr(DeferredSum, "_draw", defect)
    assert not accepted(noises(MAKERS["exact"]))


@pytest.mark.parametrize("sampler", ["exact", "fast"])
def test_what_is_read_has_the_noise_of_the_sums_before_and_keeps_it(sampler):
    """Steps 1, 1, 3 apart: each increment has the variance of the sums between, and no other."""
    planned = release(rows=3000, steps=5, sampler=sampler)
    running = DeferredSum(planned, NoiseSource.seeded(5))
    rows = np.arange(0, 3000, 3)
    reads = [running.read(rows)]
    for sums in (1, 1, 3):
        for _ in range(sums):
            running.add([])
        reads.append(running.read(rows))
        assert np.array_equal(reads[-1], running.read(rows))
    assert not reads[0].any()
    total = running.settle()
    assert np.array_equal(total[rows], reads[-1])
    for before, after, sums in zip(reads, reads[1:], (1, 1, 3), strict=False):
        moved = (after - before).ravel() / running.noise_std
        low, high = chi2.ppf([1e-4, 1 - 1e-4], df=moved.size)
        assert low < float(moved @ moved) / sums < high
        together = abs(float(np.mean(moved * before.ravel())))
        assert together <= 5 * before.std() * np.sqrt(sums / 2900)
    others = np.delete(total, rows, axis=0).ravel() / running.noise_std
    low, high = chi2.ppf([1e-4, 1 - 1e-4], df=others.size)
    assert low < float(others @ others) / 5 < high


def test_large_totals_are_settled_in_parts():
    planned = release(rows=9000, width=64, steps=6)
    running = DeferredSum(planned, NoiseSource.seeded(6))
    for rows in ([0, 8999], [4095, 4096]):
        running.add([])
        running.read(np.array(rows))
    running.add([])
    noise = running.settle().ravel() / running.noise_std / np.sqrt(3)
    low, high = chi2.ppf([1e-4, 1 - 1e-4], df=noise.size)
    assert low < float(noise @ noise) < high


def test_a_sum_that_is_being_added_is_not_read():
    """Its contributions have no noise yet: whoever read them would carry one user to another."""
    running = DeferredSum(release(), NoiseSource.seeded(7))

    def peeking(ask):
        yield sparse([0], [[1]])
        ask()

    for ask in (lambda: running.read(np.array([1])), running.settle, lambda: running.add([])):
        with pytest.raises(PrivacyError, match="no noise yet") as refused:
            running.add(peeking(ask))
        assert refused.value.code == Code.CONTRIBUTION_INVALID
    told = []
    running.add(peeking(lambda: running.read(np.array([1]))), told.append)
    assert [type(error) for error in told] == [PrivacyError]
    assert np.all(running.read(np.array([0])) != 0)  # four sums, each with its noise


@pytest.mark.parametrize("rows", [[3, 3], [4, 3], [-1, 2], [5, ROWS]])
def test_rows_are_read_in_order_and_range(rows):
    running = DeferredSum(release(), NoiseSource.seeded(8))
    with pytest.raises(PrivacyError, match="rows are read"):
        running.read(np.array(rows))


def test_no_more_sums_than_planned_and_none_after_the_end():
    running = DeferredSum(release(steps=2), NoiseSource.seeded(9))
    running.add([])
    running.add([])
    with pytest.raises(ReleaseError):
        running.add([])
    assert running.settle().shape == (ROWS, WIDTH)
    for ask in (running.settle, lambda: running.read(np.array([0])), lambda: running.add([])):
        with pytest.raises(ReleaseError) as refused:
            ask()
        assert refused.value.code == Code.RELEASE_UNDECLARED


def test_a_failure_stays_inside_and_the_sum_has_its_noise():
    running = DeferredSum(release(steps=1), NoiseSource.seeded(10))
    with pytest.raises(PrivacyError):
        running.add([sparse([0], [[ROWS]])])
    assert np.all(running.settle() != 0)


def test_users_are_sampled_as_in_every_sum():
    running = DeferredSum(release(sampling_rate=0.5), NoiseSource.seeded(11))
    with pytest.raises(PrivacyError, match="without a sample"):
        running.add([])
    running.add([rank_one(np.random.default_rng(0), running.sample(20), ROWS, WIDTH)])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10**7), st.integers(1, 128))
def test_one_draw_for_several_adds_nothing_that_a_float_could_tell(steps, rows, width):
    planned = release(rows=rows, width=width, steps=steps)
    event = event_of(planned)
    apart = closeness(event.sigma_grid**2, steps) * rows * width / 2
    assert apart < 1e-290
    assert apart + event.total_variation == event.total_variation
    if rows * width < 1000:
        running = DeferredSum(planned, NoiseSource.seeded(12))
        assert running.total_variation == event.total_variation
        assert running.event == event == GaussianSum(planned, NoiseSource.seeded(1)).event


def test_it_takes_the_place_of_a_mechanism_that_has_made_no_sum():
    plan = plan_of(release(), release(step="s.two", rows=9, sampling_rate=0.5))
    mechanism = mechanism_for(plan, 1, NoiseSource.system())
    made = deferred_from(mechanism)
    assert isinstance(made, DeferredSum)
    assert made.event == mechanism.event
    assert made.noise_std == mechanism.noise_std
    assert made.is_private
    assert made.settle().shape == (9, WIDTH)
    sampled, summed = (mechanism_for(plan, index, NoiseSource.seeded(1)) for index in (1, 0))
    sampled.sample(5)
    summed.sum([])
    for used in (mechanism, sampled, summed):
        with pytest.raises(ReleaseError) as refused:
            deferred_from(used)
        assert refused.value.code == Code.RELEASE_UNDECLARED
    mechanism.sample(5)
    with pytest.raises(ReleaseError):  # what was handed over is made there and nowhere else
        mechanism.sum([])


def test_other_mechanisms_have_other_sums():
    bare = plan_of(release(noise_multiplier=0.0), mode="none")
    chosen = plan_of(release(selection=RowSelection(threshold=3.0)))

    class Altered(GaussianSum):
        """Whose `sum` may be another."""

    for mechanism in (
        mechanism_for(bare, 0, NoiseSource.seeded(1)),
        mechanism_for(chosen, 0, NoiseSource.seeded(1)),
        Altered(release(), NoiseSource.seeded(1)),
    ):
        assert deferred_from(mechanism) is None
        mechanism.sum([])


def test_under_seeded_noise_it_is_the_same_on_any_number_of_cores(monkeypatch):
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("common.privacy.samplers.parallel.cores", lambda cores=cores: cores)
        planned = release(rows=20_000, width=40, steps=3)
        running = DeferredSum(planned, NoiseSource.seeded(15))
        for _ in range(3):
            running.read(np.arange(0, 20_000, 2))
            running.add([])
        found.append(running.settle().tobytes())
    assert found[0] == found[1]


def test_what_cannot_be_deferred_is_refused():
    for changes in (
        {"noise_multiplier": 0.0},
        {"steps": MOST_DEFERRED + 1},
        {
            "steps": 1,
            "shares": NoiseShares(
                clients=5, threshold=4, colluders=1, population=100, word_bits=32
            ),
        },
    ):
        with pytest.raises(ReleaseError) as refused:
            DeferredSum(release(**changes), NoiseSource.seeded(14))
        assert refused.value.code == Code.RELEASE_UNDECLARED

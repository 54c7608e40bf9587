"""What a client adds to a secure sum, and what the total of several is worth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from common.errors import Code, PrivacyError, ReleaseError
from common.privacy.contributions import SparseRows
from common.privacy.events import event_of
from common.privacy.mechanisms import GaussianSum, mechanism_for
from common.privacy.plan import NoiseShares, PrivacyPlan, Release, ReleaseShape
from common.privacy.planner import make_plan
from common.privacy.roster import Terms
from common.privacy.shared_noise import (
    SharedSum,
    natural,
    noise_std_of,
    shared_mechanism_for,
)
from common.privacy.stream import NoiseSource
from tests.common.privacy.batches import BAD, AsIs, oracle_sum, rank_one, sparse

TERMS = Terms(clients=10, threshold=8, colluders=3)


def shares(**changes):
    values = {"clients": 10, "threshold": 8, "colluders": 3, "population": 500, "word_bits": 32}
    return NoiseShares(**{**values, **changes})


def release(word_bits=32, **changes):
    values = {"step": "s.sum", "rows": 7, "width": 3, "share": 1.0, "noise_multiplier": 1.5}
    return Release(**{"shares": shares(word_bits=word_bits), **values, **changes})


def planned(word_bits=32, rows=1000, epsilon=4.0):
    """A plan as a job makes it, in words of either size."""
    shape = ReleaseShape(step="s.sum", rows=rows, width=4, share=1.0, clip_norm=0.5)
    population = 500 if word_bits == 32 else 10**7
    return make_plan(
        [shape],
        epsilon=epsilon,
        delta=population**-1.1,
        unit="user",
        mode="distributed",
        population=population,
        terms=TERMS,
    )


class Bare(SharedSum):
    """Without its noise, to see the integers beneath."""

    def _share(self, shape):
        return np.zeros(shape, dtype=np.int64)


def total_of(words):
    """What the server has once the masks are gone."""
    total = words[0].copy()
    for one in words[1:]:
        total += one
    return total


def noise_of(plan, clients, seed=0):
    """Words of clients without users, each with its own noise."""
    return [
        shared_mechanism_for(plan, 0, NoiseSource.seeded(seed + one)).words([])
        for one in range(clients)
    ]


# what is summed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([32, 64]))
def test_the_sum_equals_the_slow_one(seed, n_users, word_bits):
    rng = np.random.default_rng(seed)
    planned_release = release(word_bits, rows=9)
    users = np.flatnonzero(rng.random(n_users) < 0.8)
    half = len(users) // 2
    batches = [rank_one(rng, users[:half], 9, 3), rank_one(rng, users[half:], 9, 3)]
    mechanism = Bare(planned_release, NoiseSource.seeded(1))
    words = mechanism.words(batches)
    slow = oracle_sum(batches, planned_release, mechanism.event.clip_grid)
    assert words.dtype == f"uint{word_bits}"
    assert np.array_equal(words.view(f"int{word_bits}"), slow)
    unit = planned_release.clip_norm / mechanism.event.clip_grid
    assert natural(words, planned_release) == pytest.approx(slow * unit)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=6, max_size=6),
    st.integers(0, 2**32),
    st.sampled_from([32, 64]),
)
def test_one_user_more_moves_the_integer_sum_by_at_most_the_clip(values, seed, word_bits):
    """Rounding is inside the sensitivity: whatever the values are, and whoever else is there."""
    others = rank_one(np.random.default_rng(seed), np.arange(5), 9, 3)
    extra = SparseRows(
        np.array([5]), np.array([0, 2]), np.array([1, 4]), np.array(values).reshape(2, 3)
    )
    neighbours = ([others], [others, extra])
    mechanisms = [Bare(release(word_bits, rows=9), NoiseSource.seeded(4)) for _ in neighbours]
    one, other = (m.words(batches) for m, batches in zip(mechanisms, neighbours, strict=True))
    moved = (other - one).view(f"int{word_bits}")
    squared = sum(int(unit) ** 2 for unit in moved.ravel())
    event = mechanisms[0].event
    assert squared <= event.clip_grid**2
    assert event.honest * event.share_variance >= event.noise_multiplier**2 * squared


@pytest.mark.parametrize("word_bits", [32, 64])
def test_sums_of_clients_add_up_across_zero(word_bits):
    down = SparseRows(np.array([0]), np.array([0, 1]), np.array([2]), np.full((1, 3), -1.0))
    up = SparseRows(np.array([0]), np.array([0, 1]), np.array([2]), np.full((1, 3), 0.25))
    one = release(word_bits)
    words = [Bare(one, NoiseSource.seeded(1)).words([batch]) for batch in (down, up)]
    assert words[0].max() > 2 ** (word_bits - 1)
    expected = np.zeros((7, 3))
    expected[2] = 0.25 - 1 / math.sqrt(3)
    assert natural(total_of(words), one) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("what", BAD)
def test_contributions_that_could_break_the_sensitivity_are_refused(what):
    mechanism = SharedSum(release(), NoiseSource.seeded(7))
    with pytest.raises(PrivacyError) as refused:
        mechanism.words([AsIs(block) for block in BAD[what]])
    assert refused.value.code == Code.CONTRIBUTION_INVALID
    with pytest.raises(ReleaseError):  # the sum is used up: nothing gives budget back
        mechanism.words([])


@pytest.mark.parametrize("what", BAD)
def test_what_came_before_a_defect_leaves_with_its_noise(what):
    told = []
    mechanism = SharedSum(release(), NoiseSource.seeded(13))
    got = mechanism.words([sparse([0], [[2]]), *map(AsIs, BAD[what])], told.append)
    assert [error.code for error in told] == [Code.CONTRIBUTION_INVALID]
    twin = SharedSum(release(), NoiseSource.seeded(13))
    assert np.array_equal(got, twin.words([sparse([0], [[2]]), *BAD[what][:-1]]))


def test_everybody_takes_part():
    mechanism = SharedSum(release(), NoiseSource.seeded(1))
    assert np.array_equal(mechanism.sample(4), np.arange(4))
    with pytest.raises(PrivacyError, match="not sampled"):
        mechanism.words([sparse([4], [[0]])])


def test_a_sum_is_made_once():
    """Another attempt is another mechanism: new noise, and a new charge."""
    mechanism = SharedSum(release(), NoiseSource.seeded(1))
    mechanism.words([])
    with pytest.raises(ReleaseError) as refused:
        mechanism.words([])
    assert refused.value.code == Code.RELEASE_UNDECLARED


# the noise


@pytest.mark.parametrize("word_bits", [32, 64])
@pytest.mark.parametrize("survivors", [1, 2, 8, 10])
@pytest.mark.parametrize("actual", [1.0, 2 / 3, 3 / 2])
def test_the_noise_of_shares_has_the_variance_that_is_said(survivors, actual, word_bits):
    """Chi-square of 4,000 entries: accepts σ, rejects two thirds and three halves of it."""
    plan = planned(word_bits)
    assert plan.releases[0].shares.word_bits == word_bits
    noise = natural(total_of(noise_of(plan, survivors)), plan.releases[0])
    statistic = float(np.sum((noise / (noise_std_of(plan.releases[0], survivors) * actual)) ** 2))
    low, high = chi2.ppf([1e-5, 1 - 1e-5], df=4000)
    assert (low < statistic < high) == (actual == 1.0)


@pytest.mark.parametrize("word_bits", [32, 64])
def test_what_colluders_do_not_know_has_all_the_planned_noise(word_bits):
    """From the plan to the draws: the fewest survivors, less what the colluders drew."""
    plan = planned(word_bits)
    words = noise_of(plan, TERMS.threshold)
    unknown = total_of(words) - total_of(words[: TERMS.colluders])
    noise = natural(unknown, plan.releases[0]) / plan.releases[0].clip_norm
    event, multiplier = event_of(plan.releases[0]), plan.releases[0].noise_multiplier
    assert event.noise_multiplier >= multiplier * (1 - 1e-15)
    low, high = chi2.ppf([1e-5, 1 - 1e-5], df=4000)
    assert low < float(np.sum((noise / multiplier) ** 2)) < high


@pytest.mark.parametrize("missing", [1, 2])
def test_a_total_of_fewer_shares_is_told_apart(missing):
    """With more colluders than planned for, less noise is left: this notices one of five."""
    plan = planned()
    words = noise_of(plan, TERMS.honest - missing)
    noise = natural(total_of(words), plan.releases[0]) / plan.releases[0].clip_norm
    low = chi2.ppf(1e-5, df=4000)
    assert float(np.sum((noise / plan.releases[0].noise_multiplier) ** 2)) < low


def test_shares_of_two_thirds_of_the_noise_are_told_apart(monkeypatch):
    plan = planned()
    sound = SharedSum._share
    monkeypatch.setattr(SharedSum, "_share", lambda self, shape: sound(self, shape) * 2 // 3)
    noise = natural(total_of(noise_of(plan, TERMS.honest)), plan.releases[0])
    noise /= plan.releases[0].clip_norm
    low = chi2.ppf(1e-5, df=4000)
    assert float(np.sum((noise / plan.releases[0].noise_multiplier) ** 2)) < low


@pytest.mark.parametrize("word_bits", [32, 64])
def test_shares_are_independent(word_bits):
    """Between clients, between attempts, between entries."""
    plan = planned(word_bits)
    one, other = (natural(words, plan.releases[0]).ravel() for words in noise_of(plan, 2))
    std = noise_std_of(plan.releases[0], 1)
    for left, right in ((one, other), (one[1:], one[:-1])):
        products = left * right / std**2
        assert abs(products.mean()) < 5 / math.sqrt(len(products))
    again = [shared_mechanism_for(plan, 0, NoiseSource.system()).words([]) for _ in range(2)]
    assert not np.array_equal(*again)


def test_a_source_never_gives_two_sums_the_same_noise():
    source = NoiseSource.seeded(12)
    one, two = SharedSum(release(), source), SharedSum(release(), source)
    assert not np.array_equal(one.words([]), two.words([]))


def test_reproducible_noise_is_marked():
    assert SharedSum(release(), NoiseSource.system()).is_private
    assert not SharedSum(release(), NoiseSource.seeded(1)).is_private


def test_noise_of_several_survivors():
    one = release(clip_norm=20.0)
    event = event_of(one)
    fewest = noise_std_of(one, TERMS.threshold)
    assert noise_std_of(one, 5) == pytest.approx(1.5 * 20.0, rel=1e-6)
    assert noise_std_of(one, 5) >= 1.5 * 20.0 * (1 - 1e-12)
    assert fewest == pytest.approx(math.sqrt(8 / 5) * 1.5 * 20.0, rel=1e-6)
    assert fewest == math.sqrt(8 * event.share_variance) * 20.0 / event.clip_grid


# which mechanism


def test_the_event_says_what_is_done():
    mechanism = SharedSum(release(rows=4, width=2), NoiseSource.system())
    event = mechanism.event
    assert event == event_of(release(rows=4, width=2))
    assert (event.clients, event.threshold, event.colluders) == (10, 8, 3)
    assert (event.rows, event.width, event.word_bits) == (4, 2, 32)
    assert 1.5 <= event.noise_multiplier < 1.5 * (1 + 1e-6)


def local():
    one = release(shares=None)
    return PrivacyPlan(unit="user", mode="local", delta=1e-5, epsilon=1.0, releases=(one,))


def test_each_mode_has_its_mechanism():
    shared = planned()
    assert isinstance(mechanism_for(local(), 0, NoiseSource.seeded(1)), GaussianSum)
    assert isinstance(shared_mechanism_for(shared, 0, NoiseSource.seeded(1)), SharedSum)
    for wrong in (
        lambda: mechanism_for(shared, 0, NoiseSource.seeded(1)),
        lambda: GaussianSum(shared.releases[0], NoiseSource.seeded(1)),
        lambda: shared_mechanism_for(local(), 0, NoiseSource.seeded(1)),
        lambda: shared_mechanism_for(shared, 1, NoiseSource.seeded(1)),
        lambda: shared_mechanism_for(shared, -1, NoiseSource.seeded(1)),
        lambda: noise_std_of(local().releases[0], 3),
        lambda: SharedSum(release(shares=None, noise_multiplier=0.0), NoiseSource.seeded(1)),
    ):
        with pytest.raises(ReleaseError) as refused:
            wrong()
        assert refused.value.code == Code.RELEASE_UNDECLARED


@pytest.mark.parametrize(
    "total",
    [
        np.zeros((7, 3), np.uint64),
        np.zeros((7, 3), np.int32),
        np.zeros((3, 7), np.uint32),
        np.zeros(21, np.uint32),
    ],
    ids=["other words", "signed", "transposed", "flat"],
)
def test_a_total_of_another_form_is_refused(total):
    with pytest.raises(ReleaseError, match=r"\[7, 3\] of 32 bits"):
        natural(total, release())

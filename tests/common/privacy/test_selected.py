"""Sums of chosen rows: what is added up, what is chosen, what noise it has, whether it holds."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, norm

from common.errors import Code, PrivacyError, ReleaseError
from common.privacy.contributions import SparseRows
from common.privacy.events import event_of
from common.privacy.gathered import PADDING, GatheredRows, dense_rows
from common.privacy.gdp import gaussian_delta
from common.privacy.mechanisms import ExactSum, GaussianSum, local_sum, mechanism_for
from common.privacy.plan import PrivacyPlan, Release, RowSelection
from common.privacy.selected import SelectedSum
from common.privacy.stream import NoiseSource
from tests.common.privacy.batches import BAD, AsIs, oracle_sum, rank_one, sparse


def choice(**changes):
    return RowSelection(**{"threshold": 2.0, "dense_rows": 2, "clip_norm": 1.5, **changes})


def release(**changes):
    values = {"step": "solver.step", "rows": 7, "width": 3, "share": 1.0, "noise_multiplier": 1.5}
    return Release(**{**values, "selection": choice(), **changes})


class Recording:
    """A sampler that draws zeros, to see the integers beneath, and remembers how many."""

    def __init__(self):
        self.shapes = []

    def draw(self, shape, noise):
        self.shapes.append(shape)
        return np.zeros(shape, dtype=np.int64)


def without_noise(planned):
    mechanism = SelectedSum(planned, NoiseSource.seeded(1))
    mechanism._sampler, mechanism._count_sampler = Recording(), Recording()
    return mechanism


# sums and choices


def slow_counts(batches, planned, clip_grid):
    """User by user: 1 for each row, shortened to the clip norm, in Python's own integers."""
    chosen, counts = planned.selection, [0] * (planned.rows - planned.selection.dense_rows)
    for batch in batches:
        for block in batch.expand(10**9):
            for user in range(len(block.users)):
                rows = block.rows[block.indptr[user] : block.indptr[user + 1]]
                mine = [int(row) for row in rows if row < len(counts)]
                size = min(1.0, chosen.clip_norm / max(len(mine), 1) ** 0.5) / chosen.clip_norm
                for row in mine:
                    counts[row] += int(size * clip_grid * (1 - 2**-30))
    return counts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 8), st.floats(0.3, 4.0))
def test_the_fast_sum_equals_the_slow_one(seed, n_users, dense, clip_norm):
    rng = np.random.default_rng(seed)
    chosen = choice(dense_rows=dense, clip_norm=clip_norm, threshold=rng.uniform(0, 4))
    planned = release(rows=9, selection=chosen)
    users = np.flatnonzero(rng.random(n_users) < 0.8)
    half = len(users) // 2
    batches = [rank_one(rng, users[:half], 9, 3), rank_one(rng, users[half:], 9, 3)]
    mechanism = without_noise(planned)
    event = mechanism.event
    ours = mechanism.sum(batches)
    counts = slow_counts(batches, planned, event.count_clip_grid)
    assert np.abs(mechanism._counts[:, 0] - counts).max(initial=0) <= n_users  # last unit by float
    unit = clip_norm / event.count_clip_grid
    kept = [row >= 9 - dense or counts[row] * unit >= chosen.threshold for row in range(9)]
    slow = oracle_sum(batches, planned, event.clip_grid) * np.array(kept)[:, None]
    near = any(abs(count * unit - chosen.threshold) < 1e-6 for count in counts)
    if not near:
        assert np.array_equal(np.rint(ours / mechanism._unit).astype(np.int64), slow)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3), st.floats(0.3, 4.0))
def test_gathered_rows_are_summed_and_counted_as_those_written_out(seed, dense, clip_norm):
    """Padding, rows that are both own and shared, and dense ones."""
    rng = np.random.default_rng(seed)
    own = np.array([rng.choice(9, 4, replace=False) for _ in range(6)])
    own[rng.random(own.shape) < 0.3] = PADDING
    shared, parameters = np.flatnonzero(rng.random(9) < 0.3), 3 * dense - (dense > 0)
    batch = GatheredRows(
        np.arange(6),
        own,
        rng.normal(size=(6, 4, 3)),
        shared,
        rng.normal(size=(6, len(shared), 3)),
        dense_rows(9, parameters, 3),
        rng.normal(size=(6, parameters)),
    )
    chosen = choice(dense_rows=int(rng.integers(0, 12)), clip_norm=clip_norm)  # whatever was meant
    found = []
    for batches in ([batch], list(batch.expand(20))):
        mechanism = without_noise(release(rows=12, selection=chosen))
        found.append((mechanism.sum(batches), mechanism._counts))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_rows_are_counted_up_to_the_clip_norm():
    planned = release(rows=8, selection=choice(dense_rows=1, clip_norm=1.0, threshold=0.0))
    batch = sparse([0, 1, 2], [[0], [0, 1, 2, 3], [0, 7]])
    mechanism = without_noise(planned)
    mechanism.sum([batch])
    counts = mechanism._counts[:, 0] / mechanism.event.count_clip_grid
    assert counts == pytest.approx([2.5, 0.5, 0.5, 0.5, 0, 0, 0], abs=1e-6)


def test_what_counts_are_chosen_by_is_no_matter_of_values():
    """Nothing, nan and huge values count as any; their sums are what they are elsewhere."""
    rows = [[0, 1], [0, 1], [1, 2]]
    batch = sparse([0, 1, 2], rows)
    odd = batch.values.copy()
    odd[0] = 0.0
    odd[2] = np.nan
    odd[4] = 1e300
    found = []
    for values in (batch.values, odd):
        mechanism = without_noise(release())
        mechanism.sum([SparseRows(batch.users, batch.indptr, batch.rows, values)])
        found.append(mechanism._counts)
    assert np.array_equal(*found)


def test_noise_is_drawn_for_kept_rows_alone():
    planned = release(rows=100, width=4, selection=choice(dense_rows=3, clip_norm=1.0))
    mechanism = without_noise(planned)
    batch = sparse(range(9), [[5, 8]] * 8 + [[9, 97]], width=4)
    total = mechanism.sum([batch])
    assert mechanism._count_sampler.shapes == [(97, 1)]
    assert mechanism._sampler.shapes == [(5, 4)]
    assert np.array_equal(np.flatnonzero(total.any(axis=1)), [5, 8, 97])
    nobody = without_noise(planned.model_copy(update={"selection": choice(threshold=1e12)}))
    assert not nobody.sum([batch]).any()
    assert nobody._sampler.shapes == [(2, 4)]


def test_rows_that_are_not_chosen_are_exactly_zero_and_all_others_have_noise():
    planned = release(rows=400, selection=choice(clip_norm=1.0, threshold=1e6, dense_rows=50))
    total = SelectedSum(planned, NoiseSource.system()).sum([sparse([0], [[0, 399]])])
    assert not total[:350].any()
    assert np.all(total[350:] != 0)


# the guarantee


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=9, max_size=9),
    st.sets(st.integers(0, 8), min_size=3, max_size=3),
    st.floats(0.02, 0.98),
    st.floats(0.1, 5.0),
)
def test_one_user_moves_counts_and_values_by_one_sensitivity_together(
    values, rows, share, clip_norm
):
    """In integers: (counts/σ1)² + (values/σ2)² is at most 1/σ², whatever a user holds."""
    chosen = choice(share=share, clip_norm=clip_norm)
    planned = release(rows=9, selection=chosen)
    others = rank_one(np.random.default_rng(0), np.arange(5), 9, 3)
    extra = SparseRows(
        np.array([5]), np.array([0, 3]), np.array(sorted(rows)), np.array(values).reshape(3, 3)
    )
    seen = []
    for batches in ([others], [others, extra]):
        mechanism = without_noise(planned)
        total = mechanism._gather(batches, None)
        counts = mechanism._counts.copy()
        seen.append((counts, total))
    event = mechanism.event
    moved = [
        sum(int(unit) ** 2 for unit in (after - before).ravel())
        for before, after in zip(*seen, strict=True)
    ]
    joint = Fraction(moved[0], event.count_sigma_grid**2) + Fraction(moved[1], event.sigma_grid**2)
    assert joint * Fraction(event.noise_multiplier) ** 2 <= 1
    assert event.noise_multiplier >= planned.noise_multiplier


RUNS = 1500
NEIGHBOURS = release(
    rows=1,
    width=1,
    noise_multiplier=1.0,
    steps=RUNS,
    selection=RowSelection(share=0.5, clip_norm=1.0, threshold=0.5),
)


def looks_like_a_member(factors, *, member, seed):
    """How often a real release of one row, 0 or noised, is likelier with the user than without.

    Counts and values have `factors` of the noise that was planned, and whoever looks knows it.
    """
    mechanism = SelectedSum(NEIGHBOURS, NoiseSource.seeded(seed))
    counts, values = factors
    mechanism._count_sampler = Scaled(mechanism._count_sampler, counts)
    mechanism._sampler = Scaled(mechanism._sampler, values)
    own = SparseRows(np.array([0]), np.array([0, 1]), np.array([0]), np.ones((1, 1)))
    got = np.array([mechanism.sum([own] if member else [])[0, 0] for _ in range(RUNS)])
    sigmas = np.array([mechanism.count_noise_std * counts, mechanism.noise_std * values])
    kept = [norm.sf((0.5 - shift) / sigmas[0]) for shift in (0, 1)]
    value_ratio = norm.logpdf(got, 1, sigmas[1]) - norm.logpdf(got, 0, sigmas[1])
    dropped = np.log1p(-kept[1]) - np.log1p(-kept[0])
    ratio = np.where(got == 0, dropped, np.log(kept[1] / kept[0]) + value_ratio)
    return float((ratio > 0).mean())


class Scaled:
    def __init__(self, sound, factor):
        self.sound, self.factor = sound, factor

    def draw(self, shape, noise):
        return np.rint(self.sound.draw(shape, noise) * self.factor).astype(np.int64)


def advantage(*factors):
    having, without = (looks_like_a_member(factors, member=m, seed=3 + m) for m in (True, False))
    return having - without


def test_neighbours_are_told_apart_no_better_than_was_charged():
    """Many releases with one user beside as many without, against δ at ε = 0."""
    allowed = gaussian_delta(1.0, 0.0)
    assert 0.7 * allowed < advantage(1.0, 1.0) < allowed + 0.06


@pytest.mark.parametrize("factors", [(0.2, 1.0), (1.0, 0.2)], ids=["counts", "values"])
def test_neighbours_are_told_apart_where_noise_is_missing(factors):
    assert advantage(*factors) > gaussian_delta(1.0, 0.0) + 0.06


# noise


@pytest.mark.parametrize("sampler", ["exact", "fast"])
@pytest.mark.parametrize("actual", [1.0, 2 / 3, 3 / 2])
def test_values_have_the_planned_sigma(sampler, actual):
    """Chi-square of 4,000 entries: accepts σ2, rejects two thirds and three halves of it."""
    chosen = RowSelection(share=0.36, threshold=0.0, dense_rows=1000)
    planned = release(
        rows=1001, width=4, noise_multiplier=1.5 * actual, sampler=sampler, selection=chosen
    )
    noise = SelectedSum(planned, NoiseSource.seeded(2)).sum([])[1:]
    claimed = 1.5 / 0.8
    statistic = float(np.sum((noise / claimed) ** 2))
    low, high = chi2.ppf([1e-4, 1 - 1e-4], df=4000)
    assert (low < statistic < high) == (actual == 1.0)


@pytest.mark.parametrize("sampler", ["exact", "fast"])
@pytest.mark.parametrize("actual", [1.0, 2 / 3, 3 / 2])
def test_counts_have_the_planned_sigma(sampler, actual):
    """How many of 4,000 rows that nobody touches are kept, at a threshold of one σ1."""
    claimed = 1.5 / 0.6 * 2.0
    chosen = RowSelection(share=0.36, clip_norm=2.0, threshold=claimed)
    planned = release(
        rows=4000, width=1, noise_multiplier=1.5 * actual, sampler=sampler, selection=chosen
    )
    kept = np.count_nonzero(SelectedSum(planned, NoiseSource.seeded(2)).sum([]))
    low, high = binom.ppf([1e-4, 1 - 1e-4], 4000, norm.sf(1.0))
    assert (low < kept < high) == (actual == 1.0)


def test_what_the_mechanism_says_of_its_noise_is_what_was_planned():
    planned = release(clip_norm=0.05)
    mechanism = SelectedSum(planned, NoiseSource.system())
    assert mechanism.noise_std == pytest.approx(planned.noise_std, rel=1e-6)
    assert mechanism.count_noise_std == pytest.approx(planned.count_noise_std, rel=1e-6)
    assert mechanism.event == event_of(planned)


def test_each_sum_and_each_mechanism_has_its_own_noise():
    planned = release(steps=2, selection=choice(dense_rows=6, threshold=0))
    mechanism = SelectedSum(planned, NoiseSource.system())
    assert not np.any(mechanism.sum([])[1:] == mechanism.sum([])[1:])
    source = NoiseSource.seeded(12)
    one, two = SelectedSum(planned, source), SelectedSum(planned, source)
    assert not np.any(one.sum([])[1:] == two.sum([])[1:])


def test_counts_begin_anew_with_each_sum():
    mechanism = without_noise(release(steps=2))
    batch = sparse([0, 1, 2], [[0], [0], [0]])
    assert np.flatnonzero(mechanism.sum([batch])[:, 0]).tolist() == [0]
    assert not mechanism.sum([]).any()


# what every mechanism keeps


@pytest.mark.parametrize("what", BAD)
def test_contributions_that_could_break_the_sensitivity_are_refused(what):
    mechanism = SelectedSum(release(), NoiseSource.seeded(7))
    with pytest.raises(PrivacyError) as refused:
        mechanism.sum([AsIs(block) for block in BAD[what]])
    assert refused.value.code == Code.CONTRIBUTION_INVALID
    with pytest.raises(ReleaseError):  # the sum is used up: nothing gives budget back
        mechanism.sum([sparse([0], [[1]])])


@pytest.mark.parametrize("what", BAD)
def test_a_client_releases_what_came_before_a_defect_with_all_its_noise(what):
    told = []
    planned = release(selection=choice(dense_rows=6))
    mechanism = SelectedSum(planned, NoiseSource.seeded(13))
    got = mechanism.sum([sparse([0], [[2]]), *map(AsIs, BAD[what])], told.append)
    assert [error.code for error in told] == [Code.CONTRIBUTION_INVALID]
    twin = SelectedSum(planned, NoiseSource.seeded(13))
    assert np.array_equal(got, twin.sum([sparse([0], [[2]]), *BAD[what][:-1]]))


def test_only_sampled_users_take_part():
    mechanism = SelectedSum(release(sampling_rate=0.5, steps=2), NoiseSource.seeded(9))
    with pytest.raises(PrivacyError, match="without a sample"):
        mechanism.sum([])
    users = mechanism.sample(100)
    absent = np.setdiff1d(np.arange(100), users)[:1]
    with pytest.raises(PrivacyError, match="not sampled"):
        mechanism.sum([sparse(absent, [[0]])])


def test_reproducible_noise_is_marked():
    assert SelectedSum(release(), NoiseSource.system()).is_private
    assert not SelectedSum(release(), NoiseSource.seeded(1)).is_private


def test_each_plan_has_its_mechanism():
    bare = release(selection=None)
    for planned, kind in ((release(), SelectedSum), (bare, GaussianSum)):
        plan = PrivacyPlan(unit="user", mode="local", delta=1e-5, epsilon=1.0, releases=(planned,))
        assert type(mechanism_for(plan, 0, NoiseSource.seeded(1))) is kind
        assert type(local_sum(planned, NoiseSource.seeded(1))) is kind
    exact = release(noise_multiplier=0.0)
    plan = PrivacyPlan(unit="user", mode="none", delta=0.0, epsilon=None, releases=(exact,))
    assert isinstance(mechanism_for(plan, 0, NoiseSource.seeded(1)), ExactSum)
    for wrong in (lambda: SelectedSum(bare, NoiseSource.seeded(1)),
                  lambda: SelectedSum(exact, NoiseSource.seeded(1)),
                  lambda: GaussianSum(release(), NoiseSource.seeded(1))):  # fmt: skip
        with pytest.raises(ReleaseError) as refused:
            wrong()
        assert refused.value.code == Code.RELEASE_UNDECLARED

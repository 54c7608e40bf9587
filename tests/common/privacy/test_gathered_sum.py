import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.errors import Code, PrivacyError
from common.privacy import gathered_sum, grid
from common.privacy.gathered import PADDING, GatheredRows, dense_rows
from common.privacy.gathered_sum import add_gathered, has_twofold_rows
from common.privacy.grid import factors_of, quantise
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.scatter import add_rows
from common.privacy.stream import NoiseSource
from tests.common.privacy.gathered_batches import gathered

CLIPS = st.sampled_from([1e-300, 1e-30, 0.1, 1.0, 3.7, 1e300])
GRIDS = st.sampled_from([1, 2, 1023, 5851, 2**20, 2**30])


def written_out(batch, shape, clip_norm, clip_grid):
    """The slow path: rows written out, quantised, added up."""
    total = np.zeros(shape, dtype=np.int64)
    for block in batch.expand(1 << 17):
        add_rows(total, block.rows, quantise(block, clip_norm, clip_grid))
    return total


def made(seed, users=5, own=4, shared=3, width=3, parameters=7, items=30, dtype=np.float32):
    """A sound batch without twofold rows, of a solver's form: padded, shuffled, normal values."""
    rng = np.random.default_rng(seed)
    everybody = np.sort(rng.choice(items, shared, replace=False))
    others = np.setdiff1d(np.arange(items), everybody)
    rows = np.stack([rng.permutation(others)[:own] for _ in range(users)])
    rows[rng.random(rows.shape) < 0.2] = PADDING
    sizes = 10.0 ** rng.integers(-3, 3, size=users)
    scale = sizes[:, None, None]
    return GatheredRows(
        np.sort(rng.choice(3 * users, users, replace=False)),
        rows,
        (scale * rng.normal(size=(users, own, width))).astype(dtype),
        everybody,
        (scale * rng.normal(size=(users, shared, width))).astype(dtype),
        dense_rows(items, parameters, width),
        (scale[:, 0] * rng.normal(size=(users, parameters))).astype(dtype),
    )


def shape_of(batch, items):
    return items + len(batch.dense_rows), batch.width


@settings(max_examples=150, deadline=None)
@given(gathered(items=8), CLIPS, GRIDS)
def test_fast_sum_is_the_slow_one_to_the_last_integer(batch, clip_norm, clip_grid):
    fits = ~has_twofold_rows(batch)
    for user in np.flatnonzero(fits):
        one = batch.take(slice(user, user + 1))
        total = np.zeros(shape_of(batch, 8), dtype=np.int64)
        add_gathered(total, one, clip_norm, clip_grid)
        assert np.array_equal(total, written_out(one, total.shape, clip_norm, clip_grid))
        assert sum(int(unit) ** 2 for unit in total.ravel()) <= clip_grid**2
    if np.all(fits):
        total = np.zeros(shape_of(batch, 8), dtype=np.int64)
        add_gathered(total, batch, clip_norm, clip_grid)
        assert np.array_equal(total, written_out(batch, total.shape, clip_norm, clip_grid))


@settings(max_examples=100, deadline=None)
@given(gathered(items=8, wide=True), CLIPS, GRIDS)
def test_float64_values_of_any_size_are_the_same_too(batch, clip_norm, clip_grid):
    if np.any(has_twofold_rows(batch)):
        batch = dataclasses.replace(batch, own_rows=np.full_like(batch.own_rows, PADDING))
    total = np.zeros(shape_of(batch, 8), dtype=np.int64)
    add_gathered(total, batch, clip_norm, clip_grid)
    assert np.array_equal(total, written_out(batch, total.shape, clip_norm, clip_grid))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 5, 8, 9, 16, 17, 33, 64]),
    st.integers(0, 150),
    st.sampled_from([np.float32, np.float64]),
)
@example(3, 2, 64, 0, np.float32)
def test_sums_of_long_rows_round_alike(seed, users, width, shared, dtype):
    """Norms of thousands of values depend on the order of their sum: it is the same order."""
    batch = made(seed, users, 40, shared, width, 5 * width - 1, 300, dtype)
    total = np.zeros(shape_of(batch, 300), dtype=np.int64)
    add_gathered(total, batch, 1.0, 2**30)
    assert np.array_equal(total, written_out(batch, total.shape, 1.0, 2**30))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([3, 33, 64]), st.sampled_from([0.0, -0.0]))
def test_shared_rows_that_are_own_ones_and_zero_are_none(seed, width, zero):
    """As a solver makes them: the sum takes the fast path, and rounds as the slow one."""
    batch = made(seed, 5, 40, 90, width, 5 * width - 1, 300)
    for user, rows in enumerate(batch.own_rows):
        taken = np.arange(90) % 3 == user % 3
        rows[:30] = batch.shared_rows[taken]
        batch.shared_values[user, taken] = zero
    assert not np.any(has_twofold_rows(batch))
    total = np.zeros(shape_of(batch, 300), dtype=np.int64)
    add_gathered(total, batch, 1.0, 2**30)
    assert np.array_equal(total, written_out(batch, total.shape, 1.0, 2**30))
    # to the last bit of the norm, which an integer hardly ever shows
    in_order = []

    def watched(squares, *args):
        in_order.append(squares.copy())
        return factors_of(squares, *args)

    with pytest.MonkeyPatch.context() as patch:
        for module in (gathered_sum, grid):
            patch.setattr(module, "factors_of", watched)
        add_gathered(total, batch, 1.0, 2**30)
        written_out(batch, total.shape, 1.0, 2**30)
    fast, slow = (np.concatenate(parts) for parts in (in_order[:1], in_order[1:]))
    assert len(in_order) == 2
    assert np.array_equal(fast, slow)
    batch.shared_values[3, 0, -1] = 1e-30
    assert np.flatnonzero(has_twofold_rows(batch)).tolist() == [3]


@pytest.mark.parametrize("ulps", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("clip_norm", [0.3, 1.0, 7.0])
def test_norms_next_to_the_clip_round_alike(ulps, clip_norm):
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(1, 4, 5))
    direction *= clip_norm / np.linalg.norm(direction)
    for _ in range(abs(ulps)):
        direction = np.nextafter(direction, np.inf * np.sign(ulps) * np.sign(direction))
    empty = np.zeros((1, 0))
    batch = GatheredRows(
        np.array([0]),
        np.array([[7, 2, 5, 0]]),
        direction,
        np.array([], dtype=np.int64),
        np.zeros((1, 0, 5)),
        range(9, 9),
        empty,
    )
    total = np.zeros((9, 5), dtype=np.int64)
    add_gathered(total, batch, clip_norm, 2**30)
    assert np.array_equal(total, written_out(batch, total.shape, clip_norm, 2**30))
    assert 0.999 < np.linalg.norm(total / 2**30) <= 1


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("at_once", [1, 50, 1 << 16])
def test_threads_and_blocks_change_nothing(monkeypatch, cores, at_once):
    monkeypatch.setattr(gathered_sum, "cores", lambda: cores)
    monkeypatch.setattr(gathered_sum, "_SCRATCH_VALUES", at_once)
    monkeypatch.setattr(gathered_sum, "_WORTH_A_THREAD", 10)
    batch = made(1, users=23)
    total = np.full(shape_of(batch, 30), 5, dtype=np.int64)
    add_gathered(total, batch, 1.0, 2**20)
    assert np.array_equal(total - 5, written_out(batch, total.shape, 1.0, 2**20))


def test_threads_write_to_the_total_one_at_a_time(monkeypatch):
    """Two users may have the same row: whoever adds to it holds the lock."""
    lock, written = threading.Lock(), []

    class Watched(np.ndarray):
        def __setitem__(self, key, value):
            written.append(lock.locked())
            super().__setitem__(key, value)

    monkeypatch.setattr(gathered_sum, "Lock", lambda: lock)
    monkeypatch.setattr(gathered_sum, "cores", lambda: 2)
    monkeypatch.setattr(gathered_sum, "_SCRATCH_VALUES", 1)
    monkeypatch.setattr(gathered_sum, "_WORTH_A_THREAD", 10)
    batch = made(1, users=9)
    total = np.zeros(shape_of(batch, 30), dtype=np.int64).view(Watched)
    add_gathered(total, batch, 1.0, 2**20)
    assert len(written) == 9 + 2 * 2  # each user's own rows; shared and dense ones of each thread
    assert all(written)


def test_what_floats_cannot_decide_is_decided_in_integers(monkeypatch):
    """Without the margin norms come out next to the clip; those above it become zero."""
    monkeypatch.setattr(gathered_sum, "MARGIN", 1.0 + 2.0**-31)
    monkeypatch.setattr("common.privacy.grid.MARGIN", 1.0 + 2.0**-31)
    dropped = 0
    for seed in range(200):
        batch = made(seed, users=1, own=1, shared=0, parameters=1, width=2)
        total = np.zeros(shape_of(batch, 30), dtype=np.int64)
        add_gathered(total, batch, 1e-9, 2**30)
        assert np.array_equal(total, written_out(batch, total.shape, 1e-9, 2**30))
        assert sum(int(unit) ** 2 for unit in total.ravel()) <= 2**60
        dropped += not total.any()
    assert 0 < dropped < 200


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 2**30), st.integers(-3, 3))
def test_the_claim_of_floats_is_never_wrong(clip_grid, off):
    """Two squares around clip_grid²: said to be short only if they are."""
    rest = max(0, clip_grid**2 - (clip_grid - 1) ** 2)
    second = max(0, int(np.sqrt(rest)) + off)
    units = np.array([[[clip_grid - 1, second]]], dtype=np.int64)
    long = gathered_sum._too_long(units.astype(np.float64), units, clip_grid)
    assert bool(long[0]) == ((clip_grid - 1) ** 2 + second**2 > clip_grid**2)


def release(batch, items=30, **changes):
    rows, width = shape_of(batch, items)
    values = {"step": "s.step", "rows": rows, "width": width, "share": 1.0}
    return Release(**{**values, "noise_multiplier": 1.5, **changes})


class NoNoise:
    def draw(self, shape, noise):
        return np.zeros(shape, dtype=np.int64)


def bare_sum(planned, batches):
    mechanism = GaussianSum(planned, NoiseSource.seeded(1))
    mechanism._sampler = NoNoise()
    total = mechanism.sum(batches) / mechanism._unit
    return np.rint(total).astype(np.int64), mechanism.event.clip_grid


@settings(max_examples=60, deadline=None)
@given(gathered(items=6), gathered(items=6, first_user=50))
def test_a_mechanism_sums_gathered_rows_as_if_they_were_written_out(first, second):
    """Twofold rows too, batch after batch, and mixed with batches of another form."""
    batches = [first] if first.width != second.width else [first, second]
    planned = Release(
        step="s.step",
        rows=6 + max(len(batch.dense_rows) for batch in batches),
        width=first.width,
        share=1.0,
        noise_multiplier=1.5,
    )
    ours, grid = bare_sum(planned, batches)
    slow = sum(written_out(batch, ours.shape, 1.0, grid) for batch in batches)
    assert np.array_equal(ours, slow)
    mixed = [*batches[:1], *(block for batch in batches[1:] for block in batch.expand(9))]
    assert np.array_equal(bare_sum(planned, mixed)[0], slow)


def changed(name, change):
    batch = made(2)
    array = getattr(batch, name)
    array = array.copy() if isinstance(array, np.ndarray) else array
    return dataclasses.replace(batch, **{name: change(array)})


def with_entry(place, value):
    def change(array):
        array[place] = value
        return array

    return change


BAD = {
    "users out of order": changed("users", lambda a: a[::-1].copy()),
    "user twice": changed("users", with_entry(1, made(2).users[0])),
    "negative user": changed("users", with_entry(0, -1)),
    "users are not integers": changed("users", lambda a: a + 0.5),
    "users have no sign": changed("users", lambda a: a.astype(np.uint64)),
    "too few users": changed("users", lambda a: a[1:]),
    "own row twice": changed("own_rows", lambda a: np.full_like(a, 0)),
    "own row negative": changed("own_rows", with_entry((0, 0), -2)),
    "own row too large": changed("own_rows", with_entry((0, 0), 33)),
    "own row is a dense one": changed("own_rows", with_entry((0, 0), 30)),
    "own rows are not integers": changed("own_rows", lambda a: a.astype(np.float64)),
    "own rows have no sign": changed("own_rows", lambda a: a.astype(np.uint64)),
    "own values too few": changed("own_values", lambda a: a[:, 1:]),
    "shared row twice": changed("shared_rows", lambda a: np.full_like(a, a[0])),
    "shared rows fall": changed("shared_rows", lambda a: a[::-1].copy()),
    "shared row negative": changed("shared_rows", with_entry(0, -1)),
    "shared row is a dense one": changed("shared_rows", with_entry(2, 31)),
    "shared values too wide": changed("shared_values", lambda a: np.zeros((5, 3, 4), a.dtype)),
    "dense rows too few": changed("dense_rows", lambda a: range(30, 32)),
    "dense rows skip": changed("dense_rows", lambda a: range(30, 36, 2)),
    "dense rows outside": changed("dense_rows", lambda a: range(31, 34)),
    "dense rows negative": changed("dense_rows", lambda a: range(-3, 0)),
    "dense values for others": changed("dense_values", lambda a: a[1:]),
    "dense values are flat": changed("dense_values", lambda a: a.ravel()),
    "values are integers": changed("dense_values", lambda a: a.astype(np.int64)),
    "values are complex": changed("own_values", lambda a: a.astype(np.complex64)),
}


@pytest.mark.parametrize("what", BAD)
def test_gathered_rows_that_could_break_the_sensitivity_are_refused(what):
    planned = release(made(2))
    told = []
    bare_sum(planned, [made(2)])
    with pytest.raises(PrivacyError) as refused:
        bare_sum(planned, [BAD[what]])
    assert refused.value.code == Code.CONTRIBUTION_INVALID
    mechanism = GaussianSum(planned, NoiseSource.seeded(3))
    got = mechanism.sum([made(2), BAD[what]], told.append)
    twin = GaussianSum(planned, NoiseSource.seeded(3)).sum([made(2)])
    assert np.array_equal(got, twin)  # a batch is added whole or not at all
    assert [error.code for error in told] == [Code.CONTRIBUTION_INVALID]


def test_users_of_two_batches_are_in_order_and_sampled():
    batch = made(2)
    planned = release(batch)
    with pytest.raises(PrivacyError, match="strictly increasing"):
        bare_sum(planned, [batch, batch])
    nobody = batch.take(slice(0, 0))
    assert np.array_equal(
        bare_sum(planned, [nobody, batch, nobody])[0], bare_sum(planned, [batch])[0]
    )
    mechanism = GaussianSum(release(batch, sampling_rate=0.5), NoiseSource.seeded(4))
    mechanism.sample(100)
    with pytest.raises(PrivacyError, match="not sampled"):
        mechanism.sum([batch])


def test_dense_rows_alone_are_in_range():
    alone = made(5, own=0, shared=0)
    with pytest.raises(PrivacyError, match="row outside"):
        bare_sum(release(alone), [dataclasses.replace(alone, dense_rows=range(-3, 0))])


def test_users_without_anything_add_nothing():
    nothing = made(5, own=0, shared=0, parameters=0)
    assert not bare_sum(release(nothing), [nothing])[0].any()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
def test_small_integers_are_rows_too(kind):
    batch = made(6)
    names = ("users", "own_rows", "shared_rows")
    small = dataclasses.replace(
        batch, **{name: getattr(batch, name).astype(kind) for name in names}
    )
    planned = release(batch)
    assert np.array_equal(bare_sum(planned, [small])[0], bare_sum(planned, [batch])[0])

"""The sum of outer products against the slow path, and its guarantee."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Ints
from common.errors import Code, PrivacyError
from common.privacy import rank_one_sum
from common.privacy.grid import quantise
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.rank_one import RankOne
from common.privacy.rank_one_sum import add_rank_one
from common.privacy.scatter import add_rows
from common.privacy.stream import NoiseSource
from tests.common.privacy.batches import shared_rank_one

ROWS, WIDTH = 30, 5
CLIPS = st.sampled_from([1e-300, 1e-30, 0.1, 1.0, 3.7, 1e300])
GRIDS = st.sampled_from([1, 2, 1023, 5851, 2**20, 2**30])


def made(seed: int, users: int = 6, shared: int = 8, width: int = WIDTH) -> RankOne:
    """Users of very different sizes."""
    rng = np.random.default_rng(seed)
    batch = shared_rank_one(rng, np.arange(users), ROWS, width, shared)
    sizes = 10.0 ** rng.integers(-4, 4, users)
    return dataclasses.replace(batch, right=batch.right * sizes[:, None])


def fast(batch: RankOne, clip_norm: float, clip_grid: int) -> Ints:
    total = np.zeros((ROWS, batch.right.shape[1]), dtype=np.int64)
    add_rank_one(total, batch, clip_norm, clip_grid)
    return total


def slow(batch: RankOne, clip_norm: float, clip_grid: int) -> Ints:
    """Written out, quantised, added up."""
    total = np.zeros((ROWS, batch.right.shape[1]), dtype=np.int64)
    for block in batch.expand(1 << 17):
        add_rows(total, block.rows, quantise(block, clip_norm, clip_grid))
    return total


def alone(batch: RankOne, user: int) -> RankOne:
    return batch.take(slice(user, user + 1))


def length(units: Ints) -> int:
    """Squared, in Python's own integers."""
    return sum(int(unit) ** 2 for unit in units.ravel())


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), CLIPS, GRIDS)
def test_each_user_is_what_the_slow_path_gives_to_one_unit(
    seed: int, shared: int, clip_norm: float, clip_grid: int
) -> None:
    batch = made(seed, shared=shared)
    total = np.zeros((ROWS, WIDTH), dtype=np.int64)
    for user in range(len(batch.users)):
        found = fast(alone(batch, user), clip_norm, clip_grid)
        assert np.abs(found - slow(alone(batch, user), clip_norm, clip_grid)).max() <= 1
        assert length(found) <= clip_grid**2
        total += found
    assert np.array_equal(fast(batch, clip_norm, clip_grid), total)


def test_the_slow_path_hardly_ever_differs() -> None:
    differing = [np.mean(fast(b, 1.0, 2**30) != slow(b, 1.0, 2**30)) for b in map(made, range(30))]
    assert np.mean(differing) < 1e-3


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["left", "right", "shared_left"]),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e308, 1e200, 1e-200, 5e-324]),
    GRIDS,
)
def test_values_of_any_kind_stay_within_the_clip_and_are_that_user_s_alone(
    seed: int, where: str, bad: float, clip_grid: int
) -> None:
    batch = made(seed)
    before = [fast(alone(batch, user), 1.0, clip_grid) for user in range(6)]
    values = getattr(batch, where)
    if where == "left":
        values[batch.indptr[2] : batch.indptr[3]] = bad
    else:
        values[2] = bad
    after = [fast(alone(batch, user), 1.0, clip_grid) for user in range(6)]
    assert all(np.array_equal(after[user], before[user]) for user in range(6) if user != 2)
    assert length(after[2]) <= clip_grid**2
    assert np.array_equal(fast(batch, 1.0, clip_grid), sum(after))
    touched = where != "left" or batch.indptr[3] > batch.indptr[2]
    if not np.isfinite(bad) and touched:
        assert not after[2].any()


def test_nobody_and_users_without_rows_add_nothing() -> None:
    assert not fast(made(0, users=0), 1.0, 2**20).any()
    empty = made(1, shared=0)
    none = RankOne(empty.users, np.zeros(7, np.int64), empty.rows[:0], empty.left[:0], empty.right)
    assert not fast(none, 1.0, 2**20).any()
    whatever = dataclasses.replace(empty, shared_left=np.ones((6, 3)))
    assert np.array_equal(fast(whatever, 1.0, 2**20), fast(empty, 1.0, 2**20))
    assert not fast(dataclasses.replace(made(2), right=np.zeros((6, WIDTH))), 1.0, 2**20).any()


@pytest.mark.parametrize("width", [1, 3, 23, 64])
def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    batch = made(3, users=20, width=width)
    whole = fast(batch, 1.0, 2**30)
    for name, size in (("_BLOCK_ENTRIES", 1), ("_BLOCK_VALUES", 7), ("_SCRATCH_VALUES", 40)):
        monkeypatch.setattr(rank_one_sum, name, size)
        assert np.array_equal(fast(batch, 1.0, 2**30), whole)


@pytest.mark.parametrize(("margin", "kept"), [(1.0, True), (1.0 + 1e-3, False)])
def test_where_floats_prove_nothing_integers_decide(
    monkeypatch: pytest.MonkeyPatch, margin: float, kept: bool
) -> None:
    """Without the margin no float proves a clipped norm; beyond it integers are too long."""
    batch = made(4)
    batch = dataclasses.replace(batch, right=1e6 * batch.right)  # everybody is clipped
    monkeypatch.setattr(rank_one_sum, "MARGIN", margin)
    asked: list[int] = []
    exact: Callable[..., int] = rank_one_sum._exact_square
    monkeypatch.setattr(
        rank_one_sum, "_exact_square", lambda *args: asked.append(1) or exact(*args)
    )
    for user in range(6):
        found = fast(alone(batch, user), 1.0, 2**30)
        assert length(found) <= 2**60
        assert found.any() == kept
    assert asked


def test_own_rows_that_are_shared_too_are_one_row() -> None:
    """Two values of one row add up before they are clipped: apart, their squares would be less."""
    rows = np.array([4, 7])
    twofold = RankOne(
        np.array([0]), np.array([0, 2]), rows, np.array([1.0, 1.0]), np.ones((1, 1)),
        np.array([2, 4]), np.array([[3.0, 1.0]]),
    )  # fmt: skip
    once = RankOne(
        np.array([0]), np.array([0, 3]), np.array([2, 4, 7]), np.array([3.0, 2.0, 1.0]),
        np.ones((1, 1)),
    )  # fmt: skip
    assert np.array_equal(fast(twofold, 0.1, 2**20), fast(once, 0.1, 2**20))


def broken(**changes: Any) -> RankOne:
    return dataclasses.replace(made(5), **changes)


@pytest.mark.parametrize(
    "batch",
    [
        broken(users=np.zeros(6, np.int64)),
        broken(users=np.arange(6.0)),
        broken(users=np.arange(6, dtype=np.uint64)),
        broken(users=np.array([0, 1, 2, 3, 100, -100], np.int8)),  # its differences wrap around
        broken(users=np.array([0, 1, 2, 3, 2**62 + 1, -(2**62)])),
        broken(rows=made(5).rows + ROWS),
        broken(rows=np.zeros_like(made(5).rows)),
        broken(rows=made(5).rows[:-1]),
        broken(indptr=made(5).indptr[:-1]),
        broken(indptr=made(5).indptr[::-1].copy()),
        broken(left=made(5).left.astype(np.int64)),
        broken(right=made(5).right[:, :-1]),
        broken(right=made(5).right[:-1]),
        broken(shared_rows=np.arange(3)),
        broken(shared_rows=np.zeros(8, np.int64)),
        broken(shared_rows=np.arange(8) + ROWS),
        broken(shared_left=made(5).shared_left[:-1]),
    ],
)
def test_what_could_break_the_sensitivity_is_refused(batch: RankOne) -> None:
    release = Release(step="x", rows=ROWS, width=WIDTH, share=1.0, noise_multiplier=1.0)
    mechanism = GaussianSum(release, NoiseSource.seeded(0))
    with pytest.raises(PrivacyError) as caught:
        mechanism.sum([batch])
    assert caught.value.code is Code.CONTRIBUTION_INVALID


def test_users_who_were_not_sampled_are_refused() -> None:
    release = Release(
        step="x", rows=ROWS, width=WIDTH, share=1.0, noise_multiplier=1.0, sampling_rate=1e-9
    )
    mechanism = GaussianSum(release, NoiseSource.seeded(0))
    assert len(mechanism.sample(6)) == 0
    with pytest.raises(PrivacyError):
        mechanism.sum([made(5)])

"""What a step reads of users: windows of their events, and rivals that are none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Histories
from common.solvers.gradient.examples import Batch, Draw, empty_padded, rivals, windows
from common.solvers.neural import NeuralSettings, Parts

ITEMS = 40


def histories(counts: list[int], seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(ITEMS, count, replace=False)) for count in counts]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    items = np.concatenate(rows).astype(np.int64)
    order = np.concatenate([rng.permutation(count) for count in counts]).astype(np.int64)
    return Histories(indptr, items, rng.uniform(1, 5, len(items)), ITEMS, order)


def draw(shared: list[int], place: float = 0.3) -> Draw:
    return Draw(np.array(shared), place, np.random.default_rng(1).normal(size=ITEMS))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(1, 9), st.floats(0, 0.999))
def test_a_window_is_events_one_after_another(counts: list[int], length: int, place: float) -> None:
    if not sum(counts):
        counts = [1]
    log = histories(counts)
    found = windows(log, length, place)
    for user, count in enumerate(counts):
        row = found[user]
        assert (row[min(count, length) :] == -1).all()
        sequence, own = log.sequence_of(user).tolist(), row[row >= 0].tolist()
        assert len(own) == min(count, length)
        assert any(sequence[at : at + len(own)] == own for at in range(max(1, count - length + 1)))
    if place == 0:
        np.testing.assert_array_equal(found, log.recent(length))


def test_every_window_is_reached() -> None:
    log = histories([10])
    seen = {tuple(windows(log, 4, place)[0]) for place in np.linspace(0, 0.999, 50)}
    assert len(seen) == 7


@given(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=12, unique=True))
def test_no_own_item_is_a_rival(shared: list[int]) -> None:
    log, public = histories([0, 3, 25, 40]), draw(sorted(shared))
    own = windows(log, 5, 0.3)
    in_window, everywhere = rivals(own, public), rivals(own, public, log)
    for user in range(4):
        whole = log.sequence_of(user)
        for found, held in ((in_window, own[user]), (everywhere, whole)):
            expected = ~np.isin(public.shared, held)
            np.testing.assert_array_equal(found["rival"][user], expected)
            absent = ITEMS - len(np.unique(held[held >= 0]))
            ratio = max(absent, 1) / max(expected.sum(), 1)
            assert found["correction"][user] == pytest.approx(np.log(ratio), abs=1e-6)


def test_all_items_shared_need_no_correction() -> None:
    found = rivals(windows(histories([3, 9]), 9, 0.0), draw(list(range(ITEMS))))
    np.testing.assert_array_equal(found["correction"], 0.0)
    np.testing.assert_array_equal(found["rival"].sum(axis=1), [37, 31])


def test_users_who_fill_a_chunk_up_have_nothing() -> None:
    own = windows(histories([3, 9]), 9, 0.0)
    filled = empty_padded(Batch(own, rivals(own, draw([1, 2]))), 5)
    assert (filled.own[2:] == -1).all()
    assert all(not values[2:].any() for values in filled.example.values())
    np.testing.assert_array_equal(filled.own[:2], own)


def parts(**settings: object) -> Parts:
    return Parts(NeuralSettings.load({"length": 8, **settings}, where="test"))


def test_events_are_known_or_wanted_and_one_at_least_is_wanted() -> None:
    log = histories([0, 1, 2, 6, 20])
    share = []
    for place in np.random.default_rng(0).random(300):
        batch = parts(known_share=0.7).batch(log, draw([1, 5], place))
        known, wanted = batch.example["known"], batch.example["wanted"]
        np.testing.assert_array_equal(known ^ wanted, batch.own >= 0)
        assert (wanted.sum(axis=1)[1:] >= 1).all()
        share.append(known[4].mean())
    assert np.mean(share) == pytest.approx(0.69, abs=0.03)


def test_the_split_is_a_function_of_the_users_own_events_and_the_draw() -> None:
    log, public = histories([4, 0, 9, 1, 30]), draw([1, 5, 9], 0.61)
    together = parts(loss="explicit").batch(log, public)
    for user in (0, 2, 3, 4):
        alone = parts(loss="explicit").batch(log.take(np.array([user])), public)
        np.testing.assert_array_equal(alone.own[0], together.own[user])
        for name, values in alone.example.items():
            np.testing.assert_array_equal(values[0], together.example[name][user])


@given(st.integers(0, 99), st.floats(0, 0.999))
def test_an_event_without_a_rating_is_known_and_never_wanted(seed: int, place: float) -> None:
    log, rng = histories([4, 1, 9, 0, 30], seed), np.random.default_rng(seed)
    unrated = rng.random(len(log.items)) < 0.5
    weights = np.where(unrated, rng.choice([np.nan, np.inf], len(unrated)), log.weights)
    rated = replace(log, weights=weights)
    batch = parts(loss="explicit").batch(rated, draw([1], place))
    known, wanted = batch.example["known"], batch.example["wanted"]
    assert not (known & wanted).any()
    np.testing.assert_array_equal(known | wanted, batch.own >= 0)
    for user in range(5):
        mine = rated.take(np.array([user]))
        without = np.isin(batch.own[user], mine.items[~np.isfinite(mine.weights)])
        assert not wanted[user][without].any()
        assert not batch.example["rating"][user][without].any()
        here = (batch.own[user] >= 0) & ~without
        assert wanted[user].any() == here.any()
    assert np.isfinite(batch.example["rating"]).all()


def test_ratings_are_those_of_the_events() -> None:
    log = histories([4, 9])
    settings = parts(loss="explicit", rating_mean=3.0, rating_scale=2.0)
    batch = settings.batch(log, draw([1]))
    for user in range(2):
        mine = log.take(np.array([user]))
        for item, rating in zip(batch.own[user], batch.example["rating"][user], strict=True):
            weight = mine.weights[mine.items == item]
            expected = (weight[0] - 3.0) / 2.0 if item >= 0 else 0.0
            assert rating == pytest.approx(expected, rel=1e-5)

"""Hidden events: a partition of the shop's events, and a fair value of a ranking."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Histories
from common.models.holdout import Holdout, hide_events
from common.models.mf import FoldIn, MatrixFactorisation


def make_histories(rng: np.random.Generator, users: int, items: int) -> Histories:
    dense = rng.random((users, items)) < rng.random((users, 1))
    user, item = np.nonzero(dense)
    counts = np.bincount(user, minlength=users)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(indptr, item, rng.uniform(0.5, 2.0, len(item)), items)


def pairs(histories: Histories, users: np.ndarray) -> set[tuple[int, int, float]]:
    owner = users[histories.user_of_event]
    return set(
        zip(owner.tolist(), histories.items.tolist(), histories.weights.tolist(), strict=True)
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.05, 0.5]), most=st.integers(1, 4))
def test_hidden_and_rest_make_the_whole(seed: int, share: float, most: int) -> None:
    rng = np.random.default_rng(seed)
    histories = make_histories(rng, 12, 15)
    hold = hide_events(histories, share, most, rng)
    everybody = np.arange(12)
    hidden, rest = pairs(hold.hidden, hold.users), pairs(hold.rest, everybody)
    assert not hidden & rest
    assert hidden | rest == pairs(histories, everybody)
    assert hold.rest.n_users == 12
    np.testing.assert_array_equal(hold.users, np.flatnonzero(histories.lengths >= 2))
    wanted = np.clip((share * histories.lengths[hold.users]).astype(int), 1, most)
    np.testing.assert_array_equal(hold.hidden.lengths, wanted)
    assert (hold.rest.lengths[hold.users] >= 1).all()


def popularity_model(popularity: list[float]) -> MatrixFactorisation:
    """Scores by bias alone: known ranks."""
    bias = np.array(popularity, np.float32)
    ones = np.ones(len(bias), np.float32)
    return MatrixFactorisation(0 * ones[:, None], bias, bias + 1, ones, FoldIn())


def test_value_by_hand() -> None:
    # seen {0}, hidden {1}; unseen rivals 2, 3, 4, 5 of which 2 and 3 score at least as much
    rest = Histories(np.array([0, 1]), np.array([0]), np.ones(1), 6)
    hidden = Histories(np.array([0, 1]), np.array([1]), np.ones(1), 6)
    model = popularity_model([9.0, 3.0, 5.0, 3.0, 2.0, 1.0])
    value = Holdout(rest, np.array([0]), hidden).value(model)
    np.testing.assert_allclose(value, [(1 - 2 / 4) ** 10])


def test_constant_scores_are_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    histories = make_histories(rng, 300, 20)
    hold = hide_events(histories, 0.1, 3, rng)
    value = hold.value(popularity_model([1.0] * 20))
    has_rivals = histories.lengths[hold.users] < 20
    np.testing.assert_array_equal(value[has_rivals], 0.0)
    np.testing.assert_array_equal(value[~has_rivals], 1.0)


def test_same_generator_same_hidden_events() -> None:
    histories = make_histories(np.random.default_rng(1), 30, 20)
    one, two = (hide_events(histories, 0.2, 3, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.hidden.items, two.hidden.items)


def test_with_times_the_latest_events_are_hidden() -> None:
    histories = make_histories(np.random.default_rng(2), 30, 20)
    times = np.random.default_rng(3).permutation(len(histories.items)).astype(np.int64)
    hold = hide_events(histories, 0.2, 3, np.random.default_rng(0), times=times)
    for place, user in enumerate(hold.users):
        own = slice(histories.indptr[user], histories.indptr[user + 1])
        hidden = hold.hidden.items[hold.hidden.indptr[place] : hold.hidden.indptr[place + 1]]
        latest = histories.items[own][np.argsort(times[own])[-len(hidden) :]]
        assert set(hidden) == set(latest)


def test_more_rivals_ask_for_a_better_place() -> None:
    rest = Histories(np.array([0, 1]), np.array([0]), np.ones(1), 6)
    hidden = Histories(np.array([0, 1]), np.array([1]), np.ones(1), 6)
    model = popularity_model([9.0, 3.0, 5.0, 2.0, 2.0, 1.0])
    few, many = (Holdout(rest, np.array([0]), hidden, r).value(model) for r in (2.0, 8.0))
    np.testing.assert_allclose(few, [(3 / 4) ** 2])
    np.testing.assert_allclose(many, [(3 / 4) ** 8])

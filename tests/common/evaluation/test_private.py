from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common.arrays import Floats, Histories
from common.evaluation import private, protocols
from common.evaluation.evaluate import evaluate
from common.evaluation.scorers import JointScorer
from common.models.fold_in import FoldIn
from common.models.mf import MatrixFactorisation
from common.privacy.mechanisms import GaussianSum
from common.privacy.plan import Release
from common.privacy.stream import NoiseSource
from common.solvers.base import NoisyTotal

ITEMS = pd.RangeIndex(30)


def split(n_users: int = 80, seed: int = 0) -> protocols.Split:
    rng = np.random.default_rng(seed)
    rows = [
        (u, i, t)
        for u in range(n_users)
        for t, i in enumerate(rng.permutation(30)[: rng.integers(1, 9)])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "datetime"]).assign(weight=1.0)
    return protocols.leave_one_out(frame, ITEMS)


def model(seed: int = 0) -> MatrixFactorisation:
    rng = np.random.default_rng(seed)
    return MatrixFactorisation.from_embeddings(rng.normal(size=(30, 4)), np.ones(30), FoldIn())


def exact_total(data: protocols.Split, batch: int = 1000) -> Floats:
    total = np.zeros((3, 1))
    users = np.arange(len(data.users))
    for start in range(0, len(users), batch):
        part = users[start : start + batch]
        private.contribution(data.histories, data.heldout_item, model(), part).add_to(total)
    return total


@pytest.mark.parametrize("batch", [1, 9, 1000])
def test_without_noise_it_is_the_exact_metric(batch: int) -> None:
    data = split()
    exact = evaluate(JointScorer(model(), data.histories), data).metrics
    got = private.read_total(NoisyTotal(exact_total(data, batch), 0.0, 80.0))
    assert got.hit_rate == pytest.approx(exact["hr@10"])
    assert got.ndcg == pytest.approx(exact["ndcg@10"])
    assert got.users == pytest.approx(len(data.evaluated))
    assert (got.users_std, got.hit_rate_std, got.ndcg_std) == (0.0, 0.0, 0.0)


histories = st.lists(st.sets(st.integers(0, 9)).map(sorted), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(histories, st.data(), st.integers(1, 12), st.sampled_from([1.0, np.nan, np.inf, -np.inf]))
def test_no_user_moves_the_sum_by_more_than_one(
    lists: list[list[int]], data: st.DataObject, top_k: int, bad: float
) -> None:
    """Whatever the model scores, and even where the held-out item is in the history."""

    class Hostile:
        def fold_in(self, histories: Histories) -> Floats:
            return np.zeros((histories.n_users, 1))

        def scores(self, user_vectors: Floats) -> Floats:
            scores = np.zeros((len(user_vectors), 10))
            scores[:, ::3] = bad
            return scores

    items = np.array([i for part in lists for i in part], dtype=np.int64)
    own = Histories(np.cumsum([0, *map(len, lists)]), items, np.ones(len(items)), 10)
    targets = st.lists(st.integers(-1, 9), min_size=len(lists), max_size=len(lists))
    heldout = np.array(data.draw(targets), dtype=np.int64)
    got = private.contribution(own, heldout, Hostile(), np.arange(len(lists)), top_k=top_k)
    np.testing.assert_array_equal(got.users, np.flatnonzero(heldout >= 0))
    vectors = got.values.reshape(-1, 3)
    assert np.isfinite(vectors).all()
    assert (vectors >= 0).all()
    assert (np.linalg.norm(vectors, axis=1) <= 1 + 1e-12).all()
    np.testing.assert_array_equal(got.rows.reshape(-1, 3), np.tile([0, 1, 2], (len(vectors), 1)))
    np.testing.assert_array_equal(np.diff(got.indptr), 3)


class Follower:
    """A model of order alone: what stands close behind the last item comes next."""

    def fold_in(self, histories: Histories) -> Floats:
        window = histories.recent(3)
        last = window[np.arange(histories.n_users), np.minimum(histories.lengths, 3) - 1]
        return (window * [1e-3, 1e-6, 1e-9]).sum(axis=1, keepdims=True) + last[:, None]

    def scores(self, user_vectors: Floats) -> Floats:
        return np.sin(user_vectors + np.arange(30.0))


def test_a_model_of_order_gets_it_and_company_changes_no_bit() -> None:
    data = split()
    histories, users = data.histories, np.arange(len(data.users))
    together = private.contribution(histories, data.heldout_item, Follower(), users)
    for row, user in enumerate(together.users):
        alone = private.contribution(
            histories.take(np.array([user])),
            data.heldout_item[[user]],
            Follower(),
            np.zeros(1, np.int64),
        )
        np.testing.assert_array_equal(alone.values, together.values[3 * row : 3 * row + 3])
    joint = evaluate(JointScorer(Follower(), histories), data)
    hits = together.values.reshape(-1, 3)[:, 1] * np.sqrt(3)
    np.testing.assert_allclose(hits, joint.per_user["hr@10"].to_numpy())
    unordered = private.contribution(
        replace(histories, order=None), data.heldout_item, Follower(), users
    )
    assert not np.array_equal(unordered.values, together.values)


def test_the_shape_says_what_is_released() -> None:
    shape = private.evaluation_shape(0.1)
    assert (shape.step, shape.rows, shape.width) == ("evaluation.leave_one_out", 3, 1)
    assert (shape.share, shape.clip_norm) == (0.1, 1.0)


def noised(total: Floats, noise_std: float, repeats: int) -> list[private.PrivateMetrics]:
    """`read_total` told that σ is 2; the noise really has `noise_std`."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, noise_std, (repeats, 3, 1))
    return [private.read_total(NoisyTotal(total + part, 2.0, 3000.0)) for part in noise]


@pytest.mark.parametrize("factor", [1.0, 2 / 3, 3 / 2])
def test_standard_errors_are_those_of_the_noise(factor: float) -> None:
    exact = np.array([[2900.0], [1200.0], [700.0]]) / np.sqrt(3.0)
    got = noised(exact, 2.0 * factor, 2000)
    for name, value in {"users": 2900.0, "hit_rate": 12 / 29, "ndcg": 7 / 29}.items():
        values = np.array([getattr(m, name) for m in got])
        stated = np.mean([getattr(m, f"{name}_std") for m in got])
        assert values.mean() == pytest.approx(value, abs=4 * values.std() / np.sqrt(2000))
        agrees = abs(values.std() / stated - 1) < 0.08  # 5 standard errors of a deviation
        assert agrees == (factor == 1.0), name


@pytest.mark.parametrize("factor", [1.0, 2 / 3, 3 / 2])
def test_the_mechanism_adds_the_noise_that_the_plan_promises(factor: float) -> None:
    """Through the mechanism itself: clip, grid, sum, noise; σ as planned and no other."""
    data, exact = split(), exact_total(split())
    release = Release(**dict(private.evaluation_shape(1.0)), noise_multiplier=5.0)
    users = np.arange(len(data.users))
    own = private.contribution(data.histories, data.heldout_item, model(), users)
    source = NoiseSource.seeded(4)
    sums = [GaussianSum(release, source).sum([own]) for _ in range(600)]
    noise = (np.array(sums) - exact).ravel()
    assert GaussianSum(release, source).noise_std == pytest.approx(5.0, rel=0.01)
    variance = (noise**2).sum() / (5.0 * factor) ** 2
    plausible = 1e-4 < stats.chi2.cdf(variance, len(noise)) < 1 - 1e-4
    assert plausible == (factor == 1.0)


def test_nothing_is_said_where_noise_drowns_the_users() -> None:
    total = NoisyTotal(np.array([[3.0], [1.0], [1.0]]), 2.0, 10.0)
    got = private.read_total(total)
    assert got.hit_rate is None
    assert got.ndcg_std is None
    assert got.users == pytest.approx(3 * np.sqrt(3))
    nobody = private.read_total(NoisyTotal(np.zeros((3, 1)), 0.0, 10.0))
    assert nobody.hit_rate is None


def test_ratios_stay_within_their_range() -> None:
    total = NoisyTotal(np.array([[90.0], [95.0], [-2.0]]), 1.0, 100.0)
    got = private.read_total(total)
    assert (got.hit_rate, got.ndcg) == (1.0, 0.0)


def test_sampled_users_are_scaled_up() -> None:
    data = split()
    whole = private.read_total(NoisyTotal(exact_total(data), 0.0, 80.0))
    half = private.read_total(NoisyTotal(exact_total(data) / 2, 0.0, 80.0, sampling_rate=0.5))
    assert half == whole

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.evaluation import metrics

# One user is a set of different ranks; the oracle walks down the list.
users = st.lists(
    st.sets(st.integers(1, 30), min_size=0, max_size=8).map(list), min_size=1, max_size=6
)


def arrays(sample: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, sample)])
    return np.array([r for ranks in sample for r in ranks], dtype=np.int64), indptr


def oracle(relevant_ranks: list[int], k: int) -> dict[str, float]:
    size = len(relevant_ranks)
    if size == 0:
        return dict.fromkeys(["recall", "capped", "ndcg", "ap", "rr"], math.nan)
    hits, dcg, precisions, reciprocal = 0, 0.0, 0.0, 0.0
    for rank in range(1, k + 1):
        if rank in relevant_ranks:
            hits += 1
            dcg += 1 / math.log2(rank + 1)
            precisions += hits / rank
            reciprocal = reciprocal or 1 / rank
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, size) + 1))
    return {
        "recall": hits / size,
        "capped": hits / min(k, size),
        "ndcg": dcg / ideal,
        "ap": precisions / min(k, size),
        "rr": reciprocal,
    }


@settings(max_examples=150, deadline=None)
@given(users, st.integers(1, 12))
def test_rank_metrics_equal_a_walk_down_the_list(sample: list[list[int]], k: int) -> None:
    ranks, indptr = arrays(sample)
    got = {
        "recall": metrics.recall(ranks, indptr, k),
        "capped": metrics.recall(ranks, indptr, k, capped=True),
        "ndcg": metrics.ndcg(ranks, indptr, k),
        "ap": metrics.average_precision(ranks, indptr, k),
        "rr": metrics.reciprocal_rank(ranks, indptr, k),
    }
    expected = [oracle(user, k) for user in sample]
    for name, values in got.items():
        np.testing.assert_allclose(values, [e[name] for e in expected], err_msg=name)
    hit = [float(any(r <= k for r in user)) for user in sample]
    np.testing.assert_array_equal(metrics.hit_rate(ranks, indptr, k), hit)


def test_figures_worked_by_hand() -> None:
    ranks, indptr = np.array([1, 4, 11]), np.array([0, 3])
    assert metrics.recall(ranks, indptr, 10)[0] == pytest.approx(2 / 3)
    assert metrics.recall(ranks, indptr, 2, capped=True)[0] == pytest.approx(1 / 2)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg(ranks, indptr, 10)[0] == pytest.approx((1 + 1 / math.log2(5)) / ideal)
    assert metrics.average_precision(ranks, indptr, 10)[0] == pytest.approx((1 + 2 / 4) / 3)
    assert metrics.best_rank(ranks, indptr)[0] == 1


def test_ranks_of_a_user_may_come_in_any_order() -> None:
    indptr = np.array([0, 3, 5])
    left = metrics.average_precision(np.array([9, 1, 4, 7, 2]), indptr, 10)
    right = metrics.average_precision(np.array([1, 4, 9, 2, 7]), indptr, 10)
    np.testing.assert_allclose(left, right)


def test_novelty_is_bits_of_the_share_of_popularity() -> None:
    counts = np.array([7, 0, 3])  # shares 8/13, 1/13, 4/13
    information = metrics.self_information(counts)
    np.testing.assert_allclose(2.0**-information, np.array([8, 1, 4]) / 13)
    lists = np.array([[0, 1], [2, -1], [-1, -1]])
    expected = [(-math.log2(8 / 13) - math.log2(1 / 13)) / 2, -math.log2(4 / 13), math.nan]
    np.testing.assert_allclose(metrics.novelty(lists, information), expected)


def slow_diversity(items: list[int], vectors: np.ndarray) -> float:
    pairs = [(i, j) for i in items for j in items if i != j]
    if not pairs:
        return math.nan
    cosines = []
    for i, j in pairs:
        norms = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        cosines.append(vectors[i] @ vectors[j] / norms if norms else 0.0)
    return 1 - float(np.mean(cosines))


def test_diversity_equals_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(12, 4))
    vectors[5] = 0.0
    lists = np.array([rng.permutation(12)[:5] for _ in range(20)])
    lists[3, 2:] = -1
    lists[4, 1:] = -1
    lists[5] = -1
    expected = [slow_diversity([i for i in row if i >= 0], vectors) for row in lists]
    np.testing.assert_allclose(metrics.diversity(lists, vectors), expected)


def test_rating_errors() -> None:
    squared, absolute = metrics.rating_errors(np.array([3.0, 5.0]), np.array([4.0, 3.0]))
    np.testing.assert_array_equal(squared, [1.0, 4.0])
    np.testing.assert_array_equal(absolute, [1.0, 2.0])

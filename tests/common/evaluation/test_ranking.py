from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Histories
from common.evaluation.ranking import candidate_ranks, rank_of, top_items

N_ITEMS = 8
score = st.one_of(st.integers(-2, 2).map(float), st.sampled_from([math.nan, -math.inf, math.inf]))
row = st.lists(score, min_size=N_ITEMS, max_size=N_ITEMS)
roles = st.lists(st.sampled_from("trxx"), min_size=N_ITEMS, max_size=N_ITEMS)


def rows(lists: list[list[int]], n_items: int = N_ITEMS) -> Histories:
    items = np.array([i for part in lists for i in part], dtype=np.int64)
    indptr = np.cumsum([0, *map(len, lists)])
    return Histories(indptr, items, np.ones(len(items)), n_items)


def slow_ranks(scores: list[float], relevant: list[int], train: list[int]) -> list[int]:
    """Sort the candidates: higher first, then irrelevant, then position."""

    def before(item: int, target: int) -> bool:
        if item in relevant:
            s, t = scores[item], scores[target]
            if math.isnan(s) or math.isnan(t):
                return (math.isnan(s), item) < (math.isnan(t), target)
            return (-s, item) < (-t, target)
        return not scores[item] < scores[target]

    others = [i for i in range(len(scores)) if i not in train]
    return [1 + sum(before(i, t) for i in others if i != t) for t in relevant]


@pytest.mark.parametrize("few_targets", [0, 100])
@settings(max_examples=150, deadline=None)
@given(batch=st.lists(st.tuples(row, roles), min_size=1, max_size=4))
def test_rank_of_equals_counting_one_by_one(
    few_targets: int, batch: list[tuple[list[float], list[str]]]
) -> None:
    relevant = [[i for i, r in enumerate(part) if r == "r"] for _, part in batch]
    train = [[i for i, r in enumerate(part) if r == "t"] for _, part in batch]
    with pytest.MonkeyPatch.context() as patch:  # both ways, whatever the batch
        patch.setattr("common.evaluation.ranking._FEW_TARGETS", few_targets)
        got = rank_of(np.array([s for s, _ in batch]), rows(relevant), rows(train))
    triples = zip(batch, relevant, train, strict=True)
    expected = [rank for (s, _), r, t in triples for rank in slow_ranks(s, r, t)]
    np.testing.assert_array_equal(got, expected)


def test_a_constant_scorer_comes_last() -> None:
    scores = np.zeros((1, N_ITEMS))
    assert rank_of(scores, rows([[3]]), rows([[0, 1]])).tolist() == [N_ITEMS - 2]
    assert candidate_ranks(scores, np.array([3]), np.array([[4, 5, 6]])).tolist() == [4]


def test_blocks_do_not_change_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(20, N_ITEMS))
    relevant, train = rows([[1, 2]] * 20), rows([[0]] * 20)
    whole = rank_of(scores, relevant, train)
    monkeypatch.setattr("common.evaluation.ranking._BLOCK_VALUES", 3 * N_ITEMS)
    np.testing.assert_array_equal(rank_of(scores, relevant, train), whole)


candidates = st.lists(st.integers(-1, N_ITEMS - 1), min_size=5, max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(row, st.integers(0, N_ITEMS - 1), candidates), min_size=1, max_size=4))
def test_candidate_ranks_equal_the_dictionary_of_the_papers(
    batch: list[tuple[list[float], int, list[int]]],
) -> None:
    """He et al. fill a dict by item, so repeats collapse; ties here go against the target."""
    got = candidate_ranks(
        np.array([s for s, _, _ in batch]),
        np.array([t for _, t, _ in batch]),
        np.array([n for _, _, n in batch]),
    )
    for rank, (scores, target, negatives) in zip(got, batch, strict=True):
        by_item = {item: scores[item] for item in [*negatives, target] if item >= 0}
        own = by_item.pop(target)
        assert rank == 1 + sum(not s < own for s in by_item.values())


def test_a_target_among_its_own_negatives_is_no_rival_of_itself() -> None:
    scores = np.array([[0.0, 3.0, 2.0, 1.0]])
    assert candidate_ranks(scores, np.array([1]), np.array([[1, 2, 3]])).tolist() == [1]
    assert candidate_ranks(scores, np.array([2]), np.array([[2, 1, 1]])).tolist() == [2]


@settings(max_examples=100, deadline=None)
@given(row, st.sets(st.integers(0, N_ITEMS - 1)), st.integers(1, 10))
def test_top_items_equal_a_stable_sort(scores: list[float], train: set[int], k: int) -> None:
    got = top_items(np.array([scores]), rows([sorted(train)]), k)[0].tolist()
    left = [
        i
        for i in range(N_ITEMS)
        if i not in train and not math.isnan(scores[i]) and scores[i] != -math.inf
    ]
    expected = sorted(left, key=lambda i: -scores[i])[:k]
    assert got == expected + [-1] * (k - len(expected))

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, DataError
from common.evaluation.totals import Mean, RatingTotals, Totals, coverage, gini

N_ITEMS = 7
value = st.one_of(st.floats(0, 1), st.just(math.nan))


@st.composite
def totals(draw: st.DrawFn) -> Totals:
    n = draw(st.integers(0, 5))
    names = draw(st.sets(st.sampled_from(["hr", "ndcg", "novelty"])))
    values = {
        name: np.array(draw(st.lists(value, min_size=n, max_size=n)), dtype=np.float64)
        for name in names
    }
    lists = draw(st.lists(st.integers(-1, N_ITEMS - 1), min_size=2 * n, max_size=2 * n))
    return Totals.of(values, np.array(lists, dtype=np.int64).reshape(n, 2), N_ITEMS)


def same(left: Totals, right: Totals) -> bool:
    if set(left.means) != set(right.means):
        return False
    sums = all(
        math.isclose(left.means[n].total, right.means[n].total, abs_tol=1e-12)
        and left.means[n].count == right.means[n].count
        for n in left.means
    )
    return sums and bool((left.exposure == right.exposure).all())


@settings(max_examples=80, deadline=None)
@given(totals(), totals(), totals())
def test_merge_is_associative_and_commutative(a: Totals, b: Totals, c: Totals) -> None:
    assert same(a.merge(b), b.merge(a))
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert same(a.merge(Totals.empty(N_ITEMS)), a)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 4), min_size=3, max_size=3))
def test_rating_totals_merge(rows: list[tuple[int, int, int, int]]) -> None:
    a, b, c = (RatingTotals(Mean(s, abs(n)), Mean(t, abs(m))) for s, n, t, m in rows)
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(RatingTotals()) == a


def test_values_of_parts_merged_are_values_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    hr = rng.random(30)
    hr[::7] = np.nan
    lists = rng.integers(0, N_ITEMS, (30, 3))
    whole = Totals.of({"hr": hr}, lists, N_ITEMS).values(3)
    parts = [Totals.of({"hr": hr[s]}, lists[s], N_ITEMS) for s in (slice(0, 4), slice(4, 30))]
    merged = parts[0].merge(parts[1]).values(3)
    assert merged == pytest.approx(whole)
    assert whole["hr"] == pytest.approx(np.nanmean(hr))


def test_other_catalogues_are_refused() -> None:
    with pytest.raises(DataError) as error:
        Totals.empty(3).merge(Totals.empty(4))
    assert error.value.code == Code.CATALOGUE_MISMATCH


def test_coverage_counts_the_catalogue() -> None:
    assert coverage(np.array([3, 0, 1, 0])) == 0.5


def slow_gini(x: list[int]) -> float:
    """Mean absolute difference over all ordered pairs / (2 mean)."""
    mean = sum(x) / len(x)
    return sum(abs(a - b) for a in x for b in x) / (len(x) ** 2 * 2 * mean)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any))
def test_gini_is_half_the_relative_mean_difference(x: list[int]) -> None:
    assert gini(np.array(x)) == pytest.approx(slow_gini(x), abs=1e-12)


def test_gini_at_its_ends() -> None:
    assert gini(np.full(5, 4)) == pytest.approx(0.0)
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    assert math.isnan(gini(np.zeros(4, dtype=np.int64)))


def test_rmse_and_mae() -> None:
    totals_ = RatingTotals(Mean(5.0, 2), Mean(3.0, 2))
    assert totals_.rmse == pytest.approx(math.sqrt(2.5))
    assert totals_.mae == 1.5
    assert math.isnan(Mean().value)

"""Curves against brute force, intervals against scipy, promises against the ideal mechanism."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom, binomtest

from common.errors import Code, DataError
from common.privacy.gdp import gaussian_delta, gaussian_mu
from simulations.attacks.roc import (
    Promise,
    Roc,
    clopper_pearson,
    largest_visible_epsilon,
    roc_curve,
)

few_scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)
rates = np.linspace(0.0, 1.0, 2001)


def make(members: list[float], others: list[float]) -> Roc:
    return roc_curve(np.array(members), np.array(others))


@given(few_scores, few_scores)
def test_every_threshold_is_on_the_curve_and_nothing_else(members, others):
    roc = make(members, others)
    thresholds = [math.inf, *sorted({*members, *others}, reverse=True)]
    expected = [(sum(o >= t for o in others), sum(m >= t for m in members)) for t in thresholds]
    found = list(zip(roc.false_positives.tolist(), roc.true_positives.tolist(), strict=True))
    assert found == expected


@given(few_scores, few_scores)
def test_the_area_is_the_chance_that_a_member_scores_higher(members, others):
    wins = sum((m > o) + (m == o) / 2 for m in members for o in others)
    assert make(members, others).auc == pytest.approx(wins / (len(members) * len(others)))


@given(few_scores, few_scores)
def test_curves_rise_from_nobody_to_everybody(members, others):
    roc = make(members, others)
    assert (np.diff(roc.fpr) >= 0).all()
    assert (np.diff(roc.tpr) >= 0).all()
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)


@given(few_scores, few_scores)
def test_only_the_order_of_scores_matters(members, others):
    roc, moved = (
        make(members, others),
        make([m**3 + 7 for m in members], [o**3 + 7 for o in others]),
    )
    assert roc.true_positives.tolist() == moved.true_positives.tolist()
    assert roc.false_positives.tolist() == moved.false_positives.tolist()


@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.05, 0.1, 0.2]))
def test_the_rate_at_a_limit_is_the_best_of_all_thresholds(seed, limit):
    rng = np.random.default_rng(seed)
    members, others = rng.integers(0, 40, 150) + 5.0, rng.integers(0, 40, 200) + 0.0
    point = roc_curve(members, others).at(limit)
    if limit * len(others) < 10:
        assert point is None
        return
    thresholds = np.arange(0, 60)
    allowed = [t for t in thresholds if (others >= t).mean() <= limit]
    assert point.tpr.rate == max((members >= t).mean() for t in allowed)
    assert point.fpr.rate <= limit


def test_a_rate_that_ten_others_do_not_carry_is_not_told():
    rng = np.random.default_rng(0)
    roc = roc_curve(rng.random(5000), rng.random(999))
    assert roc.at(0.01) is None
    assert roc.lowest_fpr > 0.01
    assert roc_curve(rng.random(5000), rng.random(1000)).at(0.01) is not None


@pytest.mark.parametrize(
    ("members", "others", "code"),
    [
        ([], [1.0], Code.DATA_EMPTY),
        ([1.0], [], Code.DATA_EMPTY),
        ([math.nan], [1.0], Code.DATA_FORMAT),
    ],
)
def test_nothing_to_compare_is_an_error(members, others, code):
    with pytest.raises(DataError) as caught:
        make(members, others)
    assert caught.value.code == code


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.999]))
def test_intervals_are_those_of_scipy(of, data, confidence):
    hits = data.draw(st.integers(0, of))
    expected = binomtest(hits, of).proportion_ci(confidence, method="exact")
    assert clopper_pearson(hits, of, confidence) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("truth", [0.001, 0.05, 0.3, 0.5, 0.97])
def test_an_interval_misses_the_truth_in_a_twentieth_of_cases_at_most(truth):
    """Computed, not sampled: the chance of every count whose interval leaves the truth out."""
    missed = 0.0
    for hits in range(41):
        low, high = clopper_pearson(hits, 40)
        missed += 0.0 if low <= truth <= high else float(binom.pmf(hits, 40, truth))
    assert missed <= 0.05


@given(st.floats(0.05, 6.0), st.floats(0.05, 12.0))
def test_an_ideal_gaussian_mechanism_never_passes_its_promise(mu, epsilon):
    promise = Promise(epsilon, gaussian_delta(mu, epsilon), mu)
    curve = promise.by_mu(rates)
    assert (curve <= promise.by_epsilon(rates) + 1e-9).all()
    assert promise.tpr(rates) == pytest.approx(curve, abs=1e-9)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0, 8.0])
def test_the_promise_is_reached_by_the_mechanism_that_spends_all_of_it(epsilon):
    """Where the likelihood ratio is e^ε both bounds meet: neither is loose."""
    mu = gaussian_mu(epsilon, 1e-4)
    touching = np.array([ndtr(-epsilon / mu - mu / 2)])
    promise = Promise(epsilon, 1e-4, mu)
    assert promise.by_epsilon(touching) == pytest.approx(promise.by_mu(touching), rel=1e-6)
    weaker = Promise(epsilon * 0.9, 1e-4, mu)
    touching = np.array([ndtr(-0.9 * epsilon / mu - mu / 2)])
    assert weaker.by_epsilon(touching) < weaker.by_mu(touching)


@given(st.floats(0.01, 10.0), st.floats(1e-8, 0.1))
def test_what_is_allowed_rises_and_is_never_below_chance(epsilon, delta):
    allowed = Promise(epsilon, delta).tpr(rates)
    assert (np.diff(allowed) >= 0).all()
    assert (allowed >= rates).all()
    assert allowed[-1] == 1.0
    more = Promise(epsilon * 1.5, delta).tpr(rates)
    assert (more >= allowed - 1e-12).all()


@pytest.mark.parametrize(
    "promise", [Promise(1.0, 1e-3), Promise(3.0, 1e-2, 1.1), Promise(0.1, 0.0)]
)
def test_the_largest_area_is_that_under_what_is_allowed(promise):
    fpr = np.linspace(0, 1, 400_001)
    curve = promise.by_mu(fpr) if promise.mu is not None else promise.by_epsilon(fpr)
    assert promise.auc == pytest.approx(float(np.trapezoid(curve, fpr)), abs=1e-5)


def test_an_attack_on_an_ideal_mechanism_stays_within_its_promise():
    """Scores of the best attacker on one Gaussian sum; the interval ends below what is allowed."""
    rng, mu, count = np.random.default_rng(3), 1.0, 100_000
    roc = roc_curve(rng.normal(mu, 1.0, count), rng.normal(0.0, 1.0, count))
    exact, less = Promise(8.0, 0.5, mu), Promise(8.0, 0.5, mu * 2 / 3)
    for limit in (0.001, 0.01, 0.1):
        point = roc.at(limit)
        low = clopper_pearson(point.tpr.hits, point.tpr.of, 1 - 1e-7)[0]
        fpr = np.array([clopper_pearson(point.fpr.hits, point.fpr.of, 1 - 1e-7)[1]])
        assert low <= exact.tpr(fpr)[0]
        assert low > less.tpr(fpr)[0]
    assert roc.auc == pytest.approx(exact.auc, abs=0.01)


def test_no_attack_shows_more_than_the_number_of_users_lets_it():
    shown = [largest_visible_epsilon(n, n, 1e-5) for n in (10, 100, 1000, 10_000)]
    assert shown == sorted(shown)
    assert shown[1] == pytest.approx(math.log((0.025**0.01 - 1e-5) / (1 - 0.025**0.01)))
    assert largest_visible_epsilon(3, 3, 0.9) == 0.0


def test_json_holds_few_points_both_ends_and_no_nan():
    rng = np.random.default_rng(1)
    roc = roc_curve(rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000))
    found = json.loads(json.dumps(roc.to_json(), allow_nan=False))
    assert 100 < len(found["fpr"]) <= 200
    assert (found["fpr"][0], found["tpr"][0], found["fpr"][-1], found["tpr"][-1]) == (0, 0, 1, 1)
    assert sum(f < 0.01 for f in found["fpr"]) > 50
    point = json.loads(json.dumps(roc.at(0.01).to_json(), allow_nan=False))
    assert point["tpr"]["low"] < point["tpr"]["rate"] < point["tpr"]["high"]
    assert ndtr(ndtri(0.01) + 1) == pytest.approx(point["tpr"]["rate"], abs=0.02)

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, LedgerError, PlanError
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    GaussianSumEvent,
    NoPrivacyEvent,
    event_of,
    read_event,
    snap,
)
from common.privacy.plan import NoiseShares, Release


def release(**changes):
    values = {"step": "s.a", "rows": 5, "width": 2, "share": 1.0, "noise_multiplier": 1.0}
    return Release(**{**values, **changes})


@settings(max_examples=100, deadline=None)
@given(st.floats(0.07, 120), st.sampled_from(["exact", "fast"]))
def test_the_grid_never_has_less_noise_than_planned(multiplier, sampler):
    event = event_of(release(noise_multiplier=multiplier, sampler=sampler))
    actual = Fraction(event.sigma_grid, event.clip_grid)
    assert actual >= Fraction(multiplier)
    assert float(actual) <= multiplier * (1 + 2**-9)
    assert Fraction(event.noise_multiplier) <= actual


@settings(max_examples=100, deadline=None)
@given(st.floats(0.07, 120), st.sampled_from(["exact", "fast"]))
def test_a_snapped_multiplier_is_what_the_grid_gives(multiplier, sampler):
    snapped = snap(sampler, multiplier, "s.a")
    assert snapped >= multiplier * (1 - 1e-15)
    event = event_of(release(noise_multiplier=snapped, sampler=sampler))
    assert event.sigma_grid / event.clip_grid == pytest.approx(snapped, rel=1e-15)


@pytest.mark.parametrize(
    "event",
    [
        GaussianSumEvent(
            sampler="exact",
            sigma_grid=2**26,
            clip_grid=2**25,
            rows=3,
            width=2,
            sampling_rate=0.25,
            steps=6,
        ),
        DistributedDiscreteGaussianEvent(
            clients=10,
            threshold=8,
            colluders=2,
            share_variance=12345678901,
            clip_grid=2**16,
            word_bits=32,
            rows=3,
            width=2,
        ),
        NoPrivacyEvent(rows=3, width=2, steps=1),
    ],
)
def test_round_trip_through_json(event):
    stored = json.loads(json.dumps(event.model_dump(mode="json")))
    assert read_event(stored) == event


def test_stored_form_is_frozen_for_ever():
    """Ledgers outlive versions: this text must be readable, with this meaning, for ever."""
    stored = (
        '{"kind": "gaussian-sum", "sampler": "exact", "sigma_grid": 300, "clip_grid": 200,'
        ' "rows": 3, "width": 2, "sampling_rate": 0.5, "steps": 4}'
    )
    event = read_event(json.loads(stored))
    assert isinstance(event, GaussianSumEvent)
    assert event.noise_multiplier == pytest.approx(1.5)
    assert event.draws == 24
    assert json.loads(stored) == event.model_dump(mode="json")
    shared = (
        '{"kind": "distributed-discrete-gaussian", "clients": 10, "threshold": 8, "colluders": 4,'
        ' "share_variance": 10000, "clip_grid": 100, "word_bits": 64, "rows": 3, "width": 2}'
    )
    secure = read_event(json.loads(shared))
    assert isinstance(secure, DistributedDiscreteGaussianEvent)
    assert secure.noise_multiplier == 2.0
    assert (secure.draws, secure.steps, secure.sampling_rate) == (6, 1, 1.0)
    assert json.loads(shared) == secure.model_dump(mode="json")
    plain = {"kind": "no-privacy", "rows": 3, "width": 2, "steps": 1}
    assert read_event(plain).model_dump(mode="json") == plain


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"kind": "of-the-future"},
        {"kind": "no-privacy", "rows": 3, "width": 2, "steps": 1, "extra": 1},
        {"kind": "no-privacy", "rows": 0, "width": 2, "steps": 1},
        {
            "kind": "gaussian-sum",
            "sampler": "exact",
            "sigma_grid": 0,
            "clip_grid": 1,
            "rows": 1,
            "width": 1,
            "sampling_rate": 1.0,
            "steps": 1,
        },
    ],
)
def test_events_that_cannot_be_read_are_an_error(stored):
    with pytest.raises(LedgerError) as refused:
        read_event(stored)
    assert refused.value.code == Code.LEDGER_BROKEN


SHARED = {
    "kind": "distributed-discrete-gaussian",
    "clients": 10,
    "threshold": 8,
    "colluders": 4,
    "share_variance": 10000,
    "clip_grid": 100,
    "word_bits": 64,
    "rows": 3,
    "width": 2,
}


@pytest.mark.parametrize(
    "changes",
    [
        {"share_variance": 255},
        {"share_variance": 2**54 + 1},
        {"share_variance": 300.5},
        {"clip_grid": 0},
        {"clip_grid": 2**30 + 1},
        {"word_bits": 16},
        {"rows": 0},
        {"colluders": 0},
        {"colluders": 6},
        {"threshold": 4},
        {"threshold": 7},
        {"threshold": 11},
        {"clients": 2_000_000, "threshold": 1_900_000},
        {"sampling_rate": 0.5},
        {"steps": 2},
    ],
)
def test_shared_noise_that_promises_nothing_is_no_event(changes):
    """Terms that are not safe, a share next to nothing, a second sum at the price of one."""
    assert read_event(SHARED)
    with pytest.raises(LedgerError) as refused:
        read_event({**SHARED, **changes})
    assert refused.value.code == Code.LEDGER_BROKEN


@settings(max_examples=200, deadline=None)
@given(st.integers(256, 2**54), st.integers(1, 2**30), st.integers(2, 1000))
def test_the_multiplier_of_shares_is_the_largest_float_not_above_the_root(variance, clip, honest):
    event = DistributedDiscreteGaussianEvent(
        **{**SHARED, "clients": honest + 1, "threshold": honest + 1, "colluders": 1},
    ).model_copy(update={"share_variance": variance, "clip_grid": clip})
    found = Fraction(event.noise_multiplier)
    assert (found * clip) ** 2 <= honest * variance
    above = Fraction(event.noise_multiplier * (1 + 2**-50))
    assert (above * clip) ** 2 > honest * variance


@settings(max_examples=100, deadline=None)
@given(st.floats(0.07, 120), st.sampled_from([32, 64]), st.integers(1, 20_000))
def test_shares_never_have_less_noise_than_planned(multiplier, word_bits, population):
    shares = NoiseShares(
        clients=10, threshold=8, colluders=3, population=population, word_bits=word_bits
    )
    event = event_of(release(noise_multiplier=multiplier, shares=shares))
    assert (
        Fraction(event.honest * event.share_variance)
        >= (Fraction(multiplier) * event.clip_grid) ** 2
    )
    assert multiplier * (1 - 2**-50) <= event.noise_multiplier <= multiplier * (1 + 2**-9)
    assert event.word_bits == word_bits


def test_no_noise_is_no_privacy():
    assert event_of(release(noise_multiplier=0.0)) == NoPrivacyEvent(rows=5, width=2, steps=1)


@pytest.mark.parametrize("word_bits", [None, 32, 64])
@pytest.mark.parametrize("multiplier", [1e-9, 1e9])
def test_noise_without_a_grid_is_refused(multiplier, word_bits):
    shares = None
    if word_bits is not None:
        shares = NoiseShares(
            clients=10, threshold=8, colluders=3, population=500, word_bits=word_bits
        )
    with pytest.raises(PlanError) as refused:
        event_of(release(noise_multiplier=multiplier, shares=shares))
    assert refused.value.code == Code.PLAN_UNREACHABLE


def test_the_distance_counts_all_draws():
    one = event_of(release(steps=1)).total_variation
    many = event_of(release(steps=100)).total_variation
    assert many == pytest.approx(math.sqrt(100) * one, rel=1e-6)

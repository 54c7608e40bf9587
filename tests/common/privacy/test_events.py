import json
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Code, LedgerError, PlanError
from common.privacy.events import (
    GaussianSumEvent,
    NoPrivacyEvent,
    event_of,
    read_event,
    snap,
)
from common.privacy.plan import Release


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


def test_no_noise_is_no_privacy():
    assert event_of(release(noise_multiplier=0.0)) == NoPrivacyEvent(rows=5, width=2, steps=1)


@pytest.mark.parametrize("multiplier", [1e-9, 1e9])
def test_noise_without_a_grid_is_refused(multiplier):
    with pytest.raises(PlanError) as refused:
        event_of(release(noise_multiplier=multiplier))
    assert refused.value.code == Code.PLAN_UNREACHABLE


def test_the_distance_counts_all_draws():
    one = event_of(release(steps=1)).total_variation
    many = event_of(release(steps=100)).total_variation
    assert many == pytest.approx(math.sqrt(100) * one, rel=1e-6)

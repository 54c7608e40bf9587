"""ε is recomputed by accountants that share no code, and frozen values do not move."""

import ast
import json
import math
from pathlib import Path

import pytest

from common.audit import recompute as module
from common.audit.recompute import CLOSED, PLD, PRV, recompute, tolerance
from common.privacy.events import (
    DistributedDiscreteGaussianEvent,
    GaussianSumEvent,
    NoPrivacyEvent,
    SelectedSumEvent,
    read_event,
)

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))


def gaussian(sigma, rate=1.0, steps=1):
    return GaussianSumEvent(
        sampler="exact",
        sigma_grid=2**26,
        clip_grid=round(2**26 / sigma),
        rows=10,
        width=4,
        sampling_rate=rate,
        steps=steps,
    )


def secure(sigma, honest=4):
    clip = 2**22
    return DistributedDiscreteGaussianEvent(
        clients=honest + 1,
        threshold=honest + 1,
        colluders=1,
        share_variance=round((sigma * clip) ** 2 / honest),
        clip_grid=clip,
        word_bits=64,
        rows=10,
        width=4,
    )


def selected(sigma):
    """A fifth of 1/σ² for the counts."""
    return SelectedSumEvent(
        sampler="exact",
        sigma_grid=2**26,
        clip_grid=round(2**26 * 0.8**0.5 / sigma),
        count_sigma_grid=2**26,
        count_clip_grid=round(2**26 * 0.2**0.5 / sigma),
        rows=10,
        width=4,
        dense_rows=2,
        sampling_rate=1.0,
        steps=1,
    )


@pytest.mark.parametrize("name", list(GOLDEN))
def test_golden_values_do_not_move(name):
    frozen = GOLDEN[name]
    events = [read_event(values) for values in frozen["events"]]
    found = recompute(events, frozen["delta"]).to_json()
    for accountant in (PLD, PRV, CLOSED):
        value = frozen["epsilon"][accountant]
        if value is None:
            assert found["epsilon"][accountant] is None
        else:
            assert found["epsilon"][accountant] == pytest.approx(value, abs=1e-4)
    assert found["agrees"]


def test_the_golden_lists_are_of_every_kind():
    lists = [frozen["events"] for frozen in GOLDEN.values()]
    rates = [{event.get("sampling_rate") for event in events} for events in lists]
    kinds = [{event["kind"] for event in events} for events in lists]
    assert len(lists) >= 12
    assert any(k == {"distributed-discrete-gaussian"} for k in kinds)
    assert any(k == {"distributed-discrete-gaussian", "gaussian-sum"} for k in kinds)
    assert any(k == {"selected-gaussian-sum"} for k in kinds)
    assert any(k > {"selected-gaussian-sum", "distributed-discrete-gaussian"} for k in kinds)
    assert any(r == {1.0} for r in rates)
    assert any(r and max(x or 0 for x in r) < 1 for r in rates)
    assert any(1.0 in r and len(r) > 1 for r in rates)
    assert max(map(len, lists)) >= 100


def test_the_accountants_share_no_code():
    """PLD comes from dp-accounting alone; the others import neither it nor what composes it."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name for name in imported if "privacy.accounting" in name} == {
        "common.privacy.accounting.epsilon"
    }
    assert not {name for name in imported if "gdp" in name or "dp_accounting" in name}


@pytest.mark.parametrize("made", [gaussian, secure, selected])
@pytest.mark.parametrize("factor", [0.5, 2 / 3, 1.5])
def test_other_noise_is_told_apart(factor, made):
    """What the tolerance lets through is far less than any noise that somebody gets wrong."""
    right, wrong = recompute([made(1.0)], 1e-5), recompute([made(factor)], 1e-5)
    assert abs(right.pld - wrong.prv) > 20 * tolerance(right.pld)


def test_secure_sums_are_recomputed_as_others_are():
    """All of the noise that is counted, and nothing of the rest: h shares of n."""
    for honest in (1, 4, 400):
        found, alone = recompute([secure(1.0, honest)], 1e-5), recompute([gaussian(1.0)], 1e-5)
        assert found.agrees
        assert found.sums == 1
        for name in ("pld", "prv", "closed"):
            assert getattr(found, name) == pytest.approx(getattr(alone, name), abs=1e-5)


def test_a_choice_of_rows_is_put_together_a_second_time(monkeypatch):
    """Had the event itself forgotten what the counts cost, the accountants would not agree."""
    whole = recompute([selected(1.0)], 1e-5)
    assert whole.agrees
    assert whole.pld == pytest.approx(recompute([gaussian(1.0)], 1e-5).pld, abs=1e-5)
    values_alone = property(lambda self: self.sigma_grid / self.clip_grid)
    monkeypatch.setattr(SelectedSumEvent, "noise_multiplier", values_alone)
    module._recompute.cache_clear()
    try:
        assert not recompute([selected(1.0)], 1e-5).agrees
    finally:
        module._recompute.cache_clear()


def test_a_second_opinion_that_differs_is_not_agreement():
    found = recompute([gaussian(1.0)], 1e-5)
    assert found.agrees
    for change in ({"prv": found.prv + 0.1}, {"closed": found.closed - 0.1}):
        assert not module.Recomputed(**{**vars(found), **change}).agrees
    assert not module.Recomputed(1e-5, 1, 4.4, None, None).agrees
    assert not module.Recomputed(1e-5, 1, 4.4, math.inf, None).agrees


def test_nothing_costs_nothing_and_no_mechanism_costs_everything():
    assert recompute([], 1e-5).largest == 0
    bare = recompute([gaussian(1.0), NoPrivacyEvent(rows=1, width=1, steps=1)], 1e-5)
    assert math.isinf(bare.pld)
    assert bare.agrees
    assert bare.to_json()["epsilon"][PLD] is None


def test_the_order_of_events_does_not_matter():
    events = [gaussian(3.0), gaussian(1.0, 0.1, 20), secure(2.0), gaussian(2.0)]
    one, other = recompute(events, 1e-5), recompute(events[::-1], 1e-5)
    assert one.pld == pytest.approx(other.pld)
    assert one.prv == pytest.approx(other.prv)


def test_numbers_that_nobody_planned_with_are_infinite_at_once() -> None:
    """A file can hold any: the accountants would take gigabytes, or overflow."""
    sane = {"sampler": "exact", "rows": 3, "width": 2, "sampling_rate": 1.0, "steps": 1}
    grid = {"sigma_grid": 2**26, "clip_grid": 2**20}
    for change in (
        {"steps": 10**400},
        {"steps": 10**30},
        {"sigma_grid": 1},
        {"sigma_grid": 3},
        {"sigma_grid": 1, "sampling_rate": 0.01},
        {"steps": 10**15, "sampling_rate": 0.5},
    ):
        event = GaussianSumEvent(**{**grid, **sane, **change})
        found = recompute([event], 1e-6)
        assert math.isinf(found.pld), change
        assert math.isinf(found.largest), change

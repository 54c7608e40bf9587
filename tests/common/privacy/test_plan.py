import pytest

from common.errors import ConfigError
from common.privacy.plan import PrivacyPlan, Release, ReleaseShape

RELEASE = {"step": "s.a", "rows": 2, "width": 1, "share": 1.0, "noise_multiplier": 1.5}
PLAN = {"unit": "user", "mode": "local", "delta": 1e-5, "epsilon": 1.0, "releases": [RELEASE]}


SHARES = {"clients": 5, "threshold": 4, "colluders": 1, "population": 100, "word_bits": 32}
SHARED = {**PLAN, "mode": "distributed", "releases": [{**RELEASE, "shares": SHARES}]}


@pytest.mark.parametrize("values", [PLAN, SHARED], ids=["local", "distributed"])
def test_plans_round_trip(values):
    plan = PrivacyPlan.load(values)
    assert PrivacyPlan.load(plan.model_dump(mode="json")) == plan


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "none"},
        {"epsilon": None},
        {"releases": []},
        {"releases": [{**RELEASE, "noise_multiplier": 0.0}]},
        {"releases": [RELEASE, RELEASE]},
        {"mode": "none", "epsilon": None},
        {"delta": 1.0},
        {"epsilon": float("nan")},
        {"extra": 1},
        {"mode": "distributed"},
        {"releases": SHARED["releases"]},
        {"mode": "distributed", "releases": [*SHARED["releases"], {**RELEASE, "step": "s.b"}]},
    ],
)
def test_plans_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ConfigError):
        PrivacyPlan.load({**PLAN, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"sampling_rate": 0.0}, {"sampling_rate": 1.1}, {"clip_norm": 0.0}, {"steps": 0}, {"rows": 0}],
)
def test_shapes_without_meaning_are_refused(changes):
    values = {key: value for key, value in RELEASE.items() if key != "noise_multiplier"}
    with pytest.raises(ConfigError):
        ReleaseShape.load({**values, **changes})
    with pytest.raises(ConfigError):
        Release.load({**RELEASE, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling_rate": 0.5},
        {"steps": 2},
        {"shares": {**SHARES, "threshold": 3}},
        {"shares": {**SHARES, "threshold": 6}},
        {"shares": {**SHARES, "colluders": 0}},
        {"shares": {**SHARES, "word_bits": 48}},
        {"shares": {**SHARES, "population": 0}},
    ],
)
def test_noise_cannot_be_shared_under_unsafe_terms_or_over_several_sums(changes):
    assert Release.load(SHARED["releases"][0]).shares.honest == 3
    with pytest.raises(ConfigError):
        Release.load({**SHARED["releases"][0], **changes})

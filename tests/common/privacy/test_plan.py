import pytest

from common.errors import ConfigError
from common.privacy.plan import PrivacyPlan, Release, ReleaseShape

RELEASE = {"step": "s.a", "rows": 2, "width": 1, "share": 1.0, "noise_multiplier": 1.5}
PLAN = {"unit": "user", "mode": "local", "delta": 1e-5, "epsilon": 1.0, "releases": [RELEASE]}


def test_plans_round_trip():
    plan = PrivacyPlan.load(PLAN)
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

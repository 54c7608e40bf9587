"""Report data refuses what would make a wrong page."""

import pytest

from common.errors import ConfigError
from simulations.report.data import Estimate, Guarantee, ReportData


def test_round_trips_as_json(sample: ReportData) -> None:
    assert ReportData.model_validate_json(sample.model_dump_json()) == sample


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "hr@20"},
        {"traffic": ()},
        {"rounds": ("one",)},
        {"spend": ()},
        {"methods": ()},
        {"surprise": 1},
    ],
)
def test_parts_that_do_not_fit(sample: ReportData, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ReportData.load({**dict(sample), **changes})


def test_the_chosen_serving_must_be_there(sample: ReportData) -> None:
    joint_only = tuple(m for m in sample.methods if m.name != "shop")
    with pytest.raises(ConfigError):
        ReportData.load({**dict(sample), "methods": joint_only})


def test_an_interval_holds_its_mean() -> None:
    with pytest.raises(ConfigError):
        Estimate.load({"mean": 0.2, "low": 0.3, "high": 0.4})


def test_terms_exactly_with_secure_sums(sample: ReportData, secure: ReportData) -> None:
    for one, other in ((sample, secure), (secure, sample)):
        with pytest.raises(ConfigError):
            Guarantee.load({**dict(one.guarantee), "terms": other.guarantee.terms})
    with pytest.raises(ConfigError):
        ReportData.load({**dict(secure), "sums": secure.sums.model_copy(update={"noise": ()})})


@pytest.mark.parametrize(("mode", "epsilon"), [("none", 8.0), ("local", None)])
def test_epsilon_exactly_with_a_guarantee(mode: str, epsilon: float | None) -> None:
    given = {"mode": mode, "unit": "user", "epsilon": epsilon, "delta": 1e-5, "accountant": "PLD"}
    with pytest.raises(ConfigError):
        Guarantee.load(given)


def test_methods_are_found_by_name(sample: ReportData) -> None:
    assert sample.estimate("joint") == sample.methods[0].metrics["hr@10"]
    assert sample.estimate("unknown") is None


def test_a_guarantee_that_no_epsilon_holds_for(sample: ReportData) -> None:
    given = {"unit": "user", "epsilon": None, "delta": 1e-5, "accountant": "PLD", "endless": True}
    guarantee = Guarantee.load({"mode": "local", **given})
    ReportData.load({**dict(sample), "guarantee": guarantee, "spend": ()})
    for wrong in ({"mode": "local", "epsilon": 8.0}, {"mode": "none"}):
        with pytest.raises(ConfigError):
            Guarantee.load({**given, **wrong})

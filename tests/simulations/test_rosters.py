"""Who sums securely with whom: every client pins the same roster, and no scenario is unsafe."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.store import read_policy
from common.errors import Code, HushRecError
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from server.app import read_job
from server.seen import RECORD_MARK
from simulations.dataset import load_dataset
from simulations.engine.folders import client_folders
from simulations.policies import policy_for
from simulations.prepare import make_job
from simulations.rosters import make_roster, terms_of
from simulations.run_folder import RunFolder
from simulations.scenario import Scenario


@given(st.integers(2, 5000))
def test_what_is_assumed_is_safe_and_round(clients: int) -> None:
    terms = terms_of(Scenario(mode="distributed"), clients)
    assert terms is not None
    terms.check()
    assert terms.colluders == max(1, clients // 10)
    assert terms.threshold == math.ceil(8 * clients / 10)


def test_the_terms_of_eight_and_of_a_hundred() -> None:
    scenario = Scenario(mode="distributed")
    assert terms_of(scenario, 8) == Terms(8, 7, 1)
    assert terms_of(scenario, 100) == Terms(100, 80, 10)
    assert terms_of(Scenario(mode="distributed", threshold=90, colluders=20), 100) == Terms(
        100, 90, 20
    )
    assert terms_of(Scenario(), 8) is None


@pytest.mark.parametrize(
    ("asked", "clients", "code", "where"),
    [
        ({}, 1, Code.PLAN_MODE, "clients"),
        ({"threshold": 5}, 8, None, "threshold"),
        ({"threshold": 4}, 8, Code.POLICY_THRESHOLD, "threshold"),
        ({"threshold": 9}, 8, Code.POLICY_THRESHOLD, "threshold"),
        ({"colluders": 6}, 8, Code.POLICY_THRESHOLD, "colluders"),
        ({"threshold": 5, "colluders": 2}, 8, Code.POLICY_THRESHOLD, "threshold"),
    ],
)
def test_what_is_not_safe_is_an_error_with_the_option(
    asked: dict[str, Any], clients: int, code: Code | None, where: str
) -> None:
    scenario = Scenario(mode="distributed", **asked)
    if code is None:
        assert terms_of(scenario, clients) == Terms(8, 5, 1)
        return
    with pytest.raises(HushRecError) as caught:
        terms_of(scenario, clients)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.remedy


@pytest.mark.parametrize("mode", ["local", "none"])
@pytest.mark.parametrize("given_", [{"threshold": 2}, {"colluders": 1}, {"record_sums": True}])
def test_other_modes_have_no_use_for_terms(mode: str, given_: dict[str, Any]) -> None:
    scenario = Scenario.load({"mode": mode, "no_privacy": mode == "none", **given_})
    with pytest.raises(HushRecError) as caught:
        scenario.checked()
    assert (caught.value.code, caught.value.where) == (Code.PLAN_MODE, next(iter(given_)))


def test_every_client_pins_the_same_roster_and_has_its_own_key(
    prepare_run: Callable[..., RunFolder],
) -> None:
    run = prepare_run(mode="distributed")
    job = read_job(run.path)
    folders = client_folders(run.path)
    rosters = [Roster.of(read_policy(folder).roster) for folder in folders]
    assert {roster.digest for roster in rosters} == {job.roster}
    assert rosters[0].names == ("shop-1", "shop-2", "shop-3")
    for folder in folders:
        path = folder / "roster_key.pem"
        assert SigningKey.load(path).public == rosters[0].keys[folder.name]
        assert path.stat().st_mode & 0o777 == 0o600
    assert job.terms == Terms(3, 3, 1)
    assert job.signal == pytest.approx(120 * math.sqrt(2 / 3))
    policy = read_policy(folders[0])
    assert policy == policy_for(job, rosters[0])
    assert (policy.modes, policy.colluders, policy.servers) == (("distributed",), 1, (job.server,))


def test_a_run_is_marked_to_be_recorded_when_that_is_asked_for(
    prepare_run: Callable[..., RunFolder],
) -> None:
    plain = prepare_run("plain", mode="distributed")
    recorded = prepare_run("recorded", mode="distributed", record_sums=True)
    assert not (plain.path / RECORD_MARK).exists()
    assert (recorded.path / RECORD_MARK).read_bytes() == b""
    assert recorded.is_run()


def test_two_runs_share_no_key_and_other_modes_have_none(
    prepare_run: Callable[..., RunFolder], run_folder: RunFolder
) -> None:
    jobs = [read_job(prepare_run(name, mode="distributed").path) for name in ("one", "two")]
    assert jobs[0].roster != jobs[1].roster
    assert read_job(run_folder.path).roster is None
    for folder in client_folders(run_folder.path):
        assert not (folder / "roster_key.pem").exists()
        assert read_policy(folder).roster == {}


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    folders = [tmp_path / "clients" / name for name in ("shop.1", "b")]
    roster = make_roster(folders)
    assert roster.names == ("b", "shop.1")
    assert make_roster(folders) == roster
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)


def test_the_job_is_priced_before_there_are_keys(small_scenario: Any) -> None:
    scenario = small_scenario(mode="distributed", colluders=1, threshold=3)
    job = make_job(scenario, load_dataset(scenario))
    assert job.roster == "0" * 64

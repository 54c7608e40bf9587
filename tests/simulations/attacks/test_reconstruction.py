"""One release of the real client: taken apart exactly, so that what remains is user and noise."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from common.errors import ConfigError
from simulations.attacks.reconstruction import (
    CHANCE,
    POPULARITY,
    RELEASE,
    RELEASE_AND_POPULARITY,
    ReconstructionSettings,
    Success,
    reconstruct_items,
)
from simulations.attacks.reconstruction_command import attack_reconstruction
from simulations.attacks.reconstruction_release import observe
from simulations.attacks.reconstruction_section import reconstruction_section
from simulations.dataset import load_dataset

STEPS = [("popularity", 0), ("subspace", 0), ("subspace", 1), ("dpsgd", 0), ("dpsgd", 1)]
SMALL = {"dpsgd": {"rounds": 1, "embedding_dim": 4}, "subspace": {"rounds": 1, "embedding_dim": 4}}


def settings(solver="popularity", **values):
    small = {"users": 60, "items": 40, "targets": 30, "releases": 2, "seed": 2}
    chosen = {**SMALL.get(solver, {}), **values.pop("settings", {})}
    return ReconstructionSettings.load({**small, "solver": solver, "settings": chosen, **values})


def seen(given):
    scenario = given.scenario.checked()
    return observe(scenario, load_dataset(scenario), given.step_index)


@pytest.mark.parametrize(("solver", "step"), STEPS)
def test_without_noise_nothing_is_left_but_rounding(solver, step):
    known = seen(settings(solver, step=step))
    users = np.arange(known.histories.n_users)
    own = known.imagine(known.histories)
    assert np.abs(known.noise).max() < 1e-5 * max(1.0, np.abs(own.sum(axis=0)).max())
    assert known.remaining(users[3:5]) == pytest.approx(own[3:5], abs=1e-4)


@pytest.mark.parametrize(("solver", "step"), STEPS)
def test_under_noise_what_is_left_has_the_planned_noise(solver, step):
    """The attacker subtracts right: σ is met, two thirds and three halves of it are not."""
    known = seen(settings(solver, step=step, epsilon=4.0, delta=1e-3, items=400))
    count = known.noise.size
    found = float(np.square(known.noise).sum()) / known.noise_std**2
    deviations = abs(found - count) / math.sqrt(2 * count)
    assert deviations < 6
    for wrong in (2 / 3, 3 / 2):
        assert abs(found / wrong**2 - count) / math.sqrt(2 * count) > 6


def test_the_release_is_that_of_the_first_client_alone():
    known = seen(settings(clients=3))
    assert 10 < known.histories.n_users < 30


@pytest.mark.parametrize(("solver", "step"), STEPS)
def test_without_noise_the_items_are_read_off(solver, step):
    result = reconstruct_items(settings(solver, step=step, targets=10))
    assert np.mean(result.success[RELEASE].precision) > 0.97
    assert np.mean(result.success[RELEASE].average_precision) > 0.97
    assert np.mean(result.success[POPULARITY].precision) < 0.7
    assert result.mu is None
    assert result.allowed_precision is None


@pytest.mark.parametrize(("solver", "step"), [("popularity", 0), ("subspace", 1)])
def test_under_much_noise_a_release_tells_no_more_than_chance(solver, step):
    result = reconstruct_items(settings(solver, step=step, epsilon=0.1, releases=6, delta=1e-3))
    chance = np.mean(result.success[CHANCE].precision)
    found = np.mean(result.success[RELEASE].precision)
    # hits among |history| of 180 targets, and as much again for the noise that 30 of them share
    assert abs(found - chance) < 6 * math.sqrt(chance / (result.history * 180) * 6)
    both = np.mean(result.success[RELEASE_AND_POPULARITY].precision)
    assert both < result.allowed_precision + 0.05


def test_what_is_allowed_follows_from_the_plan():
    result = reconstruct_items(settings("popularity", epsilon=4.0, delta=1e-3))
    assert result.bits_released == pytest.approx(result.mu**2 / 2 / math.log(2))
    guess = max(np.mean(result.success[name].precision) for name in (POPULARITY, CHANCE))
    assert guess < result.allowed_precision < 1
    nothing = replace(result, mu=1e-9)
    assert nothing.allowed_precision == pytest.approx(guess)
    exact = math.log2(math.comb(40, 10))
    assert 0.5 * exact < result.bits_needed < 1.5 * exact


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"local_steps": 2}}, "several sums"),
        ({"settings": {"sampling_rate": 0.5}}, "sampled"),
        ({"settings": {"optimizer": "adam"}}, "not linear"),
        ({"step": 9}, "counted from 0"),
    ],
)
def test_a_release_that_is_no_one_sum_is_refused_by_name(values, said):
    given = settings("dpsgd", epsilon=4.0, delta=1e-3, **values)
    with pytest.raises(ConfigError, match=said):
        seen(given)


def test_means_come_with_their_standard_errors():
    found = Success((0.2, 0.4), (0.1, 0.1)).to_json()
    assert found["precision"] == pytest.approx(0.3)
    assert found["precision_error"] == pytest.approx(0.1)
    assert found["average_precision_error"] == pytest.approx(0.0)


@pytest.mark.parametrize("epsilon", [None, 2.0])
def test_the_section_and_json_say_what_could_have_been_seen(epsilon):
    result = reconstruct_items(settings(epsilon=epsilon, delta=epsilon and 1e-3))
    words = " ".join(ElementTree.fromstring(reconstruction_section(result)).itertext())
    assert "not a private release" in words
    assert "What could have been seen" in words
    assert f"{np.mean(result.success[RELEASE].precision):.3f}" in words
    assert ("no noise" in words) == (epsilon is None)
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert ReconstructionSettings.load(found["settings"]) == result.settings
    assert set(found["success"]) == {RELEASE, RELEASE_AND_POPULARITY, POPULARITY, CHANCE}


def run(*arguments: str):
    app = typer.Typer()
    app.command()(attack_reconstruction)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_prints_text_and_json(tmp_path):
    out = tmp_path / "found.json"
    small = ("--users", "40", "--solver", "popularity", "--targets", "5", "--releases", "2")
    done = run(*small, "--no-privacy", "--format", "json", "--out", str(out))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(out.read_text())
    text = run(*small, "--epsilon", "1")
    assert text.exit_code == 0
    assert "average precision" in text.stdout
    assert "What could have been seen" in text.stdout
    wrong = run(*small, "--step", "5")
    assert wrong.exit_code == 2
    assert "config-invalid" in wrong.stderr

"""The two commands: one result on stdout, errors in one line, exit status for CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from simulations.attacks.commands import attack_many_run, attack_one_run


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    made.command("one-run")(attack_one_run)
    made.command("many-run")(attack_many_run)
    return made


def ran(app: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_one_run_without_privacy_shows_more_than_4(app: typer.Typer, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    options = ["--solver", "popularity", "--no-privacy", "--format", "json", "--out", str(out)]
    found = ran(app, "one-run", *options)
    assert found.exit_code == 0
    values = json.loads(found.stdout)
    assert values["epsilon_bound"] > 4
    assert values["ceiling"] == pytest.approx(5.809, abs=1e-3)
    assert json.loads(out.read_text()) == values


def test_one_run_at_the_default_plan_is_below_its_promise(app: typer.Typer) -> None:
    options = ["--solver", "popularity", "--canaries", "200", "--confidence", "0.999999"]
    found = ran(app, "one-run", *options)
    assert found.exit_code == 0
    assert "promised" in found.stdout
    assert "unit user (add/remove one user)" in found.stdout
    assert "broken" not in found.stdout


def test_many_run_says_when_noise_is_missing(app: typer.Typer) -> None:
    options = ["many-run", "--solver", "popularity", "--runs", "600"]
    broken = ran(app, *options, "--noise-share", "0.25", "--confidence", "0.999999")
    assert broken.exit_code == 1
    assert "The promise is broken." in broken.stdout
    assert "0.25 of its noise" in broken.stdout
    kept = ran(app, *options, "--confidence", "0.999999", "--format", "json")
    assert kept.exit_code == 0
    assert json.loads(kept.stdout)["broken"] is False


@pytest.mark.parametrize(
    "arguments",
    [
        ["one-run", "--solver", "nothing"],
        ["one-run", "--solver", "ials"],
        ["one-run", "--canaries", "3"],
        ["many-run", "--part", "half"],
        ["many-run", "--epsilon", "0"],
        ["many-run", "--runs", "1"],
    ],
)
def test_what_cannot_be_audited_is_one_line(app: typer.Typer, arguments: list[str]) -> None:
    found = ran(app, *arguments)
    assert found.exit_code == 2
    assert found.stdout == ""
    assert found.stderr.count("error ") == 1
    assert "See docs/errors/" in found.stderr

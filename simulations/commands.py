"""`hushrec simulate`: options over a scenario file over what users would expect."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from common import job_options as of_job
from common.config import read_json, read_toml
from common.errors import Code, ConfigError, RunError
from common.terminal import Format, FormatOption, finish, name_values
from simulations import simulate_options as option
from simulations.live import LiveView
from simulations.result_table import print_result
from simulations.runner import prepare_run, resume_run, start_run
from simulations.scenario import Scenario

__all__ = ["simulate"]


def simulate(
    data: option.Data = None,
    catalogue: option.Catalogue = None,
    clients: option.Clients = None,
    partition: option.Partition = None,
    min_users: option.MinUsers = None,
    model: option.ModelName = None,
    solver: of_job.Solver = None,
    serving: option.Serving = None,
    mode: option.ModeName = None,
    no_privacy: option.NoPrivacy = None,
    threshold: of_job.Threshold = None,
    colluders: of_job.Colluders = None,
    record_sums: option.RecordSums = None,
    epsilon: of_job.Epsilon = None,
    delta: of_job.Delta = None,
    unit: option.Unit = None,
    evaluation_share: of_job.EvaluationShare = None,
    rounds: of_job.Rounds = None,
    dim: of_job.Dim = None,
    seed: of_job.Seed = None,
    fixed_noise: option.FixedNoise = None,
    engine: option.Engine = None,
    protocol: option.ProtocolName = None,
    validation: option.Validation = None,
    setting: of_job.Setting = None,
    scenario: option.ScenarioFile = None,
    out: option.Out = None,
    force: option.Force = False,
    resume: option.Resume = None,
    prepare: option.Prepare = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Simulate a federation: shops, server, private training, honest evaluation, a report.

    With --format json, stdout is one JSON object; progress goes to stderr.
    """
    given = locals()  # every option by its name: those of a scenario have its fields' names
    options = {k: v for k, v in given.items() if k in Scenario.model_fields and v is not None}
    if setting:
        options["settings"] = name_values(setting)
    asked = _Asked(options, scenario, out, force=force, prepare=prepare)
    folder = resume or out or _new_folder()
    finish(
        lambda: asked.begun(folder, output) if resume is None else asked.resumed(folder, output),
        stopped=f"Completed rounds are kept: continue with --resume {folder}",
    )


@dataclass(frozen=True)
class _Asked:
    """What was given beside the folder.

    Attributes:
        options: fields of the scenario, by name.
        scenario: file with more of them; options win.
        out: folder that was named.
        force: a run that is there may be replaced.
        prepare: the run is laid out alone.
    """

    options: dict[str, Any]
    scenario: Path | None
    out: Path | None
    force: bool
    prepare: bool

    def begun(self, folder: Path, output: Format) -> None:
        """Lay a run out and, unless that is all, run it."""
        scenario = _scenario(self.options, self.scenario)
        if self.prepare:
            _print(prepare_run(scenario, folder, force=self.force).path, output)
            return
        with LiveView() as view:
            result = start_run(scenario, folder, view, force=self.force)
        _print_result(result, output)

    def resumed(self, folder: Path, output: Format) -> None:
        """Go on with a run.

        Raises:
            RunError: `run-mismatch`, something else was given.
        """
        if self != _Asked({}, None, None, force=False, prepare=False):
            raise RunError(
                Code.RUN_MISMATCH,
                "a run is resumed as it was begun.",
                where="--resume",
                remedy="Leave the other options out, or start a new run with --out.",
            )
        with LiveView() as view:
            result = resume_run(folder, view)
        _print_result(result, output)


def _print_result(result: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        typer.echo(json.dumps(result))
    else:
        print_result(result)


def _scenario(options: dict[str, Any], path: Path | None) -> Scenario:
    values: dict[str, Any] = {}
    if path is not None:
        values = read_json(path) if path.suffix == ".json" else read_toml(path)
    where = "options" if path is None else str(path)
    merged = {**values, **options}
    if "settings" in options and "settings" in values:
        inner = values["settings"]  # anything but a table is left for `load` to refuse
        merged["settings"] = {**inner, **options["settings"]} if isinstance(inner, dict) else inner
    found = Scenario.load(merged, where=where).located()
    if "min_users" in options and not found.partition_spec.strip().startswith("column:"):
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"partition `{found.partition_spec}` joins no regions.",
            where="--min-users",
            remedy="Leave it out, or say --partition column:NAME.",
        )
    return found


def _new_folder() -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{secrets.token_hex(2)}"


def _print(path: Path, output: Format) -> None:
    if output is Format.JSON:
        typer.echo(json.dumps({"run": str(path)}))
    else:
        typer.echo(f"Prepared {path}. Run it with: hushrec simulate --resume {path}")

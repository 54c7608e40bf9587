"""`hushrec simulate`: options over a scenario file over what users would expect."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from common.config import read_json, read_toml
from common.errors import Code, ConfigError, RunError
from common.terminal import Format, FormatOption, finish, name_values
from simulations.live import LiveView
from simulations.result_table import print_result
from simulations.runner import prepare_run, resume_run, start_run
from simulations.scenario import Scenario

__all__ = ["simulate"]


def simulate(
    data: Annotated[str | None, typer.Option(help="Events; absent: the marketplace.")] = None,
    catalogue: Annotated[str | None, typer.Option(help="Public product file.")] = None,
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="column:NAME | hash | dirichlet:ALPHA | sizes:FILE"),
    ] = None,
    min_users: Annotated[
        int | None, typer.Option(help="Under column: smaller regions are joined.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Kind of the model, the solver's.")] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            help="subspace | ials | dpsgd | transitions | sequential | neural | popularity"
        ),
    ] = None,
    serving: Annotated[str | None, typer.Option(help="joint | shop")] = None,
    mode: Annotated[str | None, typer.Option(help="local | distributed | none")] = None,
    no_privacy: Annotated[
        bool | None, typer.Option("--no-privacy", help="Needed for --mode none.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="Under distributed: fewest clients in a secure sum.")
    ] = None,
    colluders: Annotated[
        int | None, typer.Option(help="Under distributed: clients that may help the server.")
    ] = None,
    record_sums: Annotated[
        bool | None,
        typer.Option("--record-sums", help="Under distributed: keep what the server sees."),
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Target ε of each client.")] = None,
    delta: Annotated[float | None, typer.Option(help="δ; absent: population^-1.1.")] = None,
    unit: Annotated[str | None, typer.Option(help="user | interaction")] = None,
    evaluation_share: Annotated[
        float | None, typer.Option(help="Share of the budget for private evaluation.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the solver.")] = None,
    dim: Annotated[int | None, typer.Option(help="Length of the vectors.")] = None,
    seed: Annotated[int | None, typer.Option(help="Public randomness; never the noise.")] = None,
    fixed_noise: Annotated[
        bool | None,
        typer.Option("--fixed-noise", help="Noise from the seed too: repeatable, NOT PRIVATE."),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="inprocess | ray")] = None,
    protocol: Annotated[str | None, typer.Option(help="full | ncf | temporal")] = None,
    validation: Annotated[
        bool | None,
        typer.Option("--validation", help="Judge by events held out from training."),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the solver.")
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="All of the above in TOML or JSON.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in --out.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Lay the run out without running it.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Simulate a federation: shops, server, private training, honest evaluation, a report.

    With --format json, stdout is one JSON object; progress goes to stderr.
    """
    given = locals()  # every option by its name: those of a scenario have its fields' names
    options = {k: v for k, v in given.items() if k in Scenario.model_fields and v is not None}
    if setting:
        options["settings"] = name_values(setting)
    folder = resume or out or _new_folder()
    finish(
        lambda: _dispatch(
            options,
            scenario,
            folder,
            output,
            given_out=out,
            resume=resume,
            force=force,
            prepare=prepare,
        ),
        stopped=f"Completed rounds are kept: continue with --resume {folder}",
    )


def _dispatch(
    options: dict[str, Any],
    scenario: Path | None,
    folder: Path,
    output: Format,
    *,
    given_out: Path | None,
    resume: Path | None,
    force: bool,
    prepare: bool,
) -> None:
    if resume is not None:
        if options or scenario is not None or given_out is not None or force or prepare:
            raise RunError(
                Code.RUN_MISMATCH,
                "a run is resumed as it was begun.",
                where="--resume",
                remedy="Leave the other options out, or start a new run with --out.",
            )
        with LiveView() as view:
            result = resume_run(folder, view)
    else:
        asked = _scenario(options, scenario)
        if prepare:
            _print(prepare_run(asked, folder, force=force).path, output)
            return
        with LiveView() as view:
            result = start_run(asked, folder, view, force=force)
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

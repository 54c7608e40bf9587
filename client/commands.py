"""`hushrec budget` and `hushrec plan`: what a client has spent, and what a plan would cost it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from client import plan_options as options
from client.budget_text import print_budget, print_plan
from client.budget_view import BudgetView, Fit, fit, view_budget
from client.guard.admission import close_job
from client.keeping import thaw
from client.owner import Owner
from client.plan_asked import asked_job, complete, named
from client.what_if import what_if
from common import job_options as of_job
from common.job import Job
from common.privacy.events import event_of
from common.schedule import schedule_of
from common.terminal import Format, FormatOption, Teller, finish, name_values, print_json

__all__ = ["budget", "plan"]


def budget(
    client_dir: Annotated[Path, typer.Argument(help="Folder of the client.")],
    job: Annotated[
        Path | None, typer.Option(help="job.json or a scenario: does its plan still fit?")
    ] = None,
    close: Annotated[
        str | None, typer.Option(help="End this job: what it has not reserved is held no more.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show what a client has spent, holds, refused and has left, under its own policy."""

    def work() -> None:
        owner = Owner.of(client_dir)
        if close is not None:
            _close(owner, close)
        view = view_budget(owner, datetime.now(UTC).date())
        asked = None if job is None else asked_job(job, owner)
        found = None if asked is None else _fit(view, asked)
        if output is Format.JSON:
            print_json({**view.to_json(), "plan": None if found is None else found.to_json()})
        else:
            print_budget(view, found)

    finish(work)


def plan(
    solver: options.Solver = "subspace",
    items: options.Items = None,
    population: options.Population = None,
    clients: options.Clients = None,
    mode: of_job.ModeName = None,
    threshold: of_job.Threshold = None,
    colluders: of_job.Colluders = None,
    shops: options.Shops = None,
    epsilon: options.Epsilon = None,
    noise_multiplier: options.NoiseMultiplier = None,
    delta: of_job.Delta = None,
    rounds: of_job.Rounds = None,
    dim: of_job.Dim = None,
    sampling_rate: options.SamplingRate = None,
    evaluation_share: of_job.EvaluationShare = None,
    renyi_order: options.RenyiOrder = None,
    setting: of_job.Setting = None,
    client: options.Client = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Ask what a plan would be: from ε to noise, or from noise to ε. Nothing is run or spent."""
    of_solver = {"rounds": rounds, "embedding_dim": dim, "sampling_rate": sampling_rate}
    values = {
        "solver": solver,
        "items": items,
        "population": population,
        "clients": clients,
        "mode": mode,
        "threshold": threshold,
        "colluders": colluders,
        "shops": shops,
        "epsilon": epsilon,
        "noise_multiplier": noise_multiplier,
        "delta": delta,
        "evaluation_share": evaluation_share,
        "renyi_order": renyi_order,
    }
    finish(lambda: _plan(values, of_solver, setting or [], client, output))


def _plan(
    values: Mapping[str, Any],
    of_solver: Mapping[str, Any],
    setting: Sequence[str],
    client: Path | None,
    output: Format,
) -> None:
    given = {name: value for name, value in of_solver.items() if value is not None}
    asked = {**values, "settings": {**name_values(setting), **given}}
    owner = None if client is None else Owner.of(client)
    with Teller() as teller:
        teller.tell("planning")
        found = what_if(complete(asked, owner))
        view = None if owner is None else view_budget(owner, datetime.now(UTC).date())
        fits = None if view is None else fit(view, named(found.job), found.events)
    if output is Format.JSON:
        print_json({**found.to_json(), "client": None if fits is None else fits.to_json()})
    else:
        print_plan(found, view, fits)


def _close(owner: Owner, job_id: str) -> None:
    """Close the job with this id, or the only open one that begins so; its log goes with it."""
    try:
        with owner.ledger() as ledger:
            admitted = {str(row.body["job_id"]) for row in ledger.rows("admit")}
            found = [one for one in admitted if one.startswith(job_id)]
            close_job(ledger, found[0] if len(found) == 1 else job_id)
    finally:
        thaw(owner, datetime.now(UTC))


def _fit(view: BudgetView, job: Job) -> Fit:
    return fit(view, named(job), [event_of(r) for r in schedule_of(job).plan.releases])

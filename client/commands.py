"""`hushrec budget` and `hushrec plan`: what a client has spent, and what a plan would cost it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from client.budget_text import print_budget, print_plan
from client.budget_view import BudgetView, Fit, fit, view_budget
from client.guard.admission import close_job
from client.owner import Owner
from client.what_if import Asked, WhatIf, total_noise, what_if
from common.config import read_json, read_toml
from common.errors import Code, ConfigError
from common.job import Job
from common.privacy.accounting import ACCOUNTANT, NEIGHBOURING
from common.privacy.events import event_of
from common.schedule import schedule_of
from common.terminal import Format, FormatOption, Teller, finish, name_values, print_json

__all__ = ["budget", "plan"]

_SHARED: Final = (
    "solver", "epsilon", "delta", "evaluation_share", "mode", "threshold", "colluders",
)  # fmt: skip
"""Keys of a scenario that a plan depends on and that mean the same here."""


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
        asked = None if job is None else _asked_job(job, owner)
        found = None if asked is None else _fit(view, asked)
        if output is Format.JSON:
            print_json({**view.to_json(), "plan": None if found is None else found.to_json()})
        else:
            print_budget(view, found)

    finish(work)


def plan(
    solver: Annotated[str, typer.Option(help="subspace | dpsgd | popularity")] = "subspace",
    items: Annotated[int | None, typer.Option(help="Items of the catalogue.")] = None,
    population: Annotated[int | None, typer.Option(help="Declared users of all clients.")] = None,
    clients: Annotated[
        int | None, typer.Option(help="Clients of the federation; absent: 1, or the roster.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="local | distributed: who adds the noise.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="Fewest clients of a secure sum; absent: four fifths.")
    ] = None,
    colluders: Annotated[
        int | None, typer.Option(help="Clients that may collude with the server.")
    ] = None,
    shops: Annotated[
        int | None, typer.Option(help="Clients that one person may be a user of.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Target ε: how much noise?")] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="σ over clip norm of the main release: which ε?")
    ] = None,
    delta: Annotated[float | None, typer.Option(help="δ; absent: population^-1.1.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the solver.")] = None,
    dim: Annotated[int | None, typer.Option(help="Length of the vectors.")] = None,
    sampling_rate: Annotated[
        float | None, typer.Option(help="Rate at which users take part (dpsgd).")
    ] = None,
    evaluation_share: Annotated[
        float, typer.Option(help="Share of the budget for private evaluation.")
    ] = 0.0,
    renyi_order: Annotated[
        int | None, typer.Option(help="Order of the Rényi filter to aim at.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting of the solver.")
    ] = None,
    client: Annotated[
        Path | None, typer.Option(help="Folder of a client: what it would do to its budget.")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Ask what a plan would be: from ε to noise, or from noise to ε. Nothing is run or spent."""
    named = {"rounds": rounds, "embedding_dim": dim, "sampling_rate": sampling_rate}
    values: dict[str, Any] = {
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
        "settings": {
            **name_values(setting or []),
            **{name: value for name, value in named.items() if value is not None},
        },
    }

    def work() -> None:
        owner = None if client is None else Owner.of(client)
        with Teller() as teller:
            teller.tell("planning")
            found = what_if(_complete(values, owner))
            view = None if owner is None else view_budget(owner, datetime.now(UTC).date())
            fits = None if view is None else fit(view, _named(found.job), found.events)
        if output is Format.JSON:
            print_json({**_plan_json(found), "client": None if fits is None else fits.to_json()})
        else:
            print_plan(found, view, fits)

    finish(work)


def _close(owner: Owner, job_id: str) -> None:
    """Close the job with this id, or the only open one that begins so."""
    with owner.ledger() as ledger:
        admitted = {str(row.body["job_id"]) for row in ledger.rows("admit")}
        found = [one for one in admitted if one.startswith(job_id)]
        close_job(ledger, found[0] if len(found) == 1 else job_id)


def _asked_job(path: Path, owner: Owner) -> Job:
    """The job in a `job.json`, or that of a scenario for this client alone.

    Raises:
        ConfigError: the file is neither.
    """
    values = read_toml(path) if path.suffix == ".toml" else read_json(path)
    if "job_id" in values:
        return Job.load(values, where=str(path))
    if values.get("mode") == "none":
        raise ConfigError(
            Code.PLAN_MODE,
            "in mode `none` there is no plan that a budget could hold.",
            where=str(path),
            remedy="Choose mode `local`.",
        )
    named = {"rounds": "rounds", "dim": "embedding_dim"}
    inner = values.get("settings", {})
    settings = dict(inner) if isinstance(inner, dict) else {}
    settings |= {ours: values[theirs] for theirs, ours in named.items() if theirs in values}
    asked = {name: values[name] for name in _SHARED if values.get(name) is not None}
    asked = {"epsilon": 8.0, "clients": values.get("clients"), **asked, "settings": settings}
    asked.setdefault("mode", "local")
    return what_if(_complete(asked, owner, where=str(path))).job


def _complete(values: Mapping[str, Any], owner: Owner | None, *, where: str = "options") -> Asked:
    """With what the client's folder knows; its declared users stand for one of equal clients."""
    known = {name: value for name, value in values.items() if value is not None}
    if owner is not None:
        known = {**_known(owner, known), **known}
    missing = [f"--{name}" for name in ("items", "population") if name not in known]
    if missing:
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{' and '.join(missing)} must be known.",
            where=where,
            remedy="Give them, or --client with a client's folder.",
        )
    if known["population"] > 1:
        known.setdefault("delta", known["population"] ** -1.1)
    return Asked.load(known, where=where)


def _known(owner: Owner, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a client's folder says where nobody asked otherwise; its policy's first mode."""
    policy = owner.policy
    secure = asked.get("mode", policy.modes[0] if policy.modes else "local") == "distributed"
    clients = int(asked.get("clients") or (len(policy.roster) if secure else 1) or 1)
    known = {
        "clients": clients,
        "items": asked.get("items") or owner.n_items,
        "population": owner.settings.population * clients,
        "delta": policy.lifetime.delta,
        "renyi_order": policy.renyi_order,
        "shops": policy.max_shops_per_shopper,
    }
    return known | ({"mode": "distributed", "colluders": policy.colluders} if secure else {})


def _fit(view: BudgetView, job: Job) -> Fit:
    return fit(view, _named(job), [event_of(r) for r in schedule_of(job).plan.releases])


def _named(job: Job) -> str:
    target = "mode none" if job.epsilon is None else f"ε = {job.epsilon:g}"
    return f"{job.solver}, {target} at δ = {job.delta:.3g}"


def _plan_json(found: WhatIf) -> dict[str, Any]:
    several, how = found.for_shops
    return {
        "solver": found.job.solver,
        "settings": found.job.settings,
        "items": found.job.n_items,
        "population": found.job.population,
        "clients": found.job.clients,
        "unit": found.plan.unit,
        "neighbouring": NEIGHBOURING,
        "mode": found.plan.mode,
        "delta": found.plan.delta,
        "noise_multiplier": found.noise_multiplier,
        "epsilon": found.epsilon,
        "epsilon_by_accountant": {ACCOUNTANT: found.pld, found.filter.name: found.by_filter},
        "against": None if found.job.terms is None else vars(found.job.terms),
        "shops": found.shops,
        "epsilon_of_shops": several if math.isfinite(several) else None,
        "epsilon_of_shops_by": how,
        "noise_in_total": total_noise(found.job.clients, found.job.terms),
        "noise_in_total_local": total_noise(found.job.clients, None),
        "rounds": len(found.plan.releases),
        "releases": [release.model_dump(mode="json") for release in found.plan.releases],
    }

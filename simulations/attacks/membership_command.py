"""`hushrec audit attack membership`: train models with and without users, and tell them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from common.files import write_atomic
from common.terminal import Format, FormatOption, Teller, finish, print_json
from simulations.attacks.membership import (
    LIMITS,
    MembershipResult,
    MembershipSettings,
    infer_membership,
)
from simulations.attacks.membership_section import protection, sight

__all__ = ["attack_membership"]


def attack_membership(
    data: Annotated[str | None, typer.Option(help="Events; absent: a marketplace.")] = None,
    users: Annotated[int | None, typer.Option(help="Users of the marketplace.")] = None,
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    solver: Annotated[str | None, typer.Option(help="subspace | ials | dpsgd | popularity")] = None,
    epsilon: Annotated[float, typer.Option(help="Target ε of each client.")] = 8.0,
    no_privacy: Annotated[bool, typer.Option("--no-privacy", help="Mode none.")] = False,
    shadows: Annotated[int | None, typer.Option(help="Shadow models of each target.")] = None,
    seed: Annotated[int | None, typer.Option(help="Data, partition and coins.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Attack the published model: tell users in the training data from others.

    Trains models on data of its own; no client's log is read.
    """
    options: dict[str, Any] = {
        "data": data,
        "users": users,
        "clients": clients,
        "solver": solver,
        "epsilon": None if no_privacy else epsilon,
        "shadows": shadows,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if value is not None}

    def work() -> None:
        with Teller() as teller:
            result = infer_membership(MembershipSettings.load(given, where="options"), teller.tell)
        if out is not None:
            write_atomic(out, (json.dumps(result.to_json(), indent=1) + "\n").encode())
        if output is Format.JSON:
            print_json(result.to_json())
        else:
            _print(result)

    finish(work)


def _print(result: MembershipResult) -> None:
    console = Console()
    title = f"{result.data}: {result.users} users, {result.models} models, {protection(result)}"
    table = Table(title=title, title_justify="left")
    for name in ("attack", "area", *(f"TPR at FPR {limit:.1%}" for limit in LIMITS)):
        table.add_column(name)
    for name, roc in result.curves.items():
        points = {point.limit: point for point in result.points(name)}
        cells = [f"{roc.auc:.3f} ± {result.spread(name):.3f}"]
        for limit in LIMITS:
            if limit not in points:
                cells.append("too few others")
                continue
            low, high = points[limit].tpr.interval
            cells.append(f"{points[limit].tpr.rate:.4f} ({low:.4f} to {high:.4f})")
        table.add_row(name, *cells)
    if result.promise is not None:
        allowed = {p.limit: result.allowed(p) for p in result.points(next(iter(result.curves)))}
        most = (allowed.get(limit) for limit in LIMITS)
        cells = [f"{result.promise.auc:.3f}", *("–" if v is None else f"{v:.4f}" for v in most)]
        table.add_row("the promise allows", *cells)
    console.print(table)
    console.print(sight(result), markup=False)

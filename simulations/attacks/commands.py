"""`hushrec audit attack one-run` and `many-run`: what a promise lets show, on shadow data.

Exit status 1 where a bound contradicts the promise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from common.files import write_atomic
from common.terminal import Format, FormatOption, Teller, finish, print_json
from simulations.attacks.bounds import epsilon_of_mu
from simulations.attacks.many_run import ManyRunResult, ManyRunSettings, audit_many_run
from simulations.attacks.one_run import OneRunResult, OneRunSettings, audit_one_run

__all__ = ["attack_many_run", "attack_one_run"]

_BROKEN: Final = 1


def attack_one_run(
    solver: Annotated[
        str | None,
        typer.Option(
            help="subspace | ials | dpsgd | transitions | sequential | neural | popularity"
        ),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Target ε of the client.")] = 4.0,
    delta: Annotated[float | None, typer.Option(help="δ of promise and bound.")] = None,
    no_privacy: Annotated[bool, typer.Option("--no-privacy", help="Mode none.")] = False,
    canaries: Annotated[int | None, typer.Option(help="Canary users, half of them in.")] = None,
    confidence: Annotated[float | None, typer.Option(help="Of the bound.")] = None,
    seed: Annotated[int | None, typer.Option(help="Shadow data and coins; never noise.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Train once with canary users by the real apps, and bound ε by how many are found out.

    Shadow data alone: a synthetic shop with canaries beside its users. Status 1 if the bound
    contradicts the promise.
    """
    given = _given(
        solver=solver,
        delta=delta,
        canaries=canaries,
        confidence=confidence,
        seed=seed,
    )
    given["epsilon"] = None if no_privacy else epsilon

    def work(tell: Callable[[str], None]) -> OneRunResult:
        return audit_one_run(OneRunSettings.load(given, where="options"), tell)

    finish(lambda: _done(work, _print_one_run, output, out))


def attack_many_run(
    solver: Annotated[
        str | None,
        typer.Option(help="subspace | dpsgd | transitions | sequential | neural | popularity"),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Target ε of the plan.")] = 4.0,
    delta: Annotated[float | None, typer.Option(help="δ of promise and bound.")] = None,
    part: Annotated[str | None, typer.Option(help="step | plan: one sum, or all at once.")] = None,
    runs: Annotated[int | None, typer.Option(help="Draws on each of two neighbours.")] = None,
    noise_share: Annotated[
        float | None, typer.Option(help="Break it: share of the noise that is really added.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Of each bound.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Repeat one step of the real mechanism on two neighbours, and bound ε by its errors.

    White box, and no data at all but one user of the worst kind. Status 1 if a bound
    contradicts the promise.
    """
    given = _given(
        solver=solver,
        epsilon=epsilon,
        delta=delta,
        part=part,
        runs=runs,
        noise_share=noise_share,
        confidence=confidence,
    )

    def work(tell: Callable[[str], None]) -> ManyRunResult:
        return audit_many_run(ManyRunSettings.load(given, where="options"), tell=tell)

    finish(lambda: _done(work, _print_many_run, output, out))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _done(
    work: Callable[[Callable[[str], None]], Any],
    show: Callable[[Any, Console], None],
    output: Format,
    out: Path | None,
) -> int:
    """Do it, write it, print it; the exit status."""
    with Teller() as teller:
        result = work(teller.tell)
    values = result.to_json()
    if out is not None:
        write_atomic(out, (json.dumps(values, indent=1) + "\n").encode())
    if output is Format.JSON:
        print_json(values)
    else:
        show(result, Console(soft_wrap=True, highlight=False))
    return _BROKEN if result.broken else 0


def _print_one_run(result: OneRunResult, console: Console) -> None:
    settings = result.settings
    rows = [("promised", _epsilon(result.epsilon), _number(result.mu))]
    if result.epsilon is not None and result.mu_bound is not None:
        shown = epsilon_of_mu(result.mu_bound, result.delta)
        rows.append(("shown, Gaussian DP", _epsilon(shown), _number(result.mu_bound)))
    rows += [
        ("shown, any mechanism", _epsilon(result.bound), "–"),
        ("perfect guesses", _epsilon(result.ceiling), "–"),
    ]
    title = (
        f"One run, {settings.solver}, {settings.canaries} canaries, {result.included} of them in"
    )
    mode = "none" if result.epsilon is None else "local"
    _print_table(title, rows, result.delta, settings.confidence, console, mode)
    best = result.best
    console.print(f"{best.correct} of {best.made} guesses were right.", markup=False)
    _print_verdict(result.broken, console)


def _print_many_run(result: ManyRunResult, console: Console) -> None:
    settings, bound = result.settings, result.bound
    rows = [("promised", _epsilon(result.epsilon), _number(result.mu))]
    if result.mu is not None:
        rows.append(("shown, Gaussian DP", _epsilon(bound.gaussian_epsilon), _number(bound.mu)))
    rows += [
        ("shown, any mechanism", _epsilon(bound.epsilon), "–"),
        ("no error at all", _epsilon(result.ceiling), "–"),
    ]
    what = "one sum of the plan" if settings.part == "step" else f"all {result.sums} sums"
    title = f"Many runs, {settings.solver}, {what}, {settings.runs} draws on each neighbour"
    _print_table(title, rows, settings.delta, settings.confidence, console)
    if settings.noise_share < 1:
        words = f"The mechanism was given {settings.noise_share:g} of its noise."
        console.print(words, markup=False)
    _print_verdict(result.broken, console)


def _print_table(
    title: str,
    rows: Sequence[tuple[str, str, str]],
    delta: float,
    confidence: float,
    console: Console,
    mode: str = "local",
) -> None:
    table = Table(title=title, title_justify="left")
    for name in ("", "ε", "μ"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        f"ε at δ = {delta:.3g}, unit user (add/remove one user), mode {mode}; bounds from below "
        f"with {confidence:.6g} confidence each.",
        markup=False,
    )


def _print_verdict(broken: bool, console: Console) -> None:
    if broken:
        console.print("The promise is broken.", style="bold red")


def _epsilon(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

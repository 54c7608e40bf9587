"""`hushrec server status` for people: tables of the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.monitor.view import HomeView, RunView
from server.monitor.words import (
    ago,
    certificate_words,
    headline,
    member_words,
    refused_words,
    round_words,
    run_words,
)

__all__ = ["print_home", "print_run"]


def print_home(view: HomeView) -> None:
    """A server at a glance."""
    console = Console(highlight=False)
    console.print(Text(headline(view)), soft_wrap=True)
    if view.runs:
        heads = ("run", "how far", "changed", "answered last", "refused last")
        rows = [
            (run.name, run_words(run), ago(run.changed_at, view.at), _answered(run),
             refused_words(run.last))
            for run in view.runs
        ]  # fmt: skip
        console.print(_table(heads, rows))
    else:
        console.print("No runs yet.")
    if view.older_runs:
        console.print(f"{view.older_runs} older runs are not shown.")
    if view.members:
        rows_of = [
            (one.name, member_words(one), ago(one.heard_at, view.at)) for one in view.members
        ]
        console.print(_table(("member", "node", "heard of"), rows_of))
    else:
        console.print("No members yet.")
    console.print(Text(_model(view)))
    for one in view.certificates:
        console.print(Text(f"Certificate {one.name}: {certificate_words(one)}."))


def print_run(run: RunView) -> None:
    """One training, round by round."""
    console = Console(highlight=False)
    console.print(Text(f"{run.name}: {run_words(run)}."), soft_wrap=True)
    if not run.rounds:
        return
    heads = ("round", "step", "answered", "refused", "seconds", "received", "noise")
    rows = [round_words(record) for record in run.rounds]
    console.print(_table(heads, rows))


def _answered(run: RunView) -> str:
    return "–" if run.last is None else ", ".join(run.last.answered) or "nobody"


def _model(view: HomeView) -> str:
    if view.model is None:
        return f"No model is promoted; {view.versions} could be."
    return f"Promotion {view.model.serial} is version {view.model.version} of {view.versions}."


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table

"""`hushrec audit RUN` and `hushrec audit attack`: what needs the lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from client.audit_text import print_findings
from client.commands_audit import BROKEN, today
from common.audit.statement_page import render_statements
from common.files import write_atomic
from common.terminal import Format, FormatOption, Teller, finish, print_json
from simulations.attacks.commands import attack_many_run, attack_one_run
from simulations.attacks.membership_command import attack_membership
from simulations.attacks.reconstruction_command import attack_reconstruction
from simulations.audit.honest import alone_words
from simulations.audit.page import render_audit, verdict_words
from simulations.audit.run import AUDIT, RunAudit, audit_run

__all__ = ["extend", "run", "write_audit"]

_SEEN: Final = "seen up to its end"


def extend(audit: typer.Typer) -> None:
    """Add the lab's commands to the group of the client's."""
    audit.command("run")(run)
    attack = typer.Typer(
        help="Attack shadow data, to see what a promise is worth; no client's log is read.",
        no_args_is_help=True,
        add_completion=False,
    )
    attack.command("one-run")(attack_one_run)
    attack.command("many-run")(attack_many_run)
    attack.command("membership")(attack_membership)
    attack.command("reconstruction")(attack_reconstruction)
    audit.add_typer(attack, name="attack")


def run(
    run_dir: Annotated[Path, typer.Argument(help="Folder of the run.")],
    no_attacks: Annotated[
        bool, typer.Option("--no-attacks", help="Leave the attacks on shadow data out.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Audit a run: ledgers, ε, caps, models, attacks; status 1 if a promise is broken.

    Writes audit.json, audit.html, ledgers and statements into the folder `audit` of the run.
    """

    def work() -> int:
        with Teller() as teller:
            found = audit_run(run_dir, teller.tell, attacks=not no_attacks)
            teller.tell("writing")
            write_audit(found)
        if output is Format.JSON:
            print_json(found.to_json())
        else:
            _print(found)
        return BROKEN if found.findings else 0

    finish(work)


def write_audit(audit: RunAudit) -> Path:
    """Write everything about an audit into the run's folder; returns where."""
    folder = audit.folder / AUDIT
    (folder / "statements").mkdir(parents=True, exist_ok=True)
    bounds = [attack.for_statement for attack in audit.attacks]
    for client in audit.clients:
        more = len(client.findings) - len(client.audited.findings)
        page = client.audited.statement(today(), bounds, more)
        path = folder / "statements" / f"{client.name}.html"
        write_atomic(path, render_statements([page]).encode())
    text = json.dumps(audit.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "audit.json", f"{text}\n".encode())
    write_atomic(folder / "audit.html", render_audit(audit).encode())
    return folder


def _print(audit: RunAudit) -> None:
    console = Console(soft_wrap=True, highlight=False)
    table = Table(title=f"Audit of {audit.folder}", title_justify="left")
    for name in ("client", "rows", "ε", "δ", "cap", "left", "ledger"):
        table.add_column(name, justify="left" if name in ("client", "ledger") else "right")
    for client in audit.clients:
        total, window = client.audited.ledger.total, client.budget.windows[0]
        table.add_row(
            client.name,
            str(client.verdict.rows),
            f"{total.pld:.3f}",
            f"{total.delta:.3g}",
            f"{window.cap:g}",
            f"{window.left:.1%}",
            _SEEN if client.seen_whole else client.verdict.complete,
        )
    console.print(table)
    console.print(
        f"ε by PLD, as if all plans had been fixed in advance; unit {audit.job.unit} (add/remove "
        f"one user), mode {audit.job.mode}; caps by the clients' own filters.",
        markup=False,
    )
    if audit.attacks and alone_words(audit.job):
        console.print(alone_words(audit.job), markup=False)
    for attack in audit.attacks:
        console.print(f"{attack.title}: {attack.words}", markup=False)
    print_findings(console, audit.findings)
    if audit.verdict == "nothing promised":
        console.print(verdict_words(audit), markup=False, style="bold red")
    console.print(f"Report: {audit.folder / AUDIT / 'audit.html'}", markup=False)

"""Verdicts and recomputed ledgers in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from common.audit.findings import Finding
from common.audit.ledgers import LedgerAudit
from common.audit.recompute import CLOSED, PLD, PRV, Recomputed
from common.audit.verify import Verdict
from common.pages.numbers import big
from common.privacy.accounting import NEIGHBOURING, rounded_up
from common.privacy.guarantees import AgainstWhom

__all__ = ["print_findings", "print_ledgers", "print_verdict"]


def print_verdict(verdict: Verdict) -> None:
    """What an exported ledger shows."""
    console = Console(soft_wrap=True, highlight=False)
    keys = len(verdict.server_keys)
    lines = [
        f"Ledger of {verdict.client}, data set {verdict.dataset_id}.",
        f"{verdict.rows} rows, {verdict.receipts} receipts.",
        f"Head {verdict.head.hash} (row {verdict.head.seq}).",
        f"Held to the key {verdict.key}, which is from {verdict.key_from}.",
        f"Receipts held to {keys} server keys, which are from {verdict.server_keys_from}.",
        f"{verdict.complete[:1].upper()}{verdict.complete[1:]}.",
    ]
    for line in lines:
        console.print(line, markup=False)
    for one in verdict.findings:
        console.print(f"BROKEN ({one.what}): {one.says}", markup=False)
    if verdict.findings_left_out:
        console.print(f"... and {verdict.findings_left_out} findings more.")


def print_ledgers(audits: Sequence[LedgerAudit], findings: Sequence[Finding]) -> None:
    """ε of every plan and of everything, by every accountant."""
    console = Console(soft_wrap=True, highlight=False)
    table = Table(title="ε once more, from the events in the ledgers", title_justify="left")
    table.add_column("ledger", no_wrap=True)
    table.add_column("of", no_wrap=True)
    for name in ("releases", "δ", "PLD", "PRV", "closed", "agree"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in audits:
        for job in one.jobs:
            releases = f"{len(job.spent)} of {len(job.plan.releases)}"
            table.add_row(one.client, f"job {job.job_id[:8]}", releases, *_cells(job.recomputed))
        table.add_row(one.client, "all", str(len(one.events)), *_cells(one.total))
    console.print(table)
    units = sorted({job.plan.unit for one in audits for job in one.jobs}) or ["user"]
    modes = sorted({job.plan.mode for one in audits for job in one.jobs}) or ["local"]
    console.print(
        f"Unit {', '.join(units)} ({NEIGHBOURING}), mode {', '.join(modes)}; {PLD}; {PRV}; "
        f"{CLOSED}. `all` is as if all plans had been fixed in advance.",
        markup=False,
    )
    for words in dict.fromkeys(
        _against(one) for a in audits for job in a.jobs for one in job.guarantees
    ):
        console.print(words, markup=False)
    for one in audits:
        if not one.promised:
            console.print(
                f"{one.client}: nothing is promised: no noise, or noise that a seed decides.",
                markup=False,
            )
    print_findings(console, findings)


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """One line each, or that there are none."""
    for finding in findings:
        console.print(
            f"BROKEN ({finding.layer}) {finding.where}: {finding.what}",
            markup=False,
            style="bold red",
        )
    if not findings:
        console.print("No broken promise was found.")


def _against(one: AgainstWhom) -> str:
    """A guarantee of secure sums as its row says it, and an audit held it to."""
    who = one.against
    clients = "one client" if one.shops == 1 else f"m = {one.shops} clients"
    return (
        f"Secure sums, for a user of {clients}: ε = {_epsilon(one.epsilon)} at δ = "
        f"{big(one.delta)} by {one.accountant}, against the server and up to {who.colluders} of "
        f"{who.clients} clients, at least {who.threshold} in every sum."
    )


def _cells(found: Recomputed) -> tuple[str, ...]:
    values = (found.pld, found.prv, found.closed)
    return (big(found.delta), *map(_epsilon, values), "yes" if found.agrees else "NO")


def _epsilon(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{rounded_up(value, 3):.3f}" if math.isfinite(value) else "∞"

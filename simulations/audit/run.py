"""The audit of a run: every layer that can fail on its own, and files that others can check."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from client.audited import AuditedClient, audit_client
from client.budget_view import BudgetView, view_budget
from client.owner import Owner, owners
from common.audit.export import read_export
from common.audit.findings import Finding
from common.audit.manifests import ManifestFile, check_manifests, read_manifests
from common.audit.verify import Verdict, verify_export
from common.errors import Code, HushRecError, LedgerError, RunError
from common.job import Job
from common.privacy.heads import SignedHead
from server.app import read_job
from server.keys import key_of, server_home
from server.witness import Witness
from simulations.audit.attacks import Attack, AttackSizes, attack_run, sizes_for
from simulations.audit.honest import alone_words
from simulations.run_folder import RunFolder

__all__ = ["ClientAudit", "RunAudit", "Verdicts", "audit_run"]

AUDIT: Final = "audit"
"""Folder of the audit in the run's."""
Verdicts: TypeAlias = Literal["kept", "broken", "nothing promised"]


@dataclass(frozen=True)
class ClientAudit:
    """One client of the run.

    Attributes:
        name: its name.
        audited: chain, plans, ε and caps, from its own folder.
        verdict: what its exported ledger shows to somebody with public keys alone.
        budget: what it has spent and has left.
        findings: of all of that.
    """

    name: str
    audited: AuditedClient
    verdict: Verdict
    budget: BudgetView
    findings: tuple[Finding, ...]

    @property
    def seen_whole(self) -> bool:
        """Whether somebody else saw its last row, or the last before agreements of secure sums.

        A client signs a list of survivors after its release was countersigned; such a row
        charges nothing.
        """
        seen = self.verdict.shown_up_to
        rest = () if seen is None else self.audited.rows[seen + 1 :]
        return seen is not None and all(row.kind == "agree" for row in rest)

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "ledger": {
                **self.audited.to_json(),
                "receipts": self.verdict.receipts,
                "shown_up_to": self.verdict.shown_up_to,
                "complete": self.verdict.complete,
            },
            "budget": self.budget.to_json(),
        }


@dataclass(frozen=True)
class RunAudit:
    """The audit of one run.

    Attributes:
        folder: of the run.
        job: what its clients were asked for.
        created: when, in words.
        clients: in order of name.
        artefacts: checkpoints and models that were whole.
        attacks: in order; empty if none was asked for.
        findings: of every layer.
        seconds: wall time.
    """

    folder: Path
    job: Job
    created: str
    clients: tuple[ClientAudit, ...]
    artefacts: tuple[ManifestFile, ...]
    attacks: tuple[Attack, ...]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def verdict(self) -> Verdicts:
        """Broken beats everything: it is what a check fails for."""
        if self.findings:
            return "broken"
        kept = all(client.audited.ledger.promised for client in self.clients)
        return "kept" if kept and self.job.mode != "none" else "nothing promised"

    def to_json(self) -> dict[str, Any]:
        """What `audit.json` holds."""
        return {
            "run": str(self.folder),
            "created": self.created,
            "verdict": self.verdict,
            "findings": [finding.model_dump() for finding in self.findings],
            "job": {
                "job_id": self.job.job_id,
                "solver": self.job.solver,
                "mode": self.job.mode,
                "unit": self.job.unit,
                "epsilon": self.job.epsilon,
                "delta": self.job.delta,
                "server": self.job.server,
                "terms": None if self.job.terms is None else vars(self.job.terms),
            },
            "clients": {client.name: client.to_json() for client in self.clients},
            "artefacts": [one.name for one in self.artefacts],
            "attacks": [attack.to_json() for attack in self.attacks],
            "attacked": alone_words(self.job) if self.attacks else "",
            "bounds": [attack.for_statement.model_dump() for attack in self.attacks],
            "seconds": round(self.seconds, 1),
        }


def audit_run(
    run: Path,
    tell: Callable[[str], None] = lambda _: None,
    *,
    attacks: bool = True,
    sizes: AttackSizes | None = None,
) -> RunAudit:
    """Check everything about a run that can be checked.

    Exports every client's ledger to `audit/ledgers` in the run's folder, and reads it back
    as somebody would who has public keys and what the server saw, and nothing else.

    Args:
        run: folder of the run.
        tell: told what is being done.
        attacks: attack shadow data with the run's settings too.
        sizes: how much is tried; None for what ends within about two minutes.

    Raises:
        RunError: `run-not-found`; `run-mismatch`, it was prepared and never begun.
        PolicyError: `policy-missing`.
    """
    started = time.monotonic()
    folder = RunFolder.existing(run)
    job = read_job(run)
    seen, findings = _witnessed(run, job)
    clients = []
    for owner in owners(run):
        tell(f"ledger of {owner.settings.name}")
        try:
            clients.append(_client(owner, folder, job, seen))
        except LedgerError as error:  # it cannot even be opened
            findings.append(_broken(owner.settings.name, error.message))
    tell("models and checkpoints")
    artefacts, damaged = read_manifests(run / "server")
    findings += damaged
    findings += check_manifests(artefacts, {c.name: c.audited.rows for c in clients})
    found = attack_run(job, sizes or sizes_for(job), tell) if attacks else []
    return RunAudit(
        folder=run,
        job=job,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        clients=tuple(clients),
        artefacts=tuple(artefacts),
        attacks=tuple(found),
        findings=(
            *(finding for client in clients for finding in client.findings),
            *findings,
            *(finding for attack in found for finding in attack.findings),
        ),
        seconds=time.monotonic() - started,
    )


def _client(owner: Owner, folder: RunFolder, job: Job, seen: dict[str, SignedHead]) -> ClientAudit:
    if not owner.has_ledger:
        raise RunError(
            Code.RUN_MISMATCH,
            f"{owner.settings.name} was never asked for anything.",
            where=str(folder.path),
            remedy="Run it first, with `hushrec simulate --resume DIR`.",
        )
    name = owner.settings.name
    audited = audit_client(owner)
    path = folder.path / AUDIT / "ledgers" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with owner.ledger(mends=False) as ledger:
        ledger.export(path)
    verdict = verify_export(
        read_export(path),
        client_key=audited.key,
        server_keys=owner.policy.servers or ((job.server,) if job.server else ()),
        seen=seen.get(name),
    )
    broken = tuple(_broken(name, finding.says) for finding in verdict.findings)
    return ClientAudit(
        name=name,
        audited=audited,
        verdict=verdict,
        budget=view_budget(owner, datetime.now(UTC).date()),
        findings=(*audited.findings, *broken),
    )


def _witnessed(run: Path, job: Job) -> tuple[dict[str, SignedHead], list[Finding]]:
    """The newest head of every client that the run's server countersigned."""
    folder = server_home(run)
    try:
        key = key_of(job, folder)
        witness = None if key is None else Witness.open(folder, key)
    except HushRecError as error:
        return {}, [_broken("server", error.message)]
    if witness is None:
        return {}, []
    receipts = {o.settings.name: witness.receipt(o.settings.name) for o in owners(run)}
    return {name: one.head for name, one in receipts.items() if one is not None}, []


def _broken(where: str, what: str) -> Finding:
    return Finding(layer="ledger", where=where, what=what)

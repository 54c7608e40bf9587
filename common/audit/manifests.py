"""Models and checkpoints against the ledgers whose releases they were made of.

A manifest names, for each client, the head that its ledger had after its last release. That
head must be a row of the ledger, signed by its key; and job, plan and the steps released up
to it must be what the ledger says. Of secure sums, all sessions that were charged must be
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common.artifacts import MANIFEST, Manifest, load_artifact
from common.audit.findings import Finding
from common.config import read_json
from common.errors import HushRecError
from common.privacy.heads import SignedHead
from common.privacy.ledger import PlainRow, Row

__all__ = ["ManifestFile", "check_manifests", "read_manifests"]

_ROUND: Final = "round.json"
"""The record of its round, beside the manifest of a checkpoint."""
_TERMS: Final = ("unit", "mode", "delta")


@dataclass(frozen=True)
class ManifestFile:
    """One artefact, found whole.

    Attributes:
        name: its folder, relative to where the search began.
        manifest: what stands beside its arrays.
        answered: clients whose releases its own round used; None without a record.
    """

    name: str
    manifest: Manifest
    answered: frozenset[str] | None


@dataclass
class _Released:
    """What a ledger says about one job, in order of rows."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    """Number of the `spend` row, and the step that it releases."""
    sessions: dict[int, set[int]] = field(default_factory=dict)
    """By step: the sessions that were charged, with or without their bytes."""
    plan: Mapping[str, Any] | None = None
    reproducible: bool = False


def read_manifests(folder: Path) -> tuple[list[ManifestFile], list[Finding]]:
    """All artefacts under `folder`, in the order in which they were made.

    Returns:
        Those that are whole, and a finding for each that is not.
    """
    found, broken = [], []
    for path in sorted(folder.rglob(MANIFEST)):
        name = path.parent.relative_to(folder).as_posix()
        try:
            _, manifest = load_artifact(path.parent)
            found.append(ManifestFile(name, manifest, _answered(path.with_name(_ROUND))))
        except HushRecError as error:
            broken.append(_finding(name, error.message.rstrip(".")))
    found.sort(key=lambda one: (one.manifest.step, one.manifest.kind))
    return found, broken


def check_manifests(
    artefacts: Sequence[ManifestFile], ledgers: Mapping[str, Sequence[Row | PlainRow]]
) -> list[Finding]:
    """Hold every artefact to the ledgers of the clients that it names.

    Args:
        artefacts: of one run, in order.
        ledgers: rows of each client's ledger, their chains verified, by name; none of one
            whose chain does not hold.
    """
    findings: list[Finding] = []
    answered: dict[str, set[int]] | None = {}
    for artefact in artefacts:
        if artefact.manifest.kind == "checkpoint":
            answered = _with_round(answered, artefact)
        findings += _check(artefact, ledgers, answered)
    return findings


def _with_round(
    before: dict[str, set[int]] | None, artefact: ManifestFile
) -> dict[str, set[int]] | None:
    """Steps that each client answered, with the round of a checkpoint; None if not known."""
    if before is None or artefact.answered is None:
        return None
    step = artefact.manifest.step - 1
    names = before.keys() | artefact.answered
    return {n: before.get(n, set()) | ({step} if n in artefact.answered else set()) for n in names}


def _check(
    artefact: ManifestFile,
    ledgers: Mapping[str, Sequence[Row | PlainRow]],
    answered: Mapping[str, set[int]] | None,
) -> list[Finding]:
    manifest = artefact.manifest
    took_part = {name for name, steps in (answered or {}).items() if steps}
    headless = sorted(took_part - manifest.heads.keys())
    findings = [f"{client} took part and has no head in it" for client in headless]
    for client, values in sorted(manifest.heads.items()):
        rows = ledgers.get(client)
        if rows is None:
            problem: str | None = "has no ledger here"
        elif not rows:
            problem = "has a ledger whose chain does not hold"
        else:
            problem = _head(rows, client, values, manifest, answered)
        if problem is not None:
            findings.append(f"{client} {problem}")
    return [_finding(artefact.name, what) for what in findings]


def _head(
    rows: Sequence[Row | PlainRow],
    client: str,
    values: Mapping[str, Any],
    manifest: Manifest,
    answered: Mapping[str, set[int]] | None,
) -> str | None:
    """What is wrong with one client's head, None if nothing is."""
    try:
        head = SignedHead.load(values)
        head.check(str(rows[0].body.get("public_key", "")))
    except HushRecError as error:
        return f"has a head that cannot be trusted: {error.message.rstrip('.')}"
    if head.client != client:
        return f"has the head of {head.client}"
    if head.seq >= len(rows) or rows[head.seq].hash != head.hash:
        return f"has a ledger without the row {head.seq} that it signed as its head"
    released = _released(rows[: head.seq + 1], manifest.job_id)
    return _terms(released, manifest) or _steps(released, head.seq, manifest, client, answered)


def _terms(released: _Released, manifest: Manifest) -> str | None:
    plan, privacy = released.plan, manifest.privacy
    if plan is None:
        return "never admitted the job that it was made by"
    if list(plan["releases"]) != privacy.get("releases"):
        return "admitted another plan than it names"
    for name in _TERMS:
        if plan[name] != privacy.get(name):
            return f"admitted {name} {plan[name]!r}, it says {privacy.get(name)!r}"
    if manifest.private and (released.reproducible or plan["mode"] == "none"):
        return "released without secret noise, it says private"
    return _charged(released, manifest) if plan["mode"] == "distributed" else None


def _charged(released: _Released, manifest: Manifest) -> str | None:
    """Sessions that were charged and the manifest does not count; it may count more of them."""
    stated = manifest.privacy.get("charged")
    counts = dict(enumerate(stated)) if isinstance(stated, list) else {}
    for step, sessions in sorted(released.sessions.items()):
        counted = counts.get(step, 0)
        if len(sessions) > counted:
            return f"was charged for {len(sessions)} sessions of step {step}, it counts {counted}"
    return None


def _steps(
    released: _Released,
    seq: int,
    manifest: Manifest,
    client: str,
    answered: Mapping[str, set[int]] | None,
) -> str | None:
    steps = {step for _, step in released.steps}
    if not released.steps or released.steps[-1][0] != seq:
        return f"signed row {seq}, which is no release of this job"
    if max(steps) >= manifest.step:
        return f"released step {max(steps)}, it has {manifest.step} steps"
    used = set() if answered is None else answered.get(client, set())
    if not used <= steps:  # more than was used is in order: an answer may have come too late
        return f"released {len(steps)} steps up to its head, {len(used)} were used"
    return None


def _released(rows: Sequence[Row | PlainRow], job_id: str) -> _Released:
    found, reserved = _Released(), dict[int, int]()
    for row in rows:
        if row.kind == "spend" and row.body.get("reservation") in reserved:
            found.steps.append((row.seq, reserved[row.body["reservation"]]))
        elif row.body.get("job_id") != job_id:
            continue
        elif row.kind == "admit":
            found.plan = row.body["plan"]
        elif row.kind == "reserve":
            reserved[row.seq] = row.body["step"]
            sessions = found.sessions.setdefault(row.body["step"], set())
            sessions.add(row.body.get("session", 0))
            found.reproducible = found.reproducible or bool(row.body.get("reproducible"))
    return found


def _answered(path: Path) -> frozenset[str] | None:
    if not path.exists():
        return None
    names = read_json(path).get("answered")
    return frozenset(map(str, names)) if isinstance(names, list) else None


def _finding(name: str, what: str) -> Finding:
    return Finding(layer="manifest", where=name, what=f"{what}.")

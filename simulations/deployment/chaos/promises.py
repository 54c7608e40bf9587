"""What a server says of a model, held to the shops' ledgers: its manifest, its versions, its place.

Whatever a training came to, `models/` holds each job once and each training once, and no
number of a promotion twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.artifacts import load_artifact
from common.errors import HushRecError
from common.job import Job
from common.privacy.heads import SignedHead
from common.schedule import schedule_of
from server.promise import privacy_of
from server.registry import Registry
from simulations.deployment.evidence import LedgerCopy, Said
from simulations.deployment.oracles import charged

__all__ = ["Versions", "manifest_faults"]


class Versions:
    """The versions and promotions in a server's home, read without the code that wrote them.

    Args:
        home: the server's.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self.runs = {
            path.parent.name: str(json.loads(path.read_text())["run"])
            for path in sorted(self.folder.glob("[0-9]*/version.json"))
        }
        path = self.folder / "promotions.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        self.promotions: list[dict[str, Any]] = [json.loads(one) for one in whole.splitlines()]

    def of_run(self, run: str) -> list[str]:
        """The versions that a training was registered as."""
        return [version for version, made in self.runs.items() if made == run]

    def faults(self) -> Iterator[str]:
        """Everything is there once, whatever became of the last training."""
        serials = [one["serial"] for one in self.promotions]
        if serials != list(range(1, len(serials) + 1)):
            yield f"promotions are numbered {serials}"
        for version, count in Counter(one["version"] for one in self.promotions).items():
            if count > 1:
                yield f"version {version} is promoted {count} times"
            if version not in self.runs:
                yield f"version {version} is promoted, and is not there"
        for run, count in Counter(self.runs.values()).items():
            if count > 1:
                yield f"{run} is registered {count} times: {self.of_run(run)}"
        for job, count in Counter(map(self._job, self.runs)).items():
            if count > 1:
                yield f"job {job[:8]} is registered {count} times"

    def _job(self, version: str) -> str:
        return str(json.loads((self.folder / version / "manifest.json").read_text())["job_id"])


def manifest_faults(
    job: Job, run: Path, artifact: Path, ledgers: Mapping[str, LedgerCopy]
) -> Iterator[str]:
    """Whether a model's manifest says what was planned, charged and signed.

    Args:
        job: of the training.
        run: its folder, for who answered.
        artifact: the model's folder.
        ledgers: of all clients, by name.
    """
    try:
        _, manifest = load_artifact(artifact)
        records = Registry(run / "server").rounds()
    except HushRecError as error:
        yield f"{artifact}: {error}"
        return
    plan = schedule_of(job).plan
    said = (manifest.job_id, manifest.step, manifest.private, manifest.catalogue_version)
    planned = (job.job_id, len(plan.releases), True, job.catalogue_version)
    if said != planned:
        yield f"{artifact}: says {said}, and is {planned}"
    answered: dict[str, Said] = {}
    for one in records:
        session = one.sessions[-1].session if one.sessions else 0
        answered |= dict.fromkeys(one.answered, Said(job.job_id, one.step, session))
    if set(manifest.heads) != set(answered):
        yield f"{artifact}: has heads of {sorted(manifest.heads)}, {sorted(answered)} answered"
    for name, last in answered.items():
        place, ledger = f"{artifact}: the head of {name}", ledgers.get(name, LedgerCopy(name))
        yield from _head_faults(place, manifest.heads.get(name, {}), ledger, last)
    times = [
        max((charged(one, job.job_id)[step] for one in ledgers.values()), default=0)
        for step in range(len(plan.releases))
    ]
    yield from _privacy_faults(artifact, manifest.privacy, privacy_of(plan, times, private=True))
    claimed = manifest.privacy.get("charged", [1] * len(times))
    if len(claimed) != len(times) or any(a < b for a, b in zip(claimed, times, strict=False)):
        yield f"{artifact}: says that steps were charged {claimed} times, ledgers say {times}"


def _privacy_faults(
    artifact: Path, said: Mapping[str, Any], charged_for: Mapping[str, Any]
) -> Iterator[str]:
    """It may say a greater ε than the ledgers make, never a smaller one; the rest is the plan."""
    fixed = ("mode", "unit", "neighbouring", "delta", "releases")
    for name in fixed:
        if said.get(name) != charged_for[name]:
            yield f"{artifact}: {name} is {said.get(name)}, planned {charged_for[name]}"
    least, found = charged_for["epsilon"], said.get("epsilon")
    if least is None or found is None or found < least:
        yield f"{artifact}: says ε = {found}, the ledgers make {least}"


def _head_faults(
    place: str, said: Mapping[str, Any], ledger: LedgerCopy, last: Said
) -> Iterator[str]:
    """It is signed, and the row that spent for the last release of that client in the model."""
    try:
        head = SignedHead.model_validate(said)
        head.check(str(ledger.rows[0]["body"]["public_key"]) if ledger.rows else None)
    except (HushRecError, ValueError) as error:
        yield f"{place}: {error}"
        return
    release = ledger.releases.get(last)
    spent = -1 if release is None else release.spend_seq
    if head.client != ledger.client or head.seq != spent or head.hash != _hash(ledger, spent):
        yield f"{place} is not the row of its last release in it"


def _hash(ledger: LedgerCopy, seq: int) -> str:
    return str(ledger.rows[seq]["hash"]) if 0 <= seq < len(ledger.rows) else ""

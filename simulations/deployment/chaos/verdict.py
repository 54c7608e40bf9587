"""What came of a training that was disturbed: how it ended, and whether everything still holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from client.models import ModelStore
from client.owner import Owner
from client.store import ClientPlace
from common.artifacts import load_artifact
from common.catalogue import Catalogue
from common.errors import HushRecError
from server.job_files import read_job
from server.keys import home_key
from server.training.folder import RUNS, Training, trainings
from server.training.request import Request
from simulations.deployment.chaos.promises import Versions, manifest_faults
from simulations.deployment.evidence import LedgerCopy, copy_ledger, read_ledger, witness_lines
from simulations.deployment.layout import Places
from simulations.deployment.oracles import (
    audited,
    charged,
    ledger_faults,
    lost_rows,
    unspent,
    witness_faults,
)
from simulations.deployment.recompute import model_faults, recomputed

__all__ = ["TAKES_A_PERSON", "Ended", "Judge"]

TAKES_A_PERSON: Final = frozenset({"run-quorum"})
"""Codes with which a training may end while shops are disturbed: who reads one resumes it."""
_ERROR: Final = re.compile(r"^error ([a-z-]+): (.+)$", re.M)
_TRACE: Final = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How the operator's command ended.

    Attributes:
        name: of the training.
        status: its exit status; None if it had not ended in the time allowed.
        said: everything that it said since it was started for the last time.
        healed: everything was well when it was started for the last time.
    """

    name: str
    status: int | None
    said: str
    healed: bool = True

    @property
    def code(self) -> str:
        """`ok`, the code that it gave as the reason, or nothing."""
        if self.status == 0:
            return "ok"
        found = _ERROR.findall(self.said)
        return str(found[-1][0]) if found and self.status is not None else ""

    def faults(self) -> Iterator[str]:
        """It finishes, or says in one line why not; with everything well it finishes."""
        if self.status is None:
            last = self.said.strip().splitlines()[-1:]
            yield f"silence: it had not ended in the time allowed; last said {last}"
        elif self.status != 0 and len(_ERROR.findall(self.said)) != 1:
            yield f"it ended with status {self.status} and not one line that says why"
        elif self.status != 0 and (self.healed or self.code not in TAKES_A_PERSON):
            yield f"it ended with {self.code}{', and nothing was amiss' if self.healed else ''}"
        if _TRACE in self.said:
            yield "it showed a trace"


@dataclass
class Judge:
    """Looks at the disks of all parties after each training, and remembers them.

    Attributes:
        places: of the federation.
        shops: names.
        kept: folder for the ledgers as they were found last, so that another process goes on
            from there; None keeps them in memory alone.
        before: those ledgers.
    """

    places: Places
    shops: tuple[str, ...]
    kept: Path | None = None
    before: dict[str, LedgerCopy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kept is not None and not self.before:
            self.before = {name: read_ledger(name, self.kept / name) for name in self.shops}

    def faults(self, ended: Ended, disturbed: Mapping[str, int] | None = None) -> list[str]:
        """Everything that does not hold; empty if all does.

        Args:
            ended: how the training did.
            disturbed: how often processes of a shop were, since the last look.
        """
        ledgers = {name: read_ledger(name, self.places.shop(name)) for name in self.shops}
        found = list(ended.faults())
        for name, ledger in ledgers.items():
            before = self.before.get(name, LedgerCopy(name))
            found += lost_rows(before, ledger)
            found += ledger_faults(ledger)
            found += _wasted(before, ledger, (disturbed or {}).get(name, 0))
            if ledger.texts:
                found += audited(Owner.of(self.places.shop(name)))
        key = home_key(self.places.server).public
        found += witness_faults(witness_lines(self.places.server), key, ledgers)
        versions = Versions(self.places.server)
        found += versions.faults()
        for training in trainings(self.places.server):
            found += _charges(training, ledgers)
        if ended.status == 0:
            found += self._trained(ended.name, versions, ledgers)
        self._keep(ledgers)
        return found

    def _keep(self, ledgers: dict[str, LedgerCopy]) -> None:
        """One that cannot be found any more stays as it was."""
        self.before = ledgers
        for name in self.shops if self.kept is not None else ():
            copy_ledger(self.places.shop(name), Path(self.kept or "") / name)

    def _trained(
        self, name: str, versions: Versions, ledgers: Mapping[str, LedgerCopy]
    ) -> Iterator[str]:
        """The model is what the clients released; it is registered, promoted once, delivered."""
        run = self.places.server / RUNS / name
        populations = {n: Owner.of(self.places.shop(n)).settings.population for n in self.shops}
        try:
            job = read_job(run)
            outcome = json.loads((run / "outcome.json").read_text())
        except (HushRecError, OSError, ValueError) as error:
            yield f"{run}: ended well, and cannot be read: {error}"
            return
        model, version = run / "server" / "model", str(outcome.get("version"))
        training = recomputed(job, run, ledgers, populations, self._catalogue)
        yield from model_faults(training, model)
        if versions.of_run(name) != [version]:
            yield f"{name} came to version {version}, registered is {versions.of_run(name)}"
            return
        yield from _same_arrays(model, versions.folder / version)
        yield from manifest_faults(job, run, versions.folder / version, ledgers)
        if [one["version"] for one in versions.promotions][-1:] != [version]:
            yield f"version {version} is not the one that was promoted last"
        for shop in self.shops:
            yield from self._delivered(shop, version)

    def _catalogue(self) -> Catalogue:
        """As the first shop has it."""
        return ClientPlace.open(self.places.shop(self.shops[0])).catalogue

    def undelivered(self, name: str) -> list[str]:
        """Shops that do not have the model of a training."""
        versions = Versions(self.places.server).of_run(name)
        held = {shop: ModelStore(self.places.shop(shop)).current() for shop in self.shops}
        return [n for n, one in held.items() if one is None or [one.version] != versions]

    def _delivered(self, shop: str, version: str) -> Iterator[str]:
        """Every shop has the model, whole: each that was away was given it since."""
        held = ModelStore(self.places.shop(shop)).current()
        if held is None or held.version != version:
            yield f"{shop} serves {held.version if held else 'none'}, promoted is {version}"
            return
        arrays, _ = load_artifact(self.places.server / "models" / version)
        if not _equal(arrays, held.model.arrays()):
            yield f"{shop} serves another model than version {version}"


def _charges(training: Training, ledgers: Mapping[str, LedgerCopy]) -> Iterator[str]:
    """No step is charged more often than was asked for, and so often again for each person."""
    request = Request.of_run(training.path)
    if request is None or not (training.path / "job.json").exists():
        return
    job = read_job(training.path)
    most = request.attempts * (1 + training.resumed) if job.mode == "distributed" else 1
    for shop, ledger in ledgers.items():
        for step, count in charged(ledger, job.job_id).items():
            if count > most:
                yield f"{shop}: step {step} of {training.name} is charged {count} times, not {most}"


def _wasted(before: LedgerCopy, now: LedgerCopy, disturbed: int) -> Iterator[str]:
    """A process that is killed leaves at most one reservation that nothing is spent on."""
    count = sum((unspent(now) - unspent(before)).values())
    if count > disturbed:
        yield f"{now.client}: {count} reservations of nothing, disturbed {disturbed} times"


def _same_arrays(one: Path, other: Path) -> Iterator[str]:
    try:
        same = _equal(load_artifact(one)[0], load_artifact(other)[0])
    except HushRecError as error:
        yield f"{other}: {error}"
        return
    if not same:
        yield f"{other} is another model than {one}"


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes()
        for name in one
    )

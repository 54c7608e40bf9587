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
from common.artifacts import load_artifact
from common.errors import HushRecError
from server.job_files import read_job
from server.keys import home_key
from simulations.deployment.evidence import LedgerCopy, read_ledger, witness_lines
from simulations.deployment.layout import Places
from simulations.deployment.oracles import audited, ledger_faults, lost_rows, witness_faults
from simulations.deployment.recompute import model_faults, recomputed

__all__ = ["Ended", "Judge"]

_ERROR: Final = re.compile(r"^error ([a-z-]+): (.+)$", re.M)
_TRACE: Final = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How the operator's command ended.

    Attributes:
        name: of the training.
        status: its exit status; None if it had not ended in the time allowed.
        said: everything that it said since it was started for the last time.
    """

    name: str
    status: int | None
    said: str

    @property
    def code(self) -> str:
        """`ok`, the code that it gave as the reason, or nothing."""
        if self.status == 0:
            return "ok"
        found = _ERROR.findall(self.said)
        return str(found[-1][0]) if found and self.status is not None else ""

    def faults(self) -> Iterator[str]:
        """It finishes, or says in one line why not."""
        if self.status is None:
            last = self.said.strip().splitlines()[-1:]
            yield f"silence: it had not ended in the time allowed; last said {last}"
        elif self.status != 0 and len(_ERROR.findall(self.said)) != 1:
            yield f"it ended with status {self.status} and not one line that says why"
        if _TRACE in self.said:
            yield "it showed a trace"


@dataclass
class Judge:
    """Looks at the disks of all parties after each training, and remembers them.

    Attributes:
        places: of the federation.
        shops: names.
        before: the ledgers as they were found last.
    """

    places: Places
    shops: tuple[str, ...]
    before: dict[str, LedgerCopy] = field(default_factory=dict)

    def faults(self, ended: Ended) -> list[str]:
        """Everything that does not hold; empty if all does."""
        ledgers = {name: read_ledger(name, self.places.shop(name)) for name in self.shops}
        found = list(ended.faults())
        for name, ledger in ledgers.items():
            found += lost_rows(self.before.get(name, LedgerCopy(name)), ledger)
            found += ledger_faults(ledger)
            if ledger.texts:
                found += audited(Owner.of(self.places.shop(name)))
        key = home_key(self.places.server).public
        found += witness_faults(witness_lines(self.places.server), key, ledgers)
        if ended.status == 0:
            found += self._trained(ended.name, ledgers)
        self.before = ledgers
        return found

    def _trained(self, name: str, ledgers: Mapping[str, LedgerCopy]) -> Iterator[str]:
        """The model is what the clients released; it is registered, promoted once, delivered."""
        run = self.places.server / "runs" / name
        populations = {n: Owner.of(self.places.shop(n)).settings.population for n in self.shops}
        try:
            job = read_job(run)
            outcome = json.loads((run / "outcome.json").read_text())
        except (HushRecError, OSError, ValueError) as error:
            yield f"{run}: ended well, and cannot be read: {error}"
            return
        training = recomputed(job, run, ledgers, populations)
        yield from model_faults(training, run / "server" / "model")
        version = str(outcome.get("version"))
        yield from _same_arrays(run / "server" / "model", self.places.server / "models" / version)
        yield from self._promoted(version)
        for shop, code in outcome.get("delivered", {}).items():
            if code == "ok":
                yield from self._delivered(shop, version)

    def _promoted(self, version: str) -> Iterator[str]:
        lines = (self.places.server / "models" / "promotions.jsonl").read_text().splitlines()
        promotions = [json.loads(line) for line in lines]
        serials = [one["serial"] for one in promotions]
        if serials != list(range(1, len(serials) + 1)):
            yield f"promotions are numbered {serials}"
        count = sum(one["version"] == version for one in promotions)
        if count != 1:
            yield f"version {version} is promoted {count} times"

    def _delivered(self, shop: str, version: str) -> Iterator[str]:
        """A shop that took the model has it, whole."""
        held = ModelStore(self.places.shop(shop)).current()
        if held is None or held.version != version:
            yield f"{shop} took version {version} and serves {held.version if held else 'none'}"
            return
        arrays, _ = load_artifact(self.places.server / "models" / version)
        if not _equal(arrays, held.model.arrays()):
            yield f"{shop} serves another model than version {version}"


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

"""The oracles find nothing in a run that was as it should be, and every defect that is let in."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from client.owner import Owner
from common.artifacts import load_artifact, save_artifact
from common.errors import LedgerError
from common.job import Job
from server.app import read_job
from simulations.deployment.evidence import LedgerCopy, read_ledger, witness_lines
from simulations.deployment.oracles import audited, ledger_faults, lost_rows, witness_faults
from simulations.deployment.recompute import model_faults, recomputed
from simulations.live import LiveView
from simulations.marketplace import MarketplaceSettings
from simulations.runner import start_run
from simulations.scenario import Scenario


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished run, and what its parties' disks hold."""

    folder: Path

    @property
    def job(self) -> Job:
        return read_job(self.folder)

    def owner(self, name: str) -> Owner:
        return Owner.of(self.folder / "clients" / name)

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "clients").iterdir())

    def ledgers(self) -> dict[str, LedgerCopy]:
        return {n: read_ledger(n, self.folder / "clients" / n) for n in self.names()}

    def model(self) -> list[str]:
        populations = {n: self.owner(n).settings.population for n in self.names()}
        training = recomputed(self.job, self.folder, self.ledgers(), populations)
        return list(model_faults(training, self.folder / "server" / "model"))

    def witnessed(self) -> list[str]:
        lines, server = witness_lines(self.folder / "server"), self.job.server or ""
        return list(witness_faults(lines, server, self.ledgers()))

    def edit(self, statement: str, *values: object) -> None:
        """Change the first client's ledger behind its back: triggers are taken out."""
        path = self.owner(self.names()[0]).ledger_path
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
                file.execute(f"DROP TRIGGER {name}")
            file.execute("PRAGMA foreign_keys = OFF")
            assert file.execute(statement, values).rowcount >= 1


@pytest.fixture(scope="module", params=["local", "distributed"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    more = {"mode": "distributed", "record_sums": True} if request.param != "local" else {}
    market = MarketplaceSettings(users=90, items=40, categories=4, shops=3, events_per_user=12.0)
    asked = {"rounds": 2, "dim": 4, "evaluation_share": 0.05, "min_users": 1, "seed": 1}
    folder: Path = tmp_path_factory.mktemp("oracles") / "run"
    with LiveView() as view:
        start_run(Scenario(marketplace=market, **asked, **more), folder, view, force=False)
    return folder


@pytest.fixture
def trained(run: Path, tmp_path: Path) -> Trained:
    return Trained(Path(shutil.copytree(run, tmp_path / "run")))


def test_nothing_is_found_in_a_run_that_was_as_it_should_be(trained: Trained) -> None:
    ledgers = trained.ledgers()
    assert all(ledger.of("spend") for ledger in ledgers.values())
    for name, ledger in ledgers.items():
        assert list(ledger_faults(ledger)) == []
        assert list(audited(trained.owner(name))) == []
        assert list(lost_rows(LedgerCopy(name, ledger.texts[:2]), ledger)) == []
    assert trained.model() == []
    assert trained.witnessed() == []


def one_bit(trained: Trained) -> None:
    folder = trained.folder / "server" / "model"
    arrays, manifest = load_artifact(folder)
    name = min(arrays)
    changed = np.array(arrays[name])
    changed.flat[0] = np.nextafter(changed.flat[0], np.array(9, changed.dtype), dtype=changed.dtype)
    save_artifact(folder, {**arrays, name: changed}, manifest)


def another_round(trained: Trained) -> None:
    """The server says that somebody was in a round, or was not."""
    (path,) = (trained.folder / "server" / "checkpoints").glob("step-0001/round.json")
    record = json.loads(path.read_text())
    record["answered"] = record["answered"][1:]
    path.write_text(json.dumps(record))


def no_release(trained: Trained) -> None:
    trained.edit("DELETE FROM release WHERE step = 0")


@pytest.mark.parametrize("defect", [one_bit, another_round, no_release])
def test_a_wrong_model_is_found(trained: Trained, defect: Callable[[Trained], None]) -> None:
    defect(trained)
    assert trained.model()


def test_a_lost_row_is_found(trained: Trained) -> None:
    name = trained.names()[0]
    before = trained.ledgers()[name]
    trained.edit("DELETE FROM ledger WHERE seq = ?", len(before.texts) - 1)
    after = trained.ledgers()[name]
    assert list(lost_rows(before, after))
    trained.edit("DELETE FROM ledger WHERE seq = 1")
    assert list(ledger_faults(trained.ledgers()[name]))
    assert list(audited(trained.owner(name)))
    assert trained.witnessed()


def test_a_ledger_that_was_put_back_is_found(trained: Trained) -> None:
    name = trained.names()[0]
    ledger = trained.ledgers()[name]
    shorter = LedgerCopy(name, ledger.texts[:-3], {})
    assert list(lost_rows(ledger, shorter))
    home = trained.folder / "server"
    lines, server = witness_lines(home), trained.job.server or ""
    assert list(witness_faults(lines, server, {**trained.ledgers(), name: shorter}))


def test_a_release_that_changed_is_found(trained: Trained) -> None:
    name = trained.names()[0]
    before = trained.ledgers()[name]
    trained.edit("UPDATE release SET bytes = ? WHERE step = 1", b"others")
    after = trained.ledgers()[name]
    assert list(lost_rows(before, after))
    assert any("charged" in fault for fault in ledger_faults(after))


def rewritten(ledger: LedgerCopy, *more: tuple[str, dict[str, object]]) -> LedgerCopy:
    """The ledger with rows at its end, in an unbroken chain, as who has the file can make it."""
    rows = list(ledger.rows)
    for kind, body in more:
        last = rows[-1]
        row = {"seq": last["seq"] + 1, "kind": kind, "time": last["time"], "body": body}
        row["prev"] = last["hash"]
        rows.append({**row, "hash": LedgerCopy("", (json.dumps({**row, "hash": ""}),)).hashes()[0]})
    return LedgerCopy(ledger.client, tuple(map(json.dumps, rows)), ledger.releases)


def test_what_is_spent_twice_is_found(trained: Trained) -> None:
    ledger = next(iter(trained.ledgers().values()))
    reserve, spend = ledger.of("reserve")[0]["body"], ledger.of("spend")[0]["body"]
    assert list(ledger_faults(rewritten(ledger))) == []
    again = list(ledger_faults(rewritten(ledger, ("spend", spend))))
    assert any("spent 2 times" in fault for fault in again)
    new = {**spend, "reservation": len(ledger.rows)}
    twice = list(ledger_faults(rewritten(ledger, ("reserve", reserve), ("spend", new))))
    assert any("step 0 session 0 is spent 2 times" in fault for fault in twice)
    bare = list(ledger_faults(rewritten(ledger, ("spend", {**spend, "reservation": 1}))))
    assert any("not reserved" in fault for fault in bare)


def test_a_ledger_that_halted_is_found(trained: Trained) -> None:
    ledger = next(iter(trained.ledgers().values()))
    halted = rewritten(ledger, ("halt", {"seq": 99, "hash": "0" * 64, "server": ""}))
    assert any("halts" in fault for fault in ledger_faults(halted))


def test_a_file_that_is_no_ledger_is_an_error_and_none_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger("north", tmp_path).rows == ()
    (tmp_path / "ledger.sqlite").write_bytes(b"no ledger" * 100)
    with pytest.raises(LedgerError, match="cannot be read"):
        read_ledger("north", tmp_path)

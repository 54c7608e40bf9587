"""The oracles find nothing in a run that was as it should be, and every defect that is let in."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.owner import Owner
from common.artifacts import load_artifact, save_artifact
from common.errors import LedgerError
from common.job import Job
from common.privacy.heads import SignedHead
from server.app import read_job
from simulations.deployment.chaos.promises import manifest_faults
from simulations.deployment.evidence import LedgerCopy, copy_ledger, read_ledger, witness_lines
from simulations.deployment.oracles import (
    audited,
    charged,
    ledger_faults,
    lost_rows,
    unspent,
    witness_faults,
)
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

    def manifest(self) -> list[str]:
        artifact = self.folder / "server" / "model"
        return list(manifest_faults(self.job, self.folder, artifact, self.ledgers()))

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
        assert not unspent(ledger)
        assert set(charged(ledger, trained.job.job_id).values()) == {1}
    assert trained.model() == []
    assert trained.manifest() == []
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


def smaller_epsilon(manifest: dict[str, Any]) -> None:
    manifest["privacy"]["epsilon"] *= 0.9


def no_epsilon(manifest: dict[str, Any]) -> None:
    manifest["privacy"]["epsilon"] = None


def smaller_delta(manifest: dict[str, Any]) -> None:
    manifest["privacy"]["delta"] /= 2


def not_private(manifest: dict[str, Any]) -> None:
    manifest["private"] = False


def a_head_less(manifest: dict[str, Any]) -> None:
    manifest["heads"].popitem()


def somebody_elses_head(manifest: dict[str, Any]) -> None:
    first, second, *_ = manifest["heads"]
    manifest["heads"][first] = manifest["heads"][second]


def charged_less(manifest: dict[str, Any]) -> None:
    manifest["privacy"]["charged"] = [0] * len(manifest["privacy"]["releases"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (smaller_epsilon, "the ledgers make"),
        (no_epsilon, "the ledgers make"),
        (smaller_delta, "delta is"),
        (not_private, "False"),
        (a_head_less, "has heads of"),
        (somebody_elses_head, "another key"),
        (charged_less, "says that steps were charged"),
    ],
)
def test_a_manifest_that_says_something_else_is_found(
    trained: Trained, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    path = trained.folder / "server" / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    assert any(said in fault for fault in trained.manifest())


def test_a_head_of_an_earlier_release_is_found(trained: Trained) -> None:
    owner = trained.owner(trained.names()[0])
    with owner.ledger() as ledger:
        row = ledger.rows("spend")[0]
        old = SignedHead.sign(ledger.key, owner.settings.name, row.seq, row.hash)
    path = trained.folder / "server" / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["heads"][owner.settings.name] = old.model_dump(mode="json")
    path.write_text(json.dumps(manifest))
    assert any("last release" in fault for fault in trained.manifest())


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


def test_what_is_reserved_and_not_spent_is_counted(trained: Trained) -> None:
    ledger = next(iter(trained.ledgers().values()))
    body = ledger.of("reserve")[0]["body"]
    again = rewritten(ledger, ("reserve", body), ("reserve", body))
    assert list(ledger_faults(again)) == []
    assert sum(unspent(again).values()) == 2


def test_sessions_of_a_step_are_counted(trained: Trained) -> None:
    ledger = next(iter(trained.ledgers().values()))
    reserve, spend = ledger.of("reserve")[0]["body"], ledger.of("spend")[0]["body"]
    other = ("reserve", {**reserve, "session": 7})
    more = rewritten(ledger, other, ("spend", {**spend, "reservation": len(ledger.rows)}))
    assert charged(more, trained.job.job_id)[0] == 2
    assert not charged(more, "0" * 32)


def test_a_kept_ledger_is_the_one_that_was(trained: Trained, tmp_path: Path) -> None:
    name = trained.names()[0]
    kept = tmp_path / "kept" / name
    copy_ledger(trained.folder / "clients" / name, kept)
    assert read_ledger(name, kept) == trained.ledgers()[name]
    copy_ledger(tmp_path / "nowhere", kept)
    assert read_ledger(name, kept) == trained.ledgers()[name]


def test_a_ledger_that_halted_is_found(trained: Trained) -> None:
    ledger = next(iter(trained.ledgers().values()))
    halted = rewritten(ledger, ("halt", {"seq": 99, "hash": "0" * 64, "server": ""}))
    assert any("halts" in fault for fault in ledger_faults(halted))


def test_a_file_that_is_no_ledger_is_an_error_and_none_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger("north", tmp_path).rows == ()
    (tmp_path / "ledger.sqlite").write_bytes(b"no ledger" * 100)
    with pytest.raises(LedgerError, match="cannot be read"):
        read_ledger("north", tmp_path)

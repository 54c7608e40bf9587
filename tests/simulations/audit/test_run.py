"""The audit of a run: nothing is found in an honest one, and each tampering is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from client.ledger_store import LedgerStore
from client.store import ClientStore
from common.audit.export import read_export
from common.audit.verify import verify_export
from hushrec import command_line
from server.app import read_job
from simulations.audit.commands import write_audit
from simulations.audit.run import RunAudit, audit_run


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command_line(), ["audit", *map(str, arguments)])


def whats(audit: RunAudit) -> list[str]:
    return [f"{one.layer} {one.where}: {one.what}" for one in audit.findings]


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_an_honest_run_is_kept(audited: RunAudit) -> None:
    assert audited.findings == ()
    assert audited.verdict == "kept"
    assert [client.name for client in audited.clients] == ["shop-1", "shop-2", "shop-3"]
    assert len(audited.artefacts) == 3  # two checkpoints and the model
    for client in audited.clients:
        ledger = client.audited.ledger
        assert ledger.total.agrees
        assert ledger.total.pld <= 4.0
        assert client.verdict.shown_up_to == client.verdict.rows - 1
        assert client.verdict.server_keys_from == "given"
        assert client.budget.windows[0].in_force == pytest.approx(4.0, abs=0.01)


def test_every_attack_is_there_with_what_it_could_have_seen(audited: RunAudit) -> None:
    found = {attack.name: attack for attack in audited.attacks}
    assert list(found) == ["one-run", "many-run", "membership", "reconstruction"]
    for name in ("one-run", "many-run"):
        attack = found[name]
        assert attack.bound is not None
        assert 0 <= attack.bound < attack.promised < 4.01
        assert attack.ceiling > attack.bound
        assert "95% confidence" in attack.words
        assert "would have shown" in attack.words
    assert found["membership"].ceiling is not None
    assert "allowed by the promise" in found["reconstruction"].words


def test_the_result_is_json_with_everything(audited: RunAudit) -> None:
    values = json.loads(json.dumps(audited.to_json(), allow_nan=False))
    assert values["verdict"] == "kept"
    assert set(values["clients"]) == {"shop-1", "shop-2", "shop-3"}
    assert [bound["name"] for bound in values["bounds"]] == [a.title for a in audited.attacks]
    ledger = values["clients"]["shop-1"]["ledger"]
    assert ledger["caps"][0]["holds"]
    assert ledger["complete"].startswith("shown up to row")


def test_an_exported_ledger_can_be_checked_by_anybody(audited: RunAudit) -> None:
    job = read_job(audited.folder)
    export = read_export(audited.folder / "audit" / "ledgers" / "shop-2.jsonl")
    verdict = verify_export(export, server_keys=[job.server])
    assert verdict.consistent
    assert verdict.shown_up_to == verdict.rows - 1


def test_files_are_written(audited: RunAudit) -> None:
    folder = write_audit(audited)
    assert json.loads((folder / "audit.json").read_text())["verdict"] == "kept"
    assert "Audit of done" in (folder / "audit.html").read_text()
    for name in ("shop-1", "shop-2", "shop-3"):
        page = (folder / "statements" / f"{name}.html").read_text()
        assert f"Privacy statement of {name}" in page
        assert "One run with canaries: 40 canary users" in page
        assert "finding" not in page


def test_the_command_writes_and_says_so(done: Path) -> None:
    found = run(done, "--no-attacks", "--format", "json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == json.loads((done / "audit" / "audit.json").read_text())
    text = run("run", done, "--no-attacks")
    assert text.exit_code == 0
    assert "No broken promise was found." in text.stdout
    assert "add/remove" in text.stdout


def test_an_edited_ledger_fails_the_audit_and_is_named(done: Path) -> None:
    path = done / "clients" / "shop-2" / "ledger.sqlite"
    for name in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.write_bytes(path.read_bytes().replace(b'"session":0', b'"session":3'))
    found = audit_run(done, attacks=False)
    assert found.verdict == "broken"
    assert any(what.startswith("ledger shop-2") for what in whats(found))
    assert run(done, "--no-attacks").exit_code == 1


def test_a_ledger_that_was_put_back_is_found_by_what_the_server_saw(done: Path) -> None:
    """A ledger begun anew is consistent in itself: only others know better."""
    shop = done / "clients" / "shop-1"
    for path in shop.glob("ledger*"):
        path.unlink()
    settings = ClientStore.open(shop).settings
    LedgerStore.open(shop / "ledger.sqlite", settings.name, settings.dataset_id).close()
    found = audit_run(done, attacks=False)
    assert found.verdict == "broken"
    assert any("ledger shop-1" in what for what in whats(found))
    assert any(what.startswith("manifest model: shop-1") for what in whats(found))


def test_a_manifest_that_names_another_plan_is_found(done: Path) -> None:
    def weaken(values: dict[str, Any]) -> None:
        values["privacy"]["releases"][0]["noise_multiplier"] = 0.1

    edit_json(done / "server" / "model" / "manifest.json", weaken)
    found = audit_run(done, attacks=False)
    assert any("manifest model" in what and "another plan" in what for what in whats(found))


def test_a_policy_that_was_exceeded_is_found(done: Path) -> None:
    path = done / "clients" / "shop-3" / "policy.toml"
    path.write_text(re.sub(r"epsilon = [\d.]+", "epsilon = 1.0", path.read_text()))
    found = audit_run(done, attacks=False)
    assert [one.layer for one in found.findings] == ["budget"]
    assert found.findings[0].where == "shop-3"


def test_without_the_servers_key_it_is_said(done: Path) -> None:
    (done / "server" / "server_key.pem").unlink()
    found = audit_run(done, attacks=False)
    assert any("ledger server" in what for what in whats(found))


def test_a_run_that_never_ran_is_no_run_to_audit(prepare_run: Any) -> None:
    path = prepare_run("fresh").path
    done = run(path)
    assert done.exit_code == 2
    assert "run-mismatch" in done.stderr
    assert not (path / "audit" / "audit.json").exists()


def test_nothing_promised_is_said_and_is_no_finding(finish_run: Callable[..., Path]) -> None:
    path = finish_run(fixed_noise=True)
    found = audit_run(path, attacks=False)
    assert found.findings == ()
    assert found.verdict == "nothing promised"
    write_audit(found)
    page = (path / "audit" / "statements" / "shop-1.html").read_text()
    assert "Nothing is promised" in page


def test_mode_none_is_audited_too(finish_run: Callable[..., Path]) -> None:
    path = finish_run(mode="none", no_privacy=True, epsilon=None)
    found = audit_run(path, attacks=False)
    assert found.findings == ()
    assert found.verdict == "nothing promised"
    write_audit(found)
    assert json.loads((path / "audit" / "audit.json").read_text())["verdict"] == found.verdict

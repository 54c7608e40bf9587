"""The process of a task: installed code, the bundle compared once more, a code for the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from client.launcher.bundle import Bundle
from client.launcher.child import KEPT, run_task
from client.launcher.parcel import Packed
from client.launcher.task import perform
from common.errors import Code, RunError
from common.protocol import OK, Hello
from simulations.run_folder import RunFolder
from tests.client.launcher.asking import BUNDLE, CONTENT, LISTED, answered, code, errand
from tests.client.launcher.asking import packed_hello as hello
from tests.conftest import Shop


@pytest.fixture
def client(prepare_run: Callable[..., RunFolder], open_shop: Callable[..., Shop]) -> Shop:
    """A client whose owner lists one bundle; its noise is no simulation's."""
    shop = open_shop(prepare_run(fixed_noise=False), deployed=True)
    shop.allow(bundles=(BUNDLE.sha256,))
    return shop


def details(shop: Shop) -> list[str]:
    return [row.body["detail"] for row in shop.rows("refuse")]


def test_a_listed_run_is_answered_by_the_installed_app(client: Shop) -> None:
    found = Hello.from_records(answered(run_task(errand(client.folder), hello())))
    assert found.client == client.store.settings.name


def test_the_task_compares_the_bundle_itself(client: Shop) -> None:
    """A node that forgot to would not matter."""
    client.allow(bundles=("0" * 64,))
    assert code(perform(errand(client.folder), hello())) == Code.POLICY_BUNDLE
    assert any(BUNDLE.sha256 in detail for detail in details(client))


def test_no_list_no_answer(client: Shop) -> None:
    client.allow(bundles=())
    assert code(perform(errand(client.folder), hello())) == Code.POLICY_BUNDLE
    assert any("no bundle at all" in detail for detail in details(client))


def test_an_agents_run_is_refused(client: Shop) -> None:
    agent = Bundle.of(
        CONTENT, named=BUNDLE.sha256, delivered=BUNDLE.sha256, task_type="flwr-agentapp"
    )
    assert code(perform(errand(client.folder, agent), hello())) == Code.POLICY_BUNDLE


def test_without_a_policy_nothing_is_answered(client: Shop) -> None:
    (client.folder / "policy.toml").unlink()
    assert code(perform(errand(client.folder), hello())) == Code.POLICY_MISSING


def test_objects_that_are_no_message_are_refused(client: Shop) -> None:
    asked = hello()
    rubbish = replace(asked, objects=dict.fromkeys(asked.objects, b"rubbish"))
    assert code(perform(errand(client.folder), rubbish)) == Code.PROTOCOL_INVALID


def test_a_process_that_dies_is_an_error_of_its_own(client: Shop) -> None:
    with pytest.raises(RunError, match="ended without an answer") as caught:
        run_task(errand(client.folder), Packed(b"\xff", b"\xff"))
    assert caught.value.code is Code.INTERNAL


def test_it_logs_in_the_form_that_cannot_quote_whatever_its_node_does(
    client: Shop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HUSHREC_LOG", raising=False)
    (client.folder / "events.parquet").write_bytes(b"a row of Ada Lovelace")
    assert code(run_task(errand(client.folder), hello())) == Code.CLIENT_UNREADY
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (line["role"], line["event"], line["code"]) == ("task", "refused", "client-unready")
    assert "error" not in line


def test_neither_the_path_nor_the_environment_of_the_node_leads_to_other_code(
    client: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow, canary = tmp_path / "shadow", tmp_path / "canary"
    for name in ("client", "common", "numpy"):
        (shadow / name).mkdir(parents=True)
        (shadow / name / "__init__.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(shadow))
    monkeypatch.setenv("PYTHONSTARTUP", str(shadow / "client" / "__init__.py"))
    monkeypatch.chdir(shadow)
    assert code(run_task(errand(client.folder), hello())) == OK
    assert not canary.exists()
    subprocess.run([sys.executable, "-c", "import client"], check=True)  # without -I
    assert canary.exists()


def test_the_environment_of_a_task_is_a_short_list() -> None:
    others = set(KEPT) - {"HUSHREC_DEBUG", "HUSHREC_LOG"}  # how it logs, and no more
    assert not [name for name in others if name.startswith(("PYTHON", "LD_", "FLWR", "HUSHREC"))]
    assert LISTED.sha256 == BUNDLE.sha256

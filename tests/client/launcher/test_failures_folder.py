"""A folder that is broken costs its shop the round: a code, one line, and the node goes on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.launcher import child
from client.launcher.child import run_task
from client.launcher.task import perform
from common.errors import Code
from common.protocol import OK
from server.app import read_job
from server.record import SilentObserver
from server.registry import Registry
from simulations.engine.folders import client_folders
from simulations.engine.inprocess import InProcessEngine
from simulations.run_folder import RunFolder
from tests.client.launcher.asking import BUNDLE, code, errand, packed_hello
from tests.conftest import Shop

FULL_DISK = "ulimit -f 0; exec {python} -I -m client.launcher.task"
"""No file can grow: what a process finds on a full disk."""


@pytest.fixture
def client(prepare_run: Callable[..., RunFolder], open_shop: Callable[..., Shop]) -> Shop:
    shop = open_shop(prepare_run(fixed_noise=False), deployed=True)
    shop.allow(bundles=(BUNDLE.sha256,))
    assert code(perform(errand(shop.folder), packed_hello())) == OK  # its ledger begins
    return shop


def overwrite(name: str, content: bytes = b"rubbish") -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(content))


def void(_: object) -> None:
    return None


BROKEN: dict[str, tuple[Callable[[Path], None], Code]] = {
    "policy gone": (lambda folder: (folder / "policy.toml").unlink(), Code.POLICY_MISSING),
    "policy unreadable": (overwrite("policy.toml", b"= ["), Code.CONFIG_INVALID),
    "events unreadable": (overwrite("events.parquet"), Code.CLIENT_UNREADY),
    "events gone": (lambda folder: (folder / "events.parquet").unlink(), Code.CLIENT_UNREADY),
    "ledger unreadable": (overwrite("ledger.sqlite", b"rubbish" * 100), Code.LEDGER_BROKEN),
    "key of the ledger gone": (
        lambda folder: (folder / "ledger_key.pem").unlink(),
        Code.LEDGER_MISSING,
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_a_code_and_one_line(
    client: Shop, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, told = BROKEN[broken]
    files = {file: file.read_bytes() for file in client.folder.iterdir() if file.is_file()}
    spoil(client.folder)
    with caplog.at_level(logging.WARNING):
        assert code(perform(errand(client.folder), packed_hello())) == told
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("refused")
    assert f"[{told}]" in line
    assert "\n" not in line
    for file, content in files.items():
        file.write_bytes(content)
    assert code(perform(errand(client.folder), packed_hello())) == OK


def test_a_disk_that_is_full_is_a_code(client: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process, since a limit holds for one."""
    command = ("/bin/sh", "-c", FULL_DISK.format(python=sys.executable))
    with monkeypatch.context() as patch:
        patch.setattr(child, "_COMMAND", command)
        client.allow(bundles=())  # a refusal is a row
        assert code(run_task(errand(client.folder), packed_hello())) == Code.LEDGER_WRITE
    assert code(run_task(errand(client.folder), packed_hello())) == Code.POLICY_BUNDLE


def test_the_others_rounds_go_on(prepare_run: Callable[..., RunFolder]) -> None:
    """One shop of the run cannot read its events, another its ledger."""
    run = prepare_run(marketplace={**MARKET, "shop_sizes": (30, 30, 30, 30)})
    bad = client_folders(run.path)[:2]
    (bad[0] / "events.parquet").write_bytes(b"rubbish")
    (bad[1] / "ledger.sqlite").write_bytes(b"rubbish" * 100)
    InProcessEngine().run(run.path, SilentObserver())
    records = Registry(run.path / "server").rounds()
    good = [folder.name for folder in client_folders(run.path)[2:]]
    assert len(records) == 1 + read_job(run.path).settings["rounds"]
    assert all(list(record.answered) == good for record in records)


MARKET = {"users": 120, "items": 40, "categories": 4, "events_per_user": 12.0, "seed": 3}

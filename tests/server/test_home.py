"""Several runs of one server: what one has seen of a ledger, the next one knows."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from common.errors import Code, RunError
from common.privacy.ledger import Row
from common.privacy.signing import SigningKey
from common.protocol import STEP, Task
from server.app import make_app, read_job
from server.keys import HOME_VARIABLE, server_key
from server.record import RoundRecord
from server.witness import Witness
from simulations.audit.run import audit_run
from simulations.engine.inprocess import InProcessEngine
from tests.server.tampering import Seen

LEDGER = ("ledger.sqlite", "ledger_key.pem")


class Backup(Seen):
    """Keeps a copy of a client's closed ledger, as it is after the first round."""

    def __init__(self, client: Path, copy: Path) -> None:
        super().__init__()
        self._client, self._copy = client, copy

    def round_done(self, record: RoundRecord) -> None:
        super().round_done(record)
        if record.step == 0:
            assert not self._client.joinpath("ledger.sqlite-wal").exists()  # closed: all is in it
            self._copy.mkdir()
            for name in LEDGER:
                shutil.copy2(self._client / name, self._copy)


def put_back(copy: Path, client: Path) -> None:
    for path in client.glob("ledger*"):
        path.unlink()
    for name in LEDGER:
        shutil.copy2(copy / name, client)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def two_runs(
    prepare_run: Callable[..., Any], open_shop: Callable[..., Any]
) -> Callable[[], tuple[Any, Any]]:
    """Two runs over the same three clients, whose owners allow both, and both servers."""

    def prepare() -> tuple[Any, Any]:
        first, second = prepare_run("first"), prepare_run("second")
        shutil.rmtree(second.clients)
        second.clients.symlink_to(first.clients)
        servers = {str(read_job(run.path).server) for run in (first, second)}
        for position in range(3):
            shop = open_shop(first, position)
            shop.allow_much()
            shop.allow(servers=sorted(servers))
        return first, second

    return prepare


def run(folder: Any, observer: Seen | None = None) -> list[dict[str, str]]:
    """What was refused in each round, by the real engine."""
    seen = Seen() if observer is None else observer
    InProcessEngine().run(folder.path, seen)
    return [dict(record.refused) for record in seen.records]


def rows_of(shop: Any, job_id: str) -> list[Row]:
    return [row for row in shop.rows() if row.body.get("job_id") == job_id]


def server_log(records: Iterable[logging.LogRecord]) -> list[str]:
    return [r.getMessage() for r in records if r.name == "hushrec.server"]


def test_a_ledger_put_back_between_two_runs_halts_before_its_first_release(
    two_runs: Callable[[], tuple[Any, Any]], open_shop: Callable[..., Any], tmp_path: Path,
    home: Path, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first, second = two_runs()
    client, copy = first.clients / "shop-2", tmp_path / "copy"
    assert run(first, Backup(client, copy)) == [{}, {}, {}]
    newest = Witness.open(home, SigningKey.load(home / "server_key.pem")).receipt("shop-2")
    assert newest is not None
    put_back(copy, client)
    caplog.clear()
    code = {"shop-2": "ledger-rolled-back"}
    assert run(second) == [code, code, code]
    said = server_log(caplog.records)
    assert said[0] == (
        "shop-2 gives no release in step 0 (subspace.popularity): ledger-rolled-back"
    )
    assert all("shop-2" in line and line.endswith(code["shop-2"]) for line in said)
    shop, job_id = open_shop(first, 1), read_job(second.path).job_id
    (halt,) = shop.rows("halt")
    assert halt.body == {
        "seq": newest.head.seq, "hash": newest.head.hash, "server": newest.server,
    }  # fmt: skip
    assert {row.kind for row in rows_of(shop, job_id)} <= {"refuse"}
    assert [row.kind for row in shop.rows("spend")] == ["spend"]  # of the first run, in the copy
    other = {row.kind for row in rows_of(open_shop(first, 0), job_id)}
    assert {"admit", "reserve"} <= other


def test_without_a_shared_home_the_second_run_can_not_know(
    two_runs: Callable[[], tuple[Any, Any]], open_shop: Callable[..., Any], tmp_path: Path
) -> None:
    """Nothing is claimed then: the two are different servers, and remember apart."""
    first, second = two_runs()
    assert read_job(first.path).server != read_job(second.path).server
    client, copy = first.clients / "shop-2", tmp_path / "copy"
    assert run(first, Backup(client, copy)) == [{}, {}, {}]
    put_back(copy, client)
    assert run(second) == [{}, {}, {}]
    shop = open_shop(first, 1)
    assert shop.rows("halt") == []
    assert len(shop.rows("spend")) == 4


def test_the_first_task_of_a_run_brings_the_receipt_of_the_run_before(
    two_runs: Callable[[], tuple[Any, Any]], recording_grid: Callable[..., Any], home: Path
) -> None:
    first, second = two_runs()
    run(first)
    witness = Witness.open(home, server_key(first.path))
    known = {name: witness.receipt(name) for name in ("shop-1", "shop-2", "shop-3")}
    assert None not in known.values()
    grid = recording_grid(second.path)
    make_app(second.path)(grid, Context(grid.run.run_id, 1, {}, RecordDict(), {}))
    tasks = [
        Task.from_records(asked.content)
        for asked, _ in grid.exchanged
        if asked.metadata.message_type == STEP
    ]
    assert [task.receipt for task in tasks[:3]] == list(known.values())
    assert {task.job.server for task in tasks} == {witness.key.public}
    for folder in (first, second):
        kept = {path.name for path in (folder.path / "server").iterdir()}
        assert not kept & {"server_key.pem", "witness.jsonl"}


def test_a_client_that_lost_its_ledger_whole_is_left_out_by_name(
    two_runs: Callable[[], tuple[Any, Any]], home: Path
) -> None:
    first, second = two_runs()
    run(first)
    for path in (first.clients / "shop-2").glob("ledger*"):
        path.unlink()
    assert run(second) == [{"shop-2": "ledger-signature"}] * 3
    assert home.is_dir()


def test_the_run_configuration_names_the_home_as_well(
    two_runs: Callable[[], tuple[Any, Any]], recording_grid: Callable[..., Any], home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, _ = two_runs()
    monkeypatch.delenv(HOME_VARIABLE)
    grid = recording_grid(first.path)

    def start(**config: str) -> None:
        context = Context(grid.run.run_id, 1, {}, RecordDict(), dict(config))
        make_app()(grid, context)

    with pytest.raises(RunError, match=HOME_VARIABLE) as caught:
        start(run=str(first.path))
    assert caught.value.code is Code.RUN_MISMATCH
    assert grid.exchanged == []
    start(**{"run": str(first.path), "server-home": str(home)})
    assert (home / "witness.jsonl").exists()
    assert (first.path / "server" / "model").is_dir()


def test_an_audit_holds_ledgers_to_what_the_shared_home_saw(
    prepare_run: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    folder = prepare_run()
    client, copy = folder.clients / "shop-2", tmp_path / "copy"
    run(folder, Backup(client, copy))
    assert audit_run(folder.path, attacks=False).findings == ()
    put_back(copy, client)
    found = audit_run(folder.path, attacks=False).findings
    assert any(f.where == "shop-2" and "somebody saw row" in f.what for f in found), found
    assert home.is_dir()

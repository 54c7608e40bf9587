"""Two clients whose data differ, asked the same: the same answers in form, the same log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.app import RecordDict

from client.data_files import EVENTS, REJECTED
from client.doctor.command import CHECKS, READS_DATA, READS_NONE
from client.guard import Guard
from client.training import prepared_step
from common.errors import Code, DataError
from common.protocol import HELLO, OK
from simulations.run_folder import RunFolder
from tests.client.monitor.test_metrics import ask_everything, other_data
from tests.client.service.shop import log, make_shop, write_events
from tests.common.logging_state import guarded
from tests.conftest import Shop, shop_of

ROOT = Path(__file__).parents[2]
SECRET = "user-4711 bought item-0815"


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a log without what differs between any two starts."""
    return [{name: value for name, value in one.items() if name != "time"} for one in lines]


def test_two_clients_with_other_data_write_the_same_log(run_folder: RunFolder) -> None:
    other = Path(shutil.copytree(run_folder.path, run_folder.path.with_name("other")))
    shops = [shop_of(run_folder.path), shop_of(other)]
    other_data(shops[1].folder)
    logs = []
    for shop in shops:
        with guarded(role="task") as written:
            ask_everything(shop)
            shop.send(RecordDict())
            shop.send(RecordDict(), HELLO)
        logs.append(timeless(written.lines))
    assert logs[0] == logs[1]
    assert {line.get("code") for line in logs[0]} >= {"inbound-array", "budget-lifetime"}


def breaks(events: pd.DataFrame, path: Path) -> dict[str, Callable[[], Any]]:
    """What can be wrong with a log, by how it is made so."""
    return {
        "gone": path.unlink,
        "no table": lambda: path.write_bytes(b"PAR1"),
        "strange item": lambda: events.assign(item_id=SECRET).to_parquet(path, index=False),
        "no user": lambda: events.drop(columns="user_id").to_parquet(path, index=False),
    }


def test_data_that_cannot_be_used_are_one_line_whatever_is_wrong(shop: Shop) -> None:
    path = shop.folder / EVENTS
    kept = path.read_bytes()
    logs = {}
    records = shop.task().to_records()
    for name, make in breaks(pd.read_parquet(path), path).items():
        make()
        with guarded() as written:
            shop.send(records)
        logs[name] = timeless(written.lines)
        path.write_bytes(kept)
    assert [len(lines) for lines in logs.values()] == [1, 1, 1, 1]
    first, *others = logs.values()
    assert first[0]["code"] == "client-unready"
    assert all(lines == first for lines in others)


def test_a_job_that_was_begun_goes_on_without_a_word_of_its_copy(shop: Shop) -> None:
    """The log was replaced, and what was frozen is broken: a code, and no line about it."""
    shop.allow_much()
    assert shop.ask(shop.task(0)).code == OK
    path = shop.folder / EVENTS
    events = pd.read_parquet(path)
    events.iloc[1:].reset_index(drop=True).to_parquet(path, index=False)
    with guarded() as written:
        reply = shop.ask(shop.task(1))
    assert reply.code == Code.CLIENT_UNREADY
    assert [line.get("code") for line in written.lines] == ["client-unready"]
    assert "snapshot" not in written.text


def test_a_log_that_breaks_while_a_request_waits_is_nowhere_quoted(shop: Shop) -> None:
    """Found between the first look at the log and the charge, after everything was allowed."""
    path, store, task = shop.folder / EVENTS, shop.store, shop.task()
    kept = path.read_bytes()
    events = pd.read_parquet(path)
    with Guard.open(store) as guard:
        broken = events.assign(item_id=[SECRET, *events["item_id"][1:]])
        broken.to_parquet(path, index=False)
        with pytest.raises(DataError) as caught:
            guard.answer(task, lambda schedule: prepared_step(task, schedule, store))
    path.write_bytes(kept)
    assert caught.value.code is Code.CLIENT_UNREADY
    assert shop.kinds() == ["open", "refuse"]
    (row,) = shop.rows("refuse")
    assert (row.body["code"], row.body["detail"]) == ("client-unready", "DataError")


def test_every_check_of_the_doctor_is_classified() -> None:
    assert {name for name, _ in CHECKS} == READS_DATA | READS_NONE
    assert not READS_DATA & READS_NONE


def checked(folder: Path) -> list[dict[str, Any]]:
    """What the doctor's look at each start writes."""
    done = subprocess.run(
        [sys.executable, "-m", "client.running.selfcheck", str(folder)],
        cwd=ROOT,
        env={**os.environ, "HUSHREC_LOG": "json"},
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return timeless([json.loads(line) for line in done.stderr.splitlines()])


def test_the_look_at_each_start_says_nothing_of_data(tmp_path: Path) -> None:
    """One user fewer than was declared, rows set aside, a table that is none, no table."""
    folder = make_shop(tmp_path / "north")
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text().replace("epsilon = 8", "epsilon = 'none'"))
    whole = checked(folder)
    assert {line["check"] for line in whole} >= {"policy"}
    assert not [line for line in whole if line.get("where") == EVENTS]
    write_events(folder, dict(list(log().items())[1:]))
    (folder / REJECTED).write_text("reason\n" + "no such item\n" * 50)
    (folder / REJECTED).chmod(0o644)
    assert checked(folder) == whole
    (folder / EVENTS).write_bytes(b"no table")
    (folder / f".{EVENTS}.part").write_bytes(b"left by a crash")
    assert checked(folder) == whole
    (folder / EVENTS).unlink()
    assert checked(folder) == whole

"""What somebody can do whom the policy does not name: little, and not without end."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flwr.app import RecordDict

from client.app import make_app
from client.guard import refusals
from common.errors import Code
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from common.protocol import OK, RECEIPT, ReceiptMessage, Reply

NOW = "2030-01-01T00:00:00.000+00:00"
MOST = refusals.MOST_OF_STRANGERS


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(refusals, "MOST_OF_STRANGERS", 3)
    return 3


def stranger_to(shop: Any) -> Any:
    key = SigningKey.create()
    return shop.variant(key=key, job_id="ef" * 16, server=key.public)


def send_receipt(shop: Any, head: SignedHead, key: SigningKey) -> str:
    records = ReceiptMessage(Receipt.sign(key, head, NOW)).to_records()
    return Reply.from_records(shop.send(records, RECEIPT).content).code


def test_a_flood_of_strangers_has_so_many_rows_and_no_more(shop: Any) -> None:
    theirs = stranger_to(shop)
    task = theirs.task()
    for _ in range(MOST + 5):
        assert theirs.ask(task) == Reply(str(Code.POLICY_SERVER))
    rows = shop.rows("refuse")
    assert len(rows) == MOST
    assert "further" not in rows[-2].body["detail"]
    assert rows[-1].body["detail"].endswith("(further ones of this day are not recorded)")


def test_each_code_has_its_own_rows_whatever_comes_between(shop: Any, few: int) -> None:
    shop.allow(max_message_bytes=30_000)
    theirs, huge = stranger_to(shop), RecordDict()
    task = theirs.task()
    huge["task"] = shop.task().to_records()["task"]
    huge["task"]["job"] = "x" * 40_000
    for _ in range(few + 2):
        theirs.ask(task)
        shop.send(RecordDict())
        shop.ask(replace(shop.task(), session=1))  # by its own server
        shop.send(huge)
    found = Counter(row.body["code"] for row in shop.rows("refuse"))
    assert found == {
        str(Code.POLICY_SERVER): few,
        str(Code.PROTOCOL_INVALID): few + few + 2,
        str(Code.POLICY_MESSAGE): few,
    }
    assert shop.ask(shop.task()).code == OK


def test_the_next_day_has_rows_again_and_a_clock_set_back_has_none(shop: Any, few: int) -> None:
    day = [1]
    clock = lambda: datetime(2030, 1, day[0], tzinfo=UTC)  # noqa: E731
    timed = replace(shop, app=make_app(simulation=True, clock=clock))
    for today, rows in ((2, few), (3, 2 * few), (2, 2 * few), (4, 3 * few)):
        day[0] = today
        for _ in range(few + 1):
            timed.send(RecordDict())
        assert len(shop.rows("refuse")) == rows, today


def test_without_a_policy_a_client_does_not_fill_its_disk(shop: Any, few: int) -> None:
    (shop.folder / "policy.toml").unlink()
    for _ in range(few + 2):
        assert shop.ask(shop.task()) == Reply(str(Code.POLICY_MISSING))
    assert len(shop.rows("refuse")) == few


def test_a_server_that_is_let_in_has_a_row_for_every_refusal(shop: Any, few: int) -> None:
    for _ in range(few + 2):
        shop.ask(replace(shop.task(), session=1))
    assert len(shop.rows("refuse")) == few + 2


@pytest.mark.parametrize("way", ["alone", "with a task"])
def test_receipts_are_kept_of_servers_with_a_job_here(shop: Any, way: str) -> None:
    """Where the policy names nobody, fresh keys cost nothing."""
    shop.allow(servers=())
    head = shop.ask(shop.task()).head
    for _ in range(3):
        theirs = stranger_to(shop)
        if way == "alone":
            assert send_receipt(shop, head, theirs.key) == str(Code.POLICY_SERVER)
        else:
            task = replace(theirs.task(), receipt=Receipt.sign(theirs.key, head, NOW))
            assert theirs.ask(task).code == str(Code.POLICY_SERVER)
    assert send_receipt(shop, head, shop.key) == OK
    with shop.ledger() as ledger:
        assert [receipt.server for receipt in ledger.receipts()] == [shop.key.public]


def test_the_server_of_an_earlier_job_is_still_known(shop: Any) -> None:
    shop.allow_much()
    shop.allow(servers=())
    head = shop.ask(shop.task()).head
    second = SigningKey.create()
    theirs = shop.variant(key=second, job_id="ef" * 16, server=second.public)
    assert theirs.ask(theirs.task()).code == OK
    assert send_receipt(shop, head, shop.key) == OK


def test_a_server_that_the_policy_names_is_known_without_a_job(shop: Any) -> None:
    second = SigningKey.create()
    shop.allow(servers=(shop.key.public, second.public))
    head = shop.ask(shop.task()).head
    assert send_receipt(shop, head, second) == OK


@pytest.fixture
def restored(shop: Any, tmp_path: Path) -> Callable[[], SignedHead]:
    """Put a backup back; the head that it does not have."""

    def restore() -> SignedHead:
        shop.ask(shop.task())
        backup = shutil.copytree(shop.folder, tmp_path / "backup")
        late: SignedHead = shop.ask(shop.task(1)).head
        shutil.rmtree(shop.folder)
        shutil.copytree(backup, shop.folder)
        return late

    return restore


@pytest.mark.parametrize("way", ["alone", "with a task"])
def test_proof_of_a_roll_back_counts_whoever_brings_it(
    shop: Any, restored: Callable[[], SignedHead], way: str
) -> None:
    late, theirs = restored(), stranger_to(shop)
    if way == "alone":
        assert send_receipt(shop, late, theirs.key) == str(Code.LEDGER_ROLLED_BACK)
    else:
        task = replace(theirs.task(), receipt=Receipt.sign(theirs.key, late, NOW))
        assert theirs.ask(task).code == str(Code.LEDGER_ROLLED_BACK)
    assert [row.body["seq"] for row in shop.rows("halt")] == [late.seq]
    assert shop.ask(shop.task(1)) == Reply(str(Code.LEDGER_ROLLED_BACK))


def test_a_head_that_a_stranger_made_up_stops_nobody(shop: Any) -> None:
    head = shop.ask(shop.task()).head
    key = SigningKey.create()
    made_up = SignedHead.sign(key, head.client, 10**6, "ab" * 32)
    assert send_receipt(shop, made_up, key) == str(Code.LEDGER_SIGNATURE)
    assert shop.rows("halt") == []
    assert shop.ask(shop.task(1)).code == OK

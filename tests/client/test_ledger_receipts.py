"""Receipts: what a server saw is kept, and a ledger that was rolled back stops."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.ledger_store import Key, LedgerStore
from common.audit.export import read_export
from common.audit.verify import verify_export
from common.errors import Code, HushRecError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey

TIMES = [f"2026-01-{day:02}T00:00:00+00:00" for day in (1, 2, 3)]
SERVER, OTHER = SigningKey.create(), SigningKey.create()


def opened(folder: Path) -> LedgerStore:
    return LedgerStore.open(folder / "ledger.sqlite", "shop", "ab" * 16, survives_power_cut=False)


def refused(action: Callable[[], Any]) -> Code:
    with pytest.raises(HushRecError) as caught:
        action()
    return caught.value.code


def grown(ledger: LedgerStore, rows: int = 1) -> SignedHead:
    for _ in range(rows):
        ledger.append("refuse", {"n": ledger.count("refuse")})
    return ledger.signed_head()


def seen(head: SignedHead, server: SigningKey = SERVER, time: str = TIMES[0]) -> Receipt:
    return Receipt.sign(server, head, time)


def test_later_receipts_of_each_server_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        one, two = grown(ledger), grown(ledger)
        kept = [seen(one), seen(one, OTHER), seen(two)]
        for receipt in (
            kept[0],
            seen(one, time=TIMES[1]),
            kept[1],
            kept[2],
            seen(one, time=TIMES[2]),
        ):
            ledger.add_receipt(receipt)
        assert ledger.receipts() == kept
        ledger.verify()
    with opened(tmp_path) as ledger:
        assert ledger.receipts() == kept


def test_a_receipt_for_what_is_here_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        head = grown(ledger)
        later = grown(ledger, 3)
        for each in (head, later):
            ledger.check_receipt(seen(each))
        assert ledger.signed_head() == later
        assert ledger.receipts() == []


def forged(head: SignedHead, **changes: Any) -> SignedHead:
    return head.model_copy(update=changes)


@pytest.mark.parametrize(
    "change", [{"seq": 99}, {"hash": "00" * 32}, {"client": "other"}, {"signature": "00" * 64}]
)
def test_a_head_that_nobody_signed_stops_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    """Else a server could stop any client."""
    with opened(tmp_path) as ledger:
        head = forged(grown(ledger), **change)
        for use in (ledger.check_receipt, ledger.add_receipt):
            assert refused(lambda use=use: use(seen(head))) is Code.LEDGER_SIGNATURE
        assert ledger.last("halt") is None
        assert ledger.receipts() == []


def test_a_later_head_under_another_key_stops_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        grown(ledger)
        head = SignedHead.sign(SERVER, "shop", 99, "00" * 32)
        assert refused(lambda: ledger.check_receipt(seen(head))) is Code.LEDGER_SIGNATURE
        assert ledger.last("halt") is None


def test_a_receipt_that_its_server_did_not_sign_is_not_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        receipt = seen(grown(ledger)).model_copy(update={"server": OTHER.public})
        assert refused(lambda: ledger.add_receipt(receipt)) is Code.LEDGER_SIGNATURE
        assert ledger.receipts() == []


def restored(folder: Path) -> tuple[SignedHead, Path]:
    """A ledger that went on after a backup, and the backup in its place."""
    with opened(folder) as ledger:
        grown(ledger, 2)
    backup = Path(shutil.copytree(folder, folder.with_name("backup")))
    with opened(folder) as ledger:
        later = grown(ledger, 2)
    return later, backup


@pytest.mark.parametrize("more", [0, 1, 2, 5])
def test_a_restored_backup_stops_at_the_first_later_head(tmp_path: Path, more: int) -> None:
    """Also once it has gone on for itself: then a row has the number and another hash."""
    (tmp_path / "shop").mkdir()
    later, backup = restored(tmp_path / "shop")
    with opened(backup) as ledger:
        if more:
            grown(ledger, more)
        assert refused(lambda: ledger.check_receipt(seen(later))) is Code.LEDGER_ROLLED_BACK
        assert refused(lambda: ledger.add_receipt(seen(later))) is Code.LEDGER_ROLLED_BACK
        halt = ledger.last("halt")
        assert halt is not None
        assert halt.body == {"seq": later.seq, "hash": later.hash, "server": SERVER.public}
        assert ledger.count("halt") == 1
        assert ledger.receipts() == []
        ledger.verify()


def test_a_ledger_that_was_rolled_back_answers_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    later, backup = restored(tmp_path / "shop")
    with opened(backup) as ledger:
        reserve = {"job_id": "j", "step": 0, "event": {"kind": "x"}}
        reservation = ledger.append("reserve", reserve).seq
        assert refused(lambda: ledger.check_receipt(seen(later))) is Code.LEDGER_ROLLED_BACK
    with opened(backup) as ledger:
        before = ledger.rows()
        spend = {"reservation": reservation, "release_sha256": "00" * 32}
        for action in (
            lambda: ledger.append("reserve", reserve),
            lambda: ledger.append("admit", {}),
            lambda: ledger.commit_release(Key("j", 0, 0), "r", b"bytes", spend),
        ):
            assert refused(action) is Code.LEDGER_ROLLED_BACK
        assert ledger.rows() == before
        assert ledger.find(Key("j", 0, 0)) is None
        ledger.append("refuse", {"code": str(Code.LEDGER_ROLLED_BACK)})
        ledger.verify()


def test_two_copies_that_both_go_on_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    with opened(tmp_path / "shop") as ledger:
        grown(ledger)
    shutil.copytree(tmp_path / "shop", tmp_path / "clone")
    with opened(tmp_path / "shop") as ledger, opened(tmp_path / "clone") as clone:
        ledger.append("refuse", {"by": "one"})
        clone.append("refuse", {"by": "other"})
        assert refused(lambda: clone.check_receipt(seen(ledger.signed_head()))) is (
            Code.LEDGER_ROLLED_BACK
        )


@pytest.mark.parametrize("damage", ["seq = seq - 1", "hash = 'x'", "receipt = 'x'"])
def test_a_receipt_table_that_was_changed_is_found(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as ledger:
        ledger.add_receipt(seen(grown(ledger)))
        ledger.verify()
        ledger._connection.execute("DROP TRIGGER receipt_stays")
        ledger._connection.execute(f"UPDATE receipt SET {damage}")
        assert refused(ledger.verify) is Code.LEDGER_BROKEN


def test_what_is_exported_is_shown_up_to_the_last_receipt(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append("reserve", {"job_id": "j", "step": 0, "event": {"kind": "x"}})
        ledger.add_receipt(seen(grown(ledger, 3)))
        grown(ledger)
        head = ledger.export(tmp_path / "ledger.jsonl")
        assert head == ledger.signed_head()
        key = ledger.public_key
    export = read_export(tmp_path / "ledger.jsonl")
    verdict = verify_export(export, client_key=key, server_keys=[SERVER.public], seen=head)
    assert verdict.consistent
    assert (verdict.rows, verdict.receipts, verdict.shown_up_to) == (6, 1, 5)
    with opened(tmp_path) as ledger:
        assert [row[:-1] for row in export.rows] == [
            tuple(getattr(row, name) for name in type(row).model_fields) for row in ledger.rows()
        ]

"""What the server countersigns: never two hashes for one row, never backwards, over restarts."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ArtifactError, Code, DataError, LedgerError
from common.privacy.heads import Receipt, SignedHead
from common.privacy.signing import SigningKey
from server.keys import server_key
from server.witness import Asked, Witness

SERVER = SigningKey.create()
KEYS = {"shop-1": SigningKey.create(), "shop-2": SigningKey.create()}
JOB = "ab" * 16


def asked(step: int, **fields: Any) -> Asked:
    return Asked(**{"job_id": JOB, "step": step, **fields})


def head(seq: int, digit: str = "a", client: str = "shop-1", key: Any = None) -> SignedHead:
    return SignedHead.sign(key or KEYS[client], client, seq, digit * 64)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness.open(tmp_path / "server", SERVER)


def again(witness: Witness) -> Witness:
    """The same file, after a restart."""
    return Witness.open(witness.path.parent, witness.key)


def test_a_head_is_countersigned_and_its_newest_receipt_kept(witness: Witness) -> None:
    assert witness.receipt("shop-1") is None
    first = witness.see("shop-1", asked(0), head(3))
    second = witness.see("shop-1", asked(1), head(5, "b"))
    for receipt in (first, second):
        receipt.check(server=SERVER.public)
    assert (first.head, second.head) == (head(3), head(5, "b"))
    witness.sync()
    for found in (witness, again(witness)):
        assert found.receipt("shop-1") == second
        assert found.receipt("shop-2") is None
        assert found.left_out == {}


def test_a_replay_is_countersigned_with_the_same_content(witness: Witness) -> None:
    """A server that lost its checkpoints asks for everything again."""
    receipts = [witness.see("shop-1", asked(step), head(3 + 2 * step)) for step in range(3)]
    resumed = again(witness)
    replayed = [resumed.see("shop-1", asked(step), head(3 + 2 * step)) for step in range(3)]
    assert replayed == receipts
    assert resumed.receipt("shop-1") == receipts[-1]
    assert len(witness.path.read_bytes().splitlines()) == 3


BACK = {
    "a known row for a new release": (asked(2), head(5, "b")),
    "an earlier known row for a new release": (asked(2), head(3)),
    "another hash for an earlier row": (asked(2), head(3, "c")),
    "another hash for a known row": (asked(2), head(5, "c")),
    "another hash for a known release": (asked(1), head(5, "c")),
    "a later row for a known release": (asked(1), head(9)),
    "an earlier release's head": (asked(1), head(3)),
    "a known row for another job": (Asked(job_id="cd" * 16, step=0), head(3)),
    "a known row for another session": (asked(0, session=1), head(3)),
}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("name", BACK)
def test_a_ledger_that_goes_back_is_left_out_and_both_heads_are_logged(
    witness: Witness, caplog: pytest.LogCaptureFixture, name: str, restarted: bool
) -> None:
    witness.see("shop-1", asked(0), head(3))
    newest = witness.see("shop-1", asked(1), head(5, "b"))
    witness = again(witness) if restarted else witness
    with pytest.raises(LedgerError) as caught:
        witness.see("shop-1", *BACK[name])
    assert caught.value.code is Code.LEDGER_ROLLED_BACK
    assert witness.left_out == {"shop-1": Code.LEDGER_ROLLED_BACK}
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert BACK[name][1].signature in record.getMessage()
    assert any(known.signature in record.getMessage() for known in (head(3), head(5, "b")))
    assert witness.receipt("shop-1") == newest
    witness.see("shop-2", asked(2), head(1, client="shop-2"))


def test_an_earlier_row_that_was_never_seen_is_not_used_and_proves_nothing(
    witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    """A ledger put back, or a release whose reply was lost, asked for again."""
    witness.see("shop-1", asked(0), head(3))
    newest = witness.see("shop-1", asked(2), head(7))
    with pytest.raises(LedgerError) as caught:
        witness.see("shop-1", asked(1), head(5))
    assert caught.value.code is Code.LEDGER_ROLLED_BACK
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    for shown in (head(5), head(7)):
        assert shown.signature in record.getMessage()
    assert witness.left_out == {}
    assert witness.see("shop-1", asked(2), head(7)) == newest


def test_another_job_may_go_on_with_later_rows(witness: Witness) -> None:
    witness.see("shop-1", asked(0), head(3))
    witness.see("shop-1", Asked(job_id="cd" * 16, step=0), head(6))
    assert witness.left_out == {}


def forged() -> SignedHead:
    return head(5).model_copy(update={"hash": "b" * 64})


FALSE: dict[str, tuple[SignedHead | None, Code]] = {
    "none": (None, Code.LEDGER_SIGNATURE),
    "another hash under the signature": (forged(), Code.LEDGER_SIGNATURE),
    "a later row under the signature": (
        head(5).model_copy(update={"seq": 9}), Code.LEDGER_SIGNATURE
    ),
    "another key": (head(5, key=SigningKey.create()), Code.LEDGER_SIGNATURE),
    "another client's": (head(5, client="shop-2"), Code.LEDGER_FOREIGN),
    "signed for another client": (
        head(5).model_copy(update={"client": "shop-2"}), Code.LEDGER_FOREIGN
    ),
    "no point on the curve": (
        head(5).model_copy(update={"key": "f" * 64}), Code.LEDGER_SIGNATURE
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["first seen", "stated", "known"])
@pytest.mark.parametrize("name", FALSE)
def test_a_head_that_is_not_the_clients_own_is_not_countersigned(
    witness: Witness, name: str, how: str
) -> None:
    shown, code = FALSE[name]
    if how == "known":
        witness.see("shop-1", asked(0), head(3))
    stated = KEYS["shop-1"].public if how == "stated" else None
    before = witness.receipt("shop-1")
    if name == "another key" and how == "first seen":  # whose it is, nobody could know
        witness.see("shop-1", asked(1), shown)
        return
    with pytest.raises(LedgerError) as caught:
        witness.see("shop-1", asked(1), shown, ledger_key=stated)
    assert caught.value.code is code
    assert witness.left_out == {"shop-1": code}
    assert witness.receipt("shop-1") == before


def test_a_client_that_comes_with_another_key_is_left_out(witness: Witness) -> None:
    witness.see("shop-1", asked(0), head(3))
    resumed = again(witness)
    resumed.meet("shop-1", KEYS["shop-1"].public)
    resumed.meet("shop-2", KEYS["shop-2"].public)
    resumed.meet("shop-1", None)
    assert resumed.left_out == {}
    resumed.meet("shop-1", SigningKey.create().public)
    assert resumed.left_out == {"shop-1": Code.LEDGER_SIGNATURE}


MOVES = st.tuples(
    st.integers(0, 1),
    st.sampled_from(sorted(KEYS)),
    st.integers(0, 4),
    st.integers(0, 6),
    st.sampled_from("ab"),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), MOVES), max_size=20))
def test_whatever_is_shown_no_row_has_two_hashes_and_nothing_goes_back(
    moves: list[tuple[int, str, int, int, str] | None],
) -> None:
    """Two runs share a file; None: the first is killed in the middle of a line, and restarts."""
    signed: list[Receipt] = []
    with TemporaryDirectory() as folder:
        runs = [Witness.open(Path(folder), SERVER) for _ in range(2)]
        for move in moves:
            if move is None:
                with runs[0].path.open("ab") as file:
                    file.write(b'{"asked":{"job_id"')
                runs[0] = again(runs[0])
                continue
            run, client, step, seq, digit = move
            witness = runs[run]
            witness.refresh()
            before = witness.receipt(client)
            try:
                receipt = witness.see(client, asked(step), head(seq, digit, client))
            except LedgerError:
                assert witness.receipt(client) == before
                continue
            newest = witness.receipt(client)
            assert newest is not None
            assert before is None or before.head.seq <= newest.head.seq
            if receipt not in signed:
                assert before is None or before.head.seq < receipt.head.seq
                signed.append(receipt)
        rows = [(found.head.client, found.head.seq) for found in signed]
        assert len(set(rows)) == len(rows)
        assert lines(runs[0]) == lines(again(runs[1]))
        assert len(lines(runs[0])) == len(signed)


def lines(witness: Witness) -> list[bytes]:
    return witness.path.read_bytes().splitlines(keepends=True) if witness.path.exists() else []


@pytest.fixture
def filled(witness: Witness) -> Witness:
    for step in range(3):
        witness.see("shop-1", asked(step), head(3 + 2 * step))
    return witness


def test_a_line_that_a_kill_cut_off_is_forgotten(filled: Witness) -> None:
    whole = lines(filled)
    filled.path.write_bytes(b"".join(whole)[:-7])
    resumed = again(filled)
    assert resumed.receipt("shop-1").head == head(5)  # type: ignore[union-attr]
    resumed.see("shop-1", asked(2), head(7))
    assert len(lines(resumed)) == 3
    again(resumed)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: [b"\n", *whole],
        lambda whole: [b"{}\n", *whole],
        lambda whole: [b"[" * 100_000 + b"\n", *whole],
        lambda whole: [b"\xff\n", *whole],
        lambda whole: [whole[0].replace(b'"seq":3', b'"seq":2'), *whole[1:]],
        lambda whole: [whole[0], whole[2], whole[1]],
        lambda whole: [*whole, whole[2]],
    ],
)
def test_a_damaged_file_is_named_and_not_gone_on_with(
    filled: Witness, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    filled.path.write_bytes(b"".join(damage(lines(filled))))
    with pytest.raises(ArtifactError) as caught:
        again(filled)
    assert caught.value.code is Code.ARTIFACT_INVALID
    assert caught.value.where == str(filled.path)


def test_the_file_of_another_server_is_not_gone_on_with(filled: Witness) -> None:
    with pytest.raises(ArtifactError):
        Witness.open(filled.path.parent, SigningKey.create())


def test_a_file_that_cannot_be_written_stops_the_server(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("a file where the folder should be")
    witness = Witness(tmp_path / "server" / "witness.jsonl", SERVER)
    with pytest.raises(DataError):
        witness.see("shop-1", asked(0), head(3))
    assert witness.receipt("shop-1") is None


def test_a_file_that_cannot_be_read_or_kept_stops_the_server(filled: Witness) -> None:
    filled.path.unlink()
    with pytest.raises(DataError):
        filled.sync()
    filled.path.mkdir()
    with pytest.raises(DataError) as caught:
        again(filled)
    assert caught.value.where == str(filled.path)


def test_what_another_run_saw_is_known_before_anything_is_countersigned(witness: Witness) -> None:
    other = again(witness)
    first = witness.see("shop-1", asked(0), head(3))
    assert other.receipt("shop-1") is None
    other.refresh()
    assert other.receipt("shop-1") == first
    elsewhere = Asked(job_id="cd" * 16, step=0)
    with pytest.raises(LedgerError) as caught:
        other.see("shop-1", elsewhere, head(3, "c"))
    assert caught.value.code is Code.LEDGER_ROLLED_BACK
    third = again(witness)
    later = witness.see("shop-1", asked(1), head(5))  # not refreshed: `see` looks for itself
    with pytest.raises(LedgerError):
        third.see("shop-1", elsewhere, head(5, "c"))
    assert third.receipt("shop-1") == later
    assert third.see("shop-1", asked(0), head(3)) == first


def test_a_line_that_another_process_cut_off_is_taken_away_before_the_next(
    filled: Witness,
) -> None:
    with filled.path.open("ab") as file:
        file.write(b'{"asked":{"job_id"')
    filled.see("shop-1", asked(3), head(9))
    assert len(lines(again(filled))) == 4


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:2], lambda whole: [*whole, b"{}\n"], lambda whole: []]
)
def test_a_file_that_is_spoilt_meanwhile_is_not_gone_on_with(
    filled: Witness, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    filled.path.write_bytes(b"".join(damage(lines(filled))))
    spoilt = filled.path.read_bytes()
    for use in (filled.refresh, lambda: filled.see("shop-1", asked(3), head(9))):
        with pytest.raises(ArtifactError):
            use()
    assert filled.path.read_bytes() == spoilt


def test_a_file_that_is_gone_is_not_begun_anew(filled: Witness) -> None:
    filled.path.unlink()
    for use in (filled.refresh, lambda: filled.see("shop-1", asked(3), head(9))):
        with pytest.raises(DataError):
            use()
    assert not filled.path.exists()


RUN = """
import sys
from pathlib import Path
from common.privacy.heads import SignedHead
from common.privacy.signing import SigningKey
from server.keys import server_key
from server.witness import Asked, Witness

home, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.read(1)
key, client = server_key(home), SigningKey.create()
witness = Witness.open(home / "server", key)
for step in range(40):
    shown = SignedHead.sign(client, name, step, "ab" * 32)
    witness.see(name, Asked(job_id="ab" * 16, step=step), shown)
print(key.public)
"""


def test_processes_that_share_a_home_make_one_key_and_lose_no_line(tmp_path: Path) -> None:
    """None begins before all are ready."""
    names = ["shop-1", "shop-2", "shop-3"]
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = Path(__file__).resolve().parents[2]
    running = [subprocess.Popen([*command, name], cwd=root, **pipes) for name in names]
    for process in running:
        assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("x")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    said = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    key = server_key(tmp_path)
    assert said == {key.public}
    assert {path.name for path in (tmp_path / "server").iterdir()} == {
        "server_key.pem",
        "witness.jsonl",
    }
    witness = Witness.open(tmp_path / "server", key)
    assert len(lines(witness)) == 120
    newest = [witness.receipt(name) for name in names]
    assert [receipt and receipt.head.seq for receipt in newest] == [39, 39, 39]

"""A ledger that was put back while the states of sums went on: it is found out by the client.

The same masks over other words would show the difference of the words, with two shares of noise.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from client.sum_store import SumStore
from common.errors import Code
from common.secure_sum.messages import STAGES, Stage, SurvivorList
from tests.client.summing import Session

ME = "shop-1"
NAMES = [f"shop-{number}" for number in range(1, 6)]


def ledger_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith("ledger")]


def copied(session: Session, to: Path) -> Path:
    to.mkdir()
    for path in ledger_files(session.shops[ME].folder):
        shutil.copy2(path, to / path.name)
    return to


def put_back(session: Session, backup: Path) -> None:
    folder = session.shops[ME].folder
    for path in ledger_files(folder):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy2(path, folder / path.name)


PUT_BACK = [
    ("masked", "masked"), ("masked", "survivors"), ("masked", "reveal"),
    ("survivors", "survivors"), ("survivors", "reveal"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "until"), PUT_BACK)
def test_a_ledger_from_before_is_found_out_whatever_is_asked(
    session: Session, tmp_path: Path, before: Stage, until: Stage
) -> None:
    """Copied just before stage `before`, put back after stage `until`."""
    session.go(*STAGES[: STAGES.index(before)])
    backup = copied(session, tmp_path / "backup")
    session.go(*STAGES[STAGES.index(before) : STAGES.index(until) + 1])
    put_back(session, backup)
    shop = session.shops[ME]
    for stage in ("masked", "survivors", "keys", "reveal"):
        reply = session.say(ME, stage, session.body(ME, stage))
        assert reply.code == Code.LEDGER_ROLLED_BACK
        assert reply.words is None
    other = SurvivorList(survivors=tuple(NAMES[:4]))
    assert session.say(ME, "survivors", other).code == Code.LEDGER_ROLLED_BACK
    assert Session(session.shops, number=1).say(ME, "keys").code == Code.LEDGER_ROLLED_BACK
    (halt,) = shop.rows("halt")
    with SumStore.open(shop.folder) as states:
        head = states.head()
    assert head is not None
    assert halt.body == {"seq": head.seq, "hash": head.hash, "server": ""}


def test_the_newest_ledger_put_back_goes_on(session: Session, tmp_path: Path) -> None:
    session.go("keys", "shares")
    old = copied(session, tmp_path / "old")
    session.go("masked")
    newest = copied(session, tmp_path / "newest")
    put_back(session, old)
    assert session.say(ME, "survivors", session.survivors).code == Code.LEDGER_ROLLED_BACK
    put_back(session, newest)
    session.go("survivors", "reveal")


def test_a_ledger_put_back_from_before_refusals_alone_goes_on(
    session: Session, tmp_path: Path
) -> None:
    """Nothing was spent since: whoever can ask must not be able to end a data set's budget."""
    backup = copied(session, tmp_path / "backup")
    shop = session.shops[ME]
    session.go("keys")
    lowered = session.first.job.model_copy(update={"threshold": 2})
    assert session.say(ME, "shares", session.peers, job=lowered).code == Code.POLICY_THRESHOLD
    put_back(session, backup)
    session.go(*STAGES)
    assert shop.rows("halt") == []


def test_words_that_are_sent_again_do_not_take_the_mark_back(session: Session) -> None:
    session.go("keys", "shares", "masked", "survivors")
    folder = session.shops[ME].folder
    with SumStore.open(folder) as states:
        before = states.head()
    assert session.say(ME, "masked", session.body(ME, "masked")).words is not None
    with SumStore.open(folder) as states:
        assert states.head() == before


def test_states_of_another_ledger_do_not_halt_this_one(session: Session, tmp_path: Path) -> None:
    """Whoever copies a file into the wrong folder has not rolled anything back."""
    session.go("keys", "shares", "masked")
    mine, other = session.shops[ME], session.shops["shop-2"]
    shutil.copy2(other.folder / "sums.sqlite", mine.folder / "sums.sqlite")
    assert session.say(ME, "keys").code == Code.LEDGER_SIGNATURE
    assert mine.rows("halt") == []
    (mine.folder / "sums.sqlite").unlink()
    Session(session.shops, number=1).go("keys", names=[ME])

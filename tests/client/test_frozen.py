"""A job goes on with the log that it began with, for a week at most, and no other job sees it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.app import RecordDict

from client.app import make_app
from client.data_files import EVENTS
from client.frozen import FROZEN, FROZEN_DAYS, is_over
from client.guard import Guard
from client.guard.admission import close_job
from client.importing import import_events
from client.keeping import prune
from client.training import prepared_step
from common.errors import Code, PrivacyError
from common.protocol import HELLO, STEP, Reply
from tests.client.enroll.shops import refusal, said
from tests.client.summing import Session
from tests.client.test_importing import csv, keep, log
from tests.conftest import shop_of

NOW = datetime.now(UTC)
WEEK = timedelta(days=FROZEN_DAYS)


def new_events(shop: Any) -> Path:
    """Events of a new user about items of the catalogue, later than all others."""
    last = pd.read_parquet(shop.folder / EVENTS)["datetime"].max()
    items = shop.store.catalogue.item_ids[:5]
    rows = [f"somebody-new,{item},{(last + pd.Timedelta(hours=1)).isoformat()}" for item in items]
    return csv(shop.folder, *rows)


def copies(shop: Any) -> list[Path]:
    return sorted((shop.folder / FROZEN).glob("*"))


def at(shop: Any, when: datetime) -> Any:
    """The same client at another time."""
    return replace(shop, app=make_app(simulation=True, clock=lambda: when))


def same(one: Reply, other: Reply) -> bool:
    """Two clients have answered, and with the same bytes."""
    arrays = ({name: array.tobytes() for name, array in r.arrays.items()} for r in (one, other))
    return one.code == other.code == "ok" and next(arrays) == next(arrays)


def oldest(folder: Path) -> datetime:
    found: datetime = pd.read_parquet(folder / EVENTS)["datetime"].min().to_pydatetime()
    return found


def keep_all_of_today(folder: Path) -> datetime:
    """Set `retention_days` so that nothing is too old yet; when the first event will be."""
    day = oldest(folder).replace(hour=0, minute=0, second=0, microsecond=0)
    keep(folder, (NOW - day).days)
    return day + timedelta(days=(NOW - day).days + 1)


def recent(folder: Path) -> None:
    """Set `retention_days` so that the older half is deleted; it was to be for weeks."""
    middle = pd.read_parquet(folder / EVENTS)["datetime"].sort_values().iloc[200]
    keep(folder, (NOW - middle).days)


def renewed(shop: Any) -> None:
    """As after a backup that was put back: every file is of today."""
    for path in (shop.folder / FROZEN).rglob("*"):
        os.utime(path)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_job_under_way_goes_on_with_the_log_that_it_began_with(
    shop: Any, tmp_path: Path, sealed: bool
) -> None:
    """The second step's bytes are those of a client whose log nobody touched."""
    untouched = shop_of(Path(shutil.copytree(shop.folder.parents[1], tmp_path / "untouched")))
    for one in (shop, untouched):
        assert one.ask(one.task(0)).code == "ok"
    if sealed:
        said("client", "seal", shop.folder, "--key-file", tmp_path / "key")
    before = shop.store.snapshot
    path = new_events(untouched)
    done = import_events(shop.folder, path, NOW)
    assert done.added == 5
    assert shop.store.snapshot != before
    assert [one.name for one in (shop.folder / FROZEN).iterdir()] == [
        row.body["snapshot"] for row in shop.rows("admit")
    ]
    assert same(shop.ask(shop.task(1)), untouched.ask(untouched.task(1)))


def test_a_secure_sum_goes_on_with_the_log_that_it_began_with(session: Session) -> None:
    """Before the words, with the new log; after them, with that of the words, in any step."""
    shop = session.first
    session.go("keys", "shares")
    import_events(shop.folder, new_events(shop), NOW)
    assert copies(shop) == []
    session.go("masked")
    older = shop.store.snapshot
    last = pd.read_parquet(shop.folder / EVENTS)["datetime"].max() + pd.Timedelta(hours=1)
    another = csv(shop.folder, f"newest,{shop.store.catalogue.item_ids[0]},{last.isoformat()}")
    assert import_events(shop.folder, another, NOW).added == 1
    assert shop.store.snapshot != older
    assert len(copies(shop)) == 1
    session.go("survivors", "reveal")
    assert session.total().any()
    Session(session.shops, step=1).go("keys", "shares", "masked", "survivors", "reveal")
    assert len({row.body["snapshot"] for row in shop.rows("admit")}) == 1


def test_a_new_job_has_the_new_log_and_the_copy_goes_with_the_old_one(shop: Any) -> None:
    shop.allow_much()
    assert shop.ask(shop.task(0)).code == "ok"
    import_events(shop.folder, new_events(shop), NOW)
    other = shop.variant(job_id="b" * 32)
    assert other.ask(other.task(0)).code == "ok"
    one, two = (row.body["snapshot"] for row in shop.rows("admit"))
    assert one != two
    assert [copy.name for copy in copies(shop)] == [one]
    with shop.ledger() as ledger:
        close_job(ledger, shop.job.job_id)
    assert shop.ask(shop.task(1)).code == Code.JOB_CLOSED
    assert prune(shop.folder, NOW).copies == 1
    assert copies(shop) == []


def test_the_copy_goes_when_the_owner_closes_the_last_job_that_needs_it(
    shop: Any, tmp_path: Path
) -> None:
    """And a new job trains what a client trains that had the new log from the first day."""
    shop.allow_much()
    other = shop.variant(job_id="b" * 32)
    twin = shop_of(Path(shutil.copytree(shop.folder.parents[1], tmp_path / "twin")))
    for one in (shop, other):
        assert one.ask(one.task(0)).code == "ok"
    path = new_events(twin)
    for one in (shop, twin):
        import_events(one.folder, path, NOW)
    assert len(copies(shop)) == 1
    said("budget", shop.folder, "--close", shop.job.job_id)
    assert len(copies(shop)) == 1
    assert other.ask(other.task(1)).code == "ok"
    said("budget", shop.folder, "--close", other.job.job_id)
    assert copies(shop) == []
    assert {one.ask(one.task(2)).code for one in (shop, other)} == {Code.JOB_CLOSED}
    third = "c" * 32
    ours, theirs = (one.variant(job_id=third) for one in (shop, twin))
    assert same(ours.ask(ours.task(0)), theirs.ask(theirs.task(0)))


def test_a_job_that_was_closed_before_leaves_no_copy_either(shop: Any) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    with shop.ledger() as ledger:
        close_job(ledger, shop.job.job_id)
    assert refusal("budget", shop.folder, "--close", shop.job.job_id) == Code.JOB_CLOSED
    assert copies(shop) == []


@pytest.mark.parametrize("asked", [HELLO, STEP])
def test_a_copy_is_used_for_a_week_at_most_and_the_next_message_deletes_it(
    shop: Any, asked: str
) -> None:
    """Without `retention_days`, too, and whether anybody prunes or not."""
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    renewed(shop)
    just = at(shop, NOW + WEEK - timedelta(minutes=1))
    assert just.ask(just.task(1)).code == "ok"
    over = at(shop, NOW + WEEK)
    if asked == HELLO:
        over.send(RecordDict(), HELLO)
    else:
        assert over.ask(over.task(2)).code == Code.CLIENT_UNREADY
    assert copies(shop) == []


def test_prune_deletes_a_copy_after_its_week(shop: Any) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    assert prune(shop.folder, NOW + WEEK - timedelta(minutes=1)).copies == 0
    assert prune(shop.folder, NOW + WEEK).copies == 1


def test_sealing_and_opening_do_not_renew_a_copy(shop: Any, tmp_path: Path) -> None:
    shop.ask(shop.task(0))
    made = NOW - WEEK + timedelta(hours=1)
    import_events(shop.folder, new_events(shop), made)
    said("client", "seal", shop.folder, "--key-file", tmp_path / "key")
    assert shop.ask(shop.task(1)).code == "ok"
    said("client", "unseal", shop.folder)
    over = at(shop, made + WEEK)
    assert over.ask(over.task(2)).code == Code.CLIENT_UNREADY
    assert copies(shop) == []


@pytest.mark.parametrize("text", ["", "soon", "2026-01-01", "9000-01-01T00:00:00+00:00"])
def test_a_copy_that_does_not_say_when_it_ends_is_over(shop: Any, text: str) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    (copy,) = copies(shop)
    (copy / "until").write_text(text)
    assert is_over(copy, NOW)
    assert shop.ask(shop.task(1)).code == Code.CLIENT_UNREADY
    assert copies(shop) == []


def test_a_copy_that_cannot_be_deleted_keeps_the_client_away(shop: Any, monkeypatch: Any) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)

    def refusing(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("client.keeping.shutil.rmtree", refusing)
    over = at(shop, NOW + WEEK)
    assert over.ask(over.task(1)).code == Code.CLIENT_UNREADY
    monkeypatch.undo()
    over.send(RecordDict(), HELLO)
    assert copies(shop) == []


def test_what_is_too_old_is_trained_on_for_a_week_more_at_most(shop: Any, tmp_path: Path) -> None:
    """By a job under way; its bytes are those of a client whose log nobody touched."""
    untouched = shop_of(Path(shutil.copytree(shop.folder.parents[1], tmp_path / "untouched")))
    for one in (shop, untouched):
        assert one.ask(one.task(0)).code == "ok"
    expires = keep_all_of_today(shop.folder)
    gone = oldest(shop.folder)
    next_day = at(shop, expires + timedelta(hours=1))
    assert same(next_day.ask(next_day.task(1)), untouched.ask(untouched.task(1)))
    assert oldest(shop.folder) > gone
    assert [oldest(copy) for copy in copies(shop)] == [gone]
    over = at(shop, expires + WEEK)
    assert over.ask(over.task(2)).code == Code.CLIENT_UNREADY
    assert copies(shop) == []


def test_what_nobody_deleted_in_time_is_not_trained_on_for_another_week(shop: Any) -> None:
    """A node that nobody asked for days: what was to be deleted has had its week."""
    assert shop.ask(shop.task(0)).code == "ok"
    late = keep_all_of_today(shop.folder) + WEEK
    gone = oldest(shop.folder)
    node = at(shop, late)
    assert node.ask(node.task(1)).code == Code.CLIENT_UNREADY
    assert oldest(shop.folder) > gone
    assert copies(shop) == []


def test_the_owner_may_shorten_what_is_kept_while_a_copy_is_there(shop: Any) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    assert shop.ask(shop.task(1)).code == "ok"
    recent(shop.folder)
    assert shop.ask(shop.task(2)).code == Code.CLIENT_UNREADY


def test_a_copy_that_was_changed_is_not_used(shop: Any) -> None:
    shop.ask(shop.task(0))
    import_events(shop.folder, new_events(shop), NOW)
    (copy,) = copies(shop)
    pd.read_parquet(copy / EVENTS).iloc[1:].to_parquet(copy / EVENTS, index=False)
    assert shop.ask(shop.task(1)).code == Code.CLIENT_UNREADY
    (copy / EVENTS).write_bytes(b"PAR1")
    assert shop.ask(shop.task(1)).code == Code.CLIENT_UNREADY


def test_a_job_does_not_begin_with_a_log_that_was_just_replaced(shop: Any) -> None:
    """Nobody keeps a copy for it: it was not in the ledger yet."""
    task = shop.task(0).signed(shop.key)
    with Guard.open(shop.store) as guard:
        import_events(shop.folder, new_events(shop), NOW)
        with pytest.raises(PrivacyError) as caught:
            guard.answer(task, lambda schedule: prepared_step(task, schedule, shop.store))
    assert caught.value.code is Code.SNAPSHOT_CHANGED
    assert "admit" not in shop.kinds()
    assert shop.ask(shop.task(0)).code == "ok"


def test_without_a_job_nothing_is_copied(shop: Any) -> None:
    import_events(shop.folder, new_events(shop), NOW)
    assert copies(shop) == []


def test_a_node_deletes_what_is_too_old_before_a_new_job_sees_it(shop: Any) -> None:
    oldest = pd.read_parquet(shop.folder / EVENTS)["datetime"].min().to_pydatetime()
    days = (datetime.now(UTC) - oldest).days - 5
    keep(shop.folder, days)
    before = len(log(shop.folder))
    assert shop.ask(shop.task(0)).code == "ok"
    after = log(shop.folder)
    assert 0 < len(after) < before
    assert after["datetime"].min() >= datetime.now(UTC) - timedelta(days=days + 1)
    with shop.ledger() as ledger:
        assert shop.rows("admit")[0].body["snapshot"] == ledger.keyed_hash(shop.store.snapshot)

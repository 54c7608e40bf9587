"""New events come into the log once, what cannot be used is named, and no job notices."""

from __future__ import annotations

import io
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.data_files import EVENTS, REJECTED
from client.importing import import_events
from client.keeping import prune
from client.recorded_log import RECORDED, STAYS, recorded_events
from client.service.recorded import Event, Recorded
from client.store import CLIENT_TOML, ClientStore, data_files
from common.errors import Code, ConfigError, DataError
from common.interactions.table import event_table
from tests.client.enroll.shops import (
    enrol_client,
    enrol_server,
    hushrec,
    refusal,
    said,
    write_data,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def _enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("enrolled")
    write_data(base)
    enrol_client(base / "north", "north", enrol_server(base / "server"))
    return base / "north"


@pytest.fixture
def north(_enrolled: Path, tmp_path: Path) -> Path:
    """A client with 90 events of January 2026, and two rows that were set aside."""
    return Path(shutil.copytree(_enrolled, tmp_path / "north"))


def csv(folder: Path, *rows: str, header: str = "user_id,item_id,datetime") -> Path:
    path = folder.parent / "new.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def log(folder: Path) -> pd.DataFrame:
    data = data_files(folder).read(EVENTS)
    assert data is not None
    return pd.read_parquet(io.BytesIO(data))


def rejected(folder: Path) -> pd.DataFrame:
    data = data_files(folder).read(REJECTED)
    assert data is not None
    return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)


def keep(folder: Path, days: int) -> None:
    path = folder / CLIENT_TOML
    path.write_text(f"retention_days = {days}\n{path.read_text()}")


def record(folder: Path, *events: Any) -> Recorded:
    """What the service writes: user, item, time, and a rating or none; it is still open."""
    service = Recorded.open(folder)
    made = [
        Event(f"e{number}", user, item, int(time.timestamp() * 1_000_000), *rating)
        for number, (user, item, time, *rating) in enumerate(events)
    ]
    service.write(made, 0)
    return service


def test_new_events_come_in_and_old_ones_once(north: Path) -> None:
    before = log(north)
    path = csv(north, "u1,a,2026-01-01", "new,b,2026-02-01", "new,b,2026-02-01", "new,c,2026-02-02")
    done = import_events(north, path, NOW)
    assert (done.added, done.repeated, done.expired, done.events) == (2, 1, 0, 92)
    assert (done.set_aside, done.reasons) == (1, {"duplicate": 1})
    after = log(north)
    pd.testing.assert_frame_equal(after.iloc[:90], before)
    assert list(after["item_id"][90:]) == ["b", "c"]
    assert "new" in ClientStore.open(north).user_ids


def test_a_log_that_was_lost_is_begun_again(north: Path) -> None:
    """As after a key that is gone: what is sealed with it is deleted by its owner."""
    (north / EVENTS).unlink()
    done = import_events(north, csv(north, "new,b,2026-02-01"), NOW)
    assert (done.added, done.events) == (1, 1)
    assert ClientStore.open(north).user_ids == ("new",)


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder of another user takes root")
def test_a_folder_of_another_user_is_left_alone(north: Path) -> None:
    os.chown(north, 12345, -1)
    with pytest.raises(ConfigError) as caught:
        import_events(north, csv(north, "new,b,2026-02-01"), NOW)
    assert "user 12345" in caught.value.message
    with pytest.raises(ConfigError):
        prune(north, NOW)
    assert len(log(north)) == 90


def test_the_same_file_again_changes_nothing(north: Path) -> None:
    path = csv(north, "new,b,2026-02-01")
    import_events(north, path, NOW)
    before = (north / EVENTS).stat().st_ino
    done = import_events(north, path, NOW)
    assert (done.added, done.repeated) == (0, 1)
    assert (north / EVENTS).stat().st_ino == before


def test_rows_that_cannot_be_used_are_appended_with_their_file_and_day(north: Path) -> None:
    path = csv(north, "new,nobody-sells-this,2026-02-01", "new,b,yesterday", "new,b,2026-02-01")
    for _ in range(2):  # an import that is done again names nothing twice
        done = import_events(north, path, NOW)
    assert done.set_aside == 2
    rows = rejected(north)
    assert list(rows["reason"])[:2] == ["unknown-item", "missing"]
    assert sorted(rows["reason"][2:]) == ["no-time", "unknown-item"]
    assert list(rows["file"]) == ["", "", "new.csv", "new.csv"]
    assert list(rows["imported"])[2:] == ["2026-06-01"] * 2
    assert all(rows["imported"])


@pytest.mark.parametrize(
    ("header", "row", "code"),
    [
        ("user_id,item_id", "new,b", Code.DATA_FORMAT),
        ("user_id,item_id,datetime", "new,nobody-sells-this,2026-01-01", Code.DATA_EMPTY),
        ("user_id,price", "new,1", Code.DATA_FORMAT),
    ],
)
def test_a_file_that_cannot_be_used_leaves_the_log(
    north: Path, header: str, row: str, code: Code
) -> None:
    before = (north / EVENTS).read_bytes()
    with pytest.raises(DataError) as caught:
        import_events(north, csv(north, row, header=header), NOW)
    assert caught.value.code is code
    assert (north / EVENTS).read_bytes() == before


def test_what_the_service_recorded_is_taken_and_deleted_there(north: Path) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    events = [("r1", "a", day), ("r1", "a", day), ("r2", "gone-since", day), ("u1", "a", day)]
    with record(north, *events) as service:
        done = import_events(north, None, NOW, recorded=True)
        assert (done.recorded, done.added, done.repeated, done.set_aside) == (4, 2, 1, 1)
        assert recorded_events(north) == []
        service.write([Event("later", "r1", "b", 1)], 0)
        assert [one.item_id for one in recorded_events(north)] == ["b"]
    assert rejected(north)["file"].to_list()[-1] == RECORDED
    assert list(log(north)["user_id"][90:]) == ["r1", "u1"]


def test_a_rating_is_what_a_file_says_and_nothing_else(north: Path) -> None:
    """Who met an item without rating it has not rated it 1; and a rating of before stands."""
    header, day = "user_id,item_id,rating,datetime", datetime(2026, 3, 1, tzinfo=UTC)
    import_events(north, csv(north, "r1,a,4.5,2026-02-01", "r1,a,2,2026-02-02", header=header), NOW)
    import_events(north, csv(north, "r1,b,2026-02-03"), NOW)
    with record(north, ("r1", "a", day), ("r1", "c", day)):
        import_events(north, None, NOW, recorded=True)
    store = ClientStore.open(north)
    mine = np.array([store.user_ids.index("r1")])
    assert store.rated.take(mine).items.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(store.rated.take(mine).weights, [2.0, np.nan, np.nan])
    assert (store.histories.weights == 1).all()
    others = np.flatnonzero(np.array(store.user_ids) != "r1")
    assert np.isnan(store.rated.take(others).weights).all()  # the shop enrolled without any


def ratings(folder: Path, user: str) -> list[float]:
    store = ClientStore.open(folder)
    return store.rated.take(np.array([store.user_ids.index(user)])).weights.tolist()


def test_ratings_that_the_service_recorded_come_into_the_log(north: Path) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    rows = (("r1", "a", day, 4.5), ("r1", "b", day), ("r1", "c", day, 1e-3))
    with record(north, *rows, ("r1", "gone", day, 2.0), ("r1", "gone", day)):
        done = import_events(north, None, NOW, recorded=True)
        assert (done.recorded, done.added, done.set_aside) == (5, 3, 2)
    np.testing.assert_array_equal(log(north)["weight"][90:], [4.5, np.nan, 1e-3])
    time = int(day.timestamp()) * 1_000_000
    told = [["r1", "gone", time, 2.0], ["r1", "gone", time]]
    assert [json.loads(raw) for raw in rejected(north)["raw"][-2:]] == told


@pytest.mark.parametrize("together", [True, False])
def test_a_rating_of_an_event_that_the_shop_s_file_has_without_one_is_not_lost(
    north: Path, together: bool
) -> None:
    """The shop records as it sells, and its table of the night has no ratings."""
    day, header = datetime(2026, 3, 1, tzinfo=UTC), "user_id,item_id,rating,datetime"
    path = csv(north, "r1,a,2026-03-01", "r1,b,2026-03-01", "r1,c,2026-03-01")
    if not together:
        import_events(north, path, NOW)
    with record(north, ("r1", "a", day, 4.0), ("r1", "a", day, 1.0), ("r1", "b", day)):
        done = import_events(north, path if together else None, NOW, recorded=True)
    assert (done.added, done.recorded) == (3 if together else 0, 3)
    assert (done.repeated, done.rated) == (3, 0 if together else 1)
    np.testing.assert_array_equal(ratings(north, "r1"), [4.0, np.nan, np.nan])
    before = (north / EVENTS).stat().st_ino
    again = csv(north, "r1,a,5,2026-03-01", "r1,b,3,2026-03-01", header=header)
    done = import_events(north, again, NOW)  # a file changes nothing of what is there
    assert (done.repeated, done.rated) == (2, 0)
    assert (north / EVENTS).stat().st_ino == before
    np.testing.assert_array_equal(ratings(north, "r1"), [4.0, np.nan, np.nan])


def test_a_quantity_of_the_shop_s_file_is_never_put_in_the_place_of_a_rating(north: Path) -> None:
    """Nor does it fill an event that nobody rated; new events alone have what the file says."""
    day, header = datetime(2026, 3, 1, tzinfo=UTC), "user_id,item_id,quantity,datetime"
    import_events(north, csv(north, "r1,b,2026-03-01"), NOW)
    path = csv(north, *(f"r1,{item},6,2026-03-01" for item in "abc"), header=header)
    with record(north, ("r1", "a", day, 4.0), ("r1", "c", day)):
        done = import_events(north, path, NOW, recorded=True)
    assert (done.added, done.repeated, done.rated) == (2, 3, 0)
    np.testing.assert_array_equal(ratings(north, "r1"), [4.0, np.nan, 6.0])


def test_an_event_that_is_twice_in_the_log_is_rated_once(north: Path) -> None:
    day, files = datetime(2026, 3, 1, tzinfo=UTC), data_files(north)
    rows = event_table(
        ["r1"] * 4, ["a", "a", "b", "b"], [3.0, 1, 1, 1], [1_772_323_200_000_000] * 4
    )
    rows["weight"] = [3.0, np.nan, np.nan, np.nan]
    whole = pd.concat([log(north), rows], ignore_index=True)
    files.write(EVENTS, whole.to_parquet(index=False))
    with record(north, ("r1", "a", day, 4.0), ("r1", "b", day, 2.0)):
        done = import_events(north, None, NOW, recorded=True)
    assert (done.added, done.repeated, done.rated) == (0, 2, 2)
    np.testing.assert_array_equal(log(north)["weight"][90:], [3.0, np.nan, 2.0, 2.0])
    assert ratings(north, "r1") == [3.0, 2.0]


def test_what_was_taken_stays_until_an_import_an_hour_later(north: Path) -> None:
    """A service that reads the new log meanwhile answers with it, and knows who sends it again."""
    day, almost = datetime(2026, 3, 1, tzinfo=UTC), STAYS - timedelta(minutes=1)
    with record(north, ("r1", "a", day), ("r1", "b", day)) as service:
        import_events(north, None, NOW, recorded=True)
        assert service.items_of("r1") == ["a", "b"]
        assert service.write([Event("e0", "r1", "a", None)], 9).repeated == 1
        assert import_events(north, None, NOW + almost, recorded=True).recorded == 0
        assert import_events(north, csv(north, "x,a,2026-05-30"), NOW + STAYS).added == 1
        assert service.items_of("r1") == ["a", "b"]
        service.write([Event("e2", "r1", "c", 1)], 0)
        assert import_events(north, None, NOW + STAYS, recorded=True).recorded == 1
        assert service.items_of("r1") == ["c"]
        service.write([Event("e3", "r2", "a", 1), Event("e1", "r1", "b", 9)], 0)
        assert [one.event_id for one in recorded_events(north)] == ["e3", "e1"]
        assert import_events(north, None, NOW + 2 * STAYS, recorded=True).recorded == 2


def test_an_event_with_its_time_is_one_event_however_late_it_is_sent_again(north: Path) -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(4):
        with record(north, ("r1", "a", day)):
            done = import_events(north, None, NOW + number * STAYS, recorded=True)
        assert done.added == (number == 0)
    assert (log(north)["user_id"] == "r1").sum() == 1


def test_what_was_taken_goes_when_it_is_too_old(north: Path) -> None:
    with record(north, ("r1", "a", NOW)) as service:
        import_events(north, None, NOW, recorded=True)
        keep(north, 10)
        assert prune(north, NOW + timedelta(days=12)).recorded == 1
        assert service.items_of("r1") == []


def test_an_import_whose_pruning_fails_says_that_it_is_done(north: Path) -> None:
    (north / REJECTED).unlink()
    (north / REJECTED).mkdir()
    with pytest.raises(DataError) as caught:
        import_events(north, csv(north, "new,b,2026-02-01"), NOW)
    assert "the import is done" in caught.value.message
    assert len(log(north)) == 91


def test_a_client_without_a_service_has_nothing_recorded(north: Path) -> None:
    assert import_events(north, None, NOW, recorded=True).recorded == 0
    assert not (north / RECORDED).exists()


def test_deleted_events_are_nowhere_in_the_file(north: Path) -> None:
    keep(north, 10)
    old, new = NOW - timedelta(days=30), NOW - timedelta(days=1)
    users = [(f"somebody-{n}", "a", old if n % 2 else new) for n in range(50)]
    record(north, *users).close()
    import_events(north, csv(north, "new,b,2026-05-31"), NOW)
    left = b"".join(path.read_bytes() for path in north.glob(f"{RECORDED}*"))
    assert b"somebody-48" in left
    assert b"somebody-49" not in left
    assert len(recorded_events(north)) == 25


def test_old_events_are_deleted_and_no_new_ones_are_too_old(north: Path) -> None:
    keep(north, 149)  # from 2026-01-03 on
    path = csv(north, "new,b,2026-01-02", "new,b,2026-01-03", "new,b,2026-05-01")
    done = import_events(north, path, NOW)
    assert (done.added, done.repeated, done.events) == (2, 0, 32)
    assert done.expired == 61
    assert log(north)["datetime"].min() == pd.Timestamp("2026-01-03", tz="UTC")


def test_prune_alone(north: Path) -> None:
    keep(north, 149)
    done = prune(north, NOW)
    assert (done.events, done.kept, done.copies) == (60, 30, 0)
    assert done.before == datetime(2026, 1, 3, tzinfo=UTC)
    assert prune(north, NOW).events == 0
    assert prune(north, NOW + timedelta(days=400)).kept == 0


def test_rows_set_aside_go_by_the_day_of_their_import(north: Path) -> None:
    """Those of the enrolment by the day of the file."""
    keep(north, 30)
    today = datetime.now(UTC)
    import_events(north, csv(north, "new,nobody-sells-this,2026-05-30", "new,a,2026-05-30"), today)
    assert prune(north, today + timedelta(days=29)).rejected == 0
    assert len(rejected(north)) == 3
    assert prune(north, today + timedelta(days=40)).rejected == 3
    assert not (north / REJECTED).exists()


def test_without_retention_everything_is_kept(north: Path) -> None:
    done = prune(north, datetime(2100, 1, 1, tzinfo=UTC))
    assert (done.events, done.rejected, done.before) == (0, 0, None)
    assert len(log(north)) == 90


def without_times(folder: Path, *, but: int = 0) -> None:
    """As the log of a table without times is kept: the order of its rows, in seconds."""
    table = log(folder)
    order = pd.Series(pd.to_datetime(range(len(table)), unit="s", utc=True)).astype(
        "datetime64[us, UTC]"
    )
    order[len(table) - but :] = table["datetime"][len(table) - but :]
    table.assign(datetime=order).to_parquet(folder / EVENTS, index=False)


@pytest.mark.parametrize("but", [0, 1, 89])
def test_events_without_times_cannot_be_too_old(north: Path, but: int) -> None:
    """Neither alone nor among others that have times."""
    without_times(north, but=but)
    keep(north, 30)
    with pytest.raises(ConfigError) as caught:
        prune(north, NOW)
    assert "retention_days" in caught.value.where
    assert f"{90 - but} of 90 events" in caught.value.message
    assert len(log(north)) == 90


def test_a_new_event_with_a_time_does_not_delete_a_log_without(north: Path) -> None:
    without_times(north)
    keep(north, 730)
    before = (north / EVENTS).read_bytes(), (north / REJECTED).read_bytes()
    with pytest.raises(ConfigError):
        import_events(north, csv(north, "new,b,2026-05-31", "new,nothing,2026-05-31"), NOW)
    assert ((north / EVENTS).read_bytes(), (north / REJECTED).read_bytes()) == before


def test_a_node_deletes_nothing_of_a_log_without_times(shop: Any) -> None:
    without_times(shop.folder, but=1)
    keep(shop.folder, 730)
    before = (shop.folder / EVENTS).read_bytes()
    assert shop.ask(shop.task(0)).code == Code.CLIENT_UNREADY
    assert (shop.folder / EVENTS).read_bytes() == before


def test_a_new_event_of_1970_is_too_old_and_keeps_no_other_away(north: Path) -> None:
    keep(north, 36_500)
    done = import_events(north, csv(north, "new,b,1970-01-02", "new,b,2026-05-31"), NOW)
    assert (done.added, done.expired, done.events) == (1, 1, 91)
    assert prune(north, NOW).events == 0


def test_the_commands(north: Path) -> None:
    keep(north, 36_500)
    path = csv(north, "new,b,2026-02-01", "new,nobody-sells-this,2026-02-01")
    done = said("client", "import", north, path)
    assert (done["added"], done["set_aside"], done["events"]) == (1, 1, 91)
    shown = hushrec("client", "import", north, path, "--recorded").output
    assert "0 events are new, 1 were there already." in shown
    assert f"unknown-item 1. They are in {north.resolve() / REJECTED}." in shown
    assert "got the rating" not in shown
    with record(north, ("new", "b", datetime(2026, 2, 1, tzinfo=UTC), 4.0)):
        shown = hushrec("client", "import", north, "--recorded").output
        assert "1 events of the log got the rating that was recorded with them." in shown
    assert said("client", "import", north, "--recorded")["rated"] == 0
    assert said("client", "prune", north)["kept"] == 91
    assert "Deleted what is older than" in hushrec("client", "prune", north).output
    assert hushrec("client", "import", north).exit_code == 2
    assert refusal("client", "import", north.parent, path) == Code.CONFIG_NOT_FOUND
    assert refusal("client", "import", north, north / "nothing.csv") == Code.DATA_NOT_FOUND

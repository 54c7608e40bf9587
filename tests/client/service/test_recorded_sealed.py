"""Recorded events in a sealed folder: their file says nothing, and the service goes on."""

import json
import threading

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data_files import DataFiles
from client.importing import import_events
from client.recorded_file import RECORDED
from client.recorded_log import STAYS, forget_taken, is_in_the_clear, recorded_events
from client.sealed import make_key
from client.sealing import seal_folder, unseal_folder
from client.service.desk import now
from client.service.recorded import Event, Recorded
from client.service.v1 import recommender_pb2 as pb
from client.store import CLIENT_TOML, sealer_of
from common.errors import Code, DataError
from tests.client.enroll.shops import said
from tests.client.service.shop import make_shop, refusal, serving
from tests.client.service.test_recorded import laid_out

SEALED = (grpc.StatusCode.FAILED_PRECONDITION, "store-sealed")
IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789-_ü漢", min_size=8, max_size=60)
TIMES = st.integers(1_600_000_000_000_000, 1_900_000_000_000_000)
EVENTS = st.builds(Event, IDS, IDS, IDS, TIMES)


def raw(folder):
    """All bytes of the file, its journal and its index."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{RECORDED}*")))


def told(folder, events):
    """What of the events the bytes show."""
    found, shown = raw(folder), []
    for event in events:
        for text in (event.event_id, event.user_id, event.item_id):
            spelt = {text.encode(), text.encode("utf-16-le"), repr(text)[1:-1].encode()}
            shown += [text for one in spelt if one in found]
        shown += [event.microseconds] * (event.microseconds.to_bytes(8, "big")[1:] in found)
        shown += [event.microseconds] * (str(event.microseconds).encode() in found)
    return shown


def ids(folder):
    return [event.event_id for event in recorded_events(folder)]


@settings(max_examples=15, deadline=None)
@given(
    batches=st.lists(
        st.lists(EVENTS, min_size=1, max_size=20, unique_by=lambda one: one.event_id), min_size=1
    ),
    plain=st.integers(0, 3),
)
def test_the_bytes_of_a_sealed_file_name_nobody(tmp_path_factory, batches, plain):
    """Recorded in the clear, sealed, recorded on, in part deleted: at each moment."""
    folder = laid_out(tmp_path_factory.mktemp("recorded") / "north")
    events = [event for batch in batches for event in batch]
    with Recorded.open(folder) as recorded:
        for batch in batches[:plain]:
            recorded.write(batch, 0)
        seal_folder(folder, folder.with_name("key"))
        assert told(folder, events) == []
        for batch in batches:
            recorded.write(batch, 0)
        assert told(folder, events) == []
        assert set(ids(folder)) == {event.event_id for event in events}
        assert forget_taken(folder, 3, now()) == 0
        taken = min(3, len({event.event_id for event in events}))
        assert forget_taken(folder, 3, now() + STAYS) == taken
        assert told(folder, events) == []
    assert told(folder, events) == []


def test_the_same_shopper_twice_is_not_the_same_bytes(tmp_path):
    """Rows differ in everything but size, which is that of up to 64 bytes more."""
    folder = laid_out(tmp_path / "north", is_sealed=True)
    with Recorded.open(folder) as recorded:
        for number, item in enumerate(("short", "rather-longer")):
            recorded.write([Event(f"e{number}", "the same", item, 5)], 0)
        rows = recorded._reader.execute("SELECT event_hash, content FROM sealed").fetchall()
    (one, first), (other, second) = rows
    assert one != other
    assert len(first) == len(second)
    assert first[57:] != second[57:]


def test_a_process_of_before_ratings_reads_rows_without_one(tmp_path):
    """It takes the fields that it knows, and one more would be its end."""
    folder = laid_out(tmp_path / "north", is_sealed=True)
    sealer = sealer_of(folder)
    with Recorded.open(folder) as recorded:
        recorded.write([Event("plain", "u", "a", 5), Event("rated", "u", "b", 6, 4.5)], 0)
        rows = recorded._reader.execute("SELECT seq, content FROM sealed ORDER BY seq").fetchall()
    opened = [json.loads(sealer.open(row, f"{RECORDED}/sealed/content/{n}")) for n, row in rows]
    assert opened == [["plain", "u", "a", 5], ["rated", "u", "b", 6, 4.5]]
    assert [one.rating for one in recorded_events(folder)] == [None, 4.5]


def test_a_row_is_bound_to_its_place(tmp_path):
    folder = laid_out(tmp_path / "north", is_sealed=True)
    events = [Event("first", "u", "a", 5), Event("second", "v", "b", 5)]
    with Recorded.open(folder) as recorded:
        recorded.write(events, 0)
        swap = "UPDATE sealed SET content = (SELECT content FROM sealed WHERE seq = 2)"
        recorded._writer.execute(swap)
        with pytest.raises(DataError) as caught:
            recorded.items_of("u")
        assert caught.value.code is Code.DATA_FORMAT


def test_a_hash_is_bound_to_its_row(tmp_path):
    folder = laid_out(tmp_path / "north", is_sealed=True)
    with Recorded.open(folder) as recorded:
        recorded.write([Event("first", "u", "a", 5), Event("second", "v", "b", 5)], 0)
        hashes = [
            row[0] for row in recorded._writer.execute("SELECT event_hash FROM sealed ORDER BY seq")
        ]
        for seq, value in ((1, b"away"), (2, hashes[0]), (1, hashes[1])):
            recorded._writer.execute("UPDATE sealed SET event_hash = ? WHERE seq = ?", (value, seq))
        with pytest.raises(DataError) as caught:
            recorded.write([Event("first", "u", "a", 5)], 0)
        assert caught.value.code is Code.DATA_FORMAT


def test_a_file_in_the_clear_is_sealed_by_the_service_s_start(tmp_path):
    """A backup from before, or a crash of `seal` before it came to this file."""
    folder, event = (
        laid_out(tmp_path / "north"),
        Event("order-17", "ada-lovelace", "teapot", 1_760_000_000_000_000),
    )
    with Recorded.open(folder) as recorded:
        recorded.write([event], 0)
    make_key(tmp_path / "key")
    toml = folder / CLIENT_TOML
    toml.write_text(f'key_file = "{tmp_path / "key"}"\n{toml.read_text()}')
    assert is_in_the_clear(folder)
    with Recorded.open(folder) as recorded:
        assert told(folder, [event]) == []
        assert recorded.items_of("ada-lovelace") == ["teapot"]
        assert not is_in_the_clear(folder)


def test_another_key_and_none(tmp_path):
    folder = laid_out(tmp_path / "north", is_sealed=True)
    with Recorded.open(folder) as recorded:
        recorded.write([Event("e", "u", "a", 5)], 0)
    toml = (folder / CLIENT_TOML).read_text()
    make_key(tmp_path / "other")
    for changed in (toml.replace("north.key", "other"), toml.partition("\n")[2]):
        (folder / CLIENT_TOML).write_text(changed)
        with Recorded.open(folder) as recorded:
            for call in (lambda: recorded.items_of("u"), lambda: recorded.write([], 0)):
                with pytest.raises(DataError) as caught:
                    call()
                assert caught.value.code is Code.STORE_SEALED
        with pytest.raises(DataError):
            forget_taken(folder, 1, now())
    (folder / CLIENT_TOML).write_text(toml)
    assert ids(folder) == ["e"]


def test_a_service_goes_on_while_its_folder_is_sealed_and_opened(tmp_path):
    folder, key = make_shop(tmp_path / "north"), tmp_path / "key"
    over, kept = threading.Event(), []
    with serving(folder) as (_, caller):
        caller.record(("first", "u1", "i1"))

        def work(name):
            while not over.is_set():
                sent = f"{name}-{len(kept)}"
                assert caller.record((sent, "shopper", "i2")).recorded == 1
                kept.append(sent)

        threads = [threading.Thread(target=work, args=(f"till-{n}",)) for n in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            assert RECORDED in said("client", "seal", folder, "--key-file", key)["files"]
            assert not is_in_the_clear(folder)
            assert RECORDED in said("client", "unseal", folder)["files"]
            assert is_in_the_clear(folder)
        seal_folder(folder, key)
        over.set()
        for thread in threads:
            thread.join()
        assert set(ids(folder)) == {"first", *kept}
        assert b"till-" not in raw(folder)
        assert caller.record(("first", "u1", "i1")).repeated == 1
        profile = caller.Profile(pb.ProfileRequest(user_id="shopper"))
        assert [item.item_id for item in profile.items] == ["i2"]
        unseal_folder(folder)
        assert caller.Profile(pb.ProfileRequest(user_id="shopper")) == profile
        assert caller.record((kept[0], "shopper", "i2")).repeated == 1


def test_a_service_whose_key_is_away(tmp_path):
    folder, key = make_shop(tmp_path / "north"), tmp_path / "key"
    seal_folder(folder, key)
    with serving(folder) as (service, caller):
        assert caller.record(("one", "u1", "i1")).recorded == 1
        away = key.rename(tmp_path / "away")
        assert refusal(lambda: caller.record(("two", "u1", "i2"))) == SEALED
        assert refusal(lambda: caller.Profile(pb.ProfileRequest(user_id="u1"))) == SEALED
        assert caller.Search(pb.SearchRequest(query="blend 7")).items
        nobody = service.desk.had(service.desk.stock, "")
        assert [len(part) for part in nobody] == [0, 0]
        away.rename(key)
        assert caller.record(("one", "u1", "i1"), ("two", "u1", "i2")).recorded == 1
    key.rename(away)
    with pytest.raises(DataError) as caught, serving(folder):
        pass
    assert caught.value.code is Code.STORE_SEALED
    away.rename(key)
    assert ids(folder) == ["one", "two"]


def test_an_import_takes_sealed_events_and_the_service_forgets_them(tmp_path):
    folder = make_shop(tmp_path / "north")
    seal_folder(folder, tmp_path / "key")
    with Recorded.open(folder) as recorded:
        recorded.write([Event("a", "new-one", "i1", 5), Event("b", "u1", "i2", 5)], 0)
        assert recorded.items_of("new-one") == ["i1"]
        done = import_events(folder, None, now(), recorded=True)
        assert (done.recorded, done.added) == (2, 2)
        assert recorded_events(folder) == []
        recorded.write([Event("c", "new-one", "i3", 5)], 0)
        assert recorded.items_of("new-one") == ["i1", "i3"]
        import_events(folder, None, now() + STAYS, recorded=True)
        assert recorded.items_of("new-one") == ["i3"]
    files = DataFiles(folder, tmp_path / "key")
    assert b"new-one" in (files.read("events.parquet") or b"")

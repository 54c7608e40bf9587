"""Events that are recorded with a rating: refused, kept, counted, brought into the log."""

import json
import math
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from client import recorded_file
from client.importing import import_events
from client.recorded_file import RECORDED, connect, transaction
from client.recorded_log import recorded_events
from client.recorded_rows import PlainRows, RecordedEvent, SealedRows, set_form
from client.sealing import seal_folder
from client.service.desk import Desk
from client.service.recorded import Event, Rating, Recorded
from client.service.v1 import recommender_pb2 as pb
from client.store import sealer_of
from common.interactions.table import event_table
from tests.client.service.shop import ITEMS, deliver, ids, likes, make_shop, serving
from tests.client.service.test_ratings import MEAN, MODEL, a_model, best, rate
from tests.client.service.test_recorded import laid_out

MINE = dict(zip(likes(3), (5.0, 1.0, 4.0, 2.5), strict=True))
LOGGED = 1_760_000_000_000_000
"""Time of the log's first event; each is a microsecond later."""
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    folder = make_shop(tmp_path / "north")
    rate(folder, u3=list(MINE.values()))
    deliver(folder, model=MODEL)
    return folder


def at(microseconds):
    event = pb.Event()
    event.time.FromMicroseconds(microseconds)
    return event.time


def test_what_is_recorded_with_a_rating_counts_as_rated_so(folder):
    first = likes(3)[0]
    with serving(folder) as (_, caller):
        done = caller.record(("new", "u3", "i0", 5.0), ("one", "guest", "i8", 1.0))
        assert (done.recorded, list(done.refused)) == (2, [])
        assert ids(caller.recommend("u3").items) == best({**MINE, 0: 5.0})
        assert best({**MINE, 0: 5.0}) != best({**MINE, 0: MEAN})
        assert ids(caller.recommend("guest").items) == best({8: 1.0})
        caller.record(("again", "u3", f"i{first}", 1.5), ("met", "u3", f"i{first}"))
        rated = {**MINE, 0: 5.0, first: 1.5}  # the newest, and a meeting takes nothing back
        assert ids(caller.recommend("u3").items) == best(rated)
        shown = caller.recommend("u3", context_item_ids=["i0"])
        assert ids(shown.items) == best(rated)


def test_a_rating_of_before_the_log_s_does_not_count(folder):
    first = likes(3)[0]
    with serving(folder) as (_, caller):
        for name, microseconds, rating, counts in (
            ("older", LOGGED, 1.0, 5.0),
            ("same", LOGGED + 12, 1.0, 5.0),  # the log's thirteenth event
            ("newer", LOGGED + 10**6, 2.0, 2.0),
            ("late", LOGGED + 5 * 10**5, 4.0, 2.0),
        ):
            event = pb.Event(event_id=name, user_id="u3", item_id=f"i{first}", rating=rating)
            event.time.CopyFrom(at(microseconds))
            assert caller.RecordEvents(pb.RecordEventsRequest(events=[event])).recorded == 1
            assert ids(caller.recommend("u3").items) == best({**MINE, first: counts}), name
        event = pb.Event(event_id="oldest", user_id="u3", item_id="i0", rating=5.0, time=at(0))
        caller.RecordEvents(pb.RecordEventsRequest(events=[event]))
        rated = {**MINE, first: 2.0, 0: 5.0}  # of 1970, and the only one that there is
        assert ids(caller.recommend("u3").items) == best(rated)


def test_of_one_call_the_last_rating_counts_there_and_in_the_log(folder):
    with serving(folder) as (_, caller):
        sent = [(f"e{n}", "u3", "i0", rating) for n, rating in enumerate((2.0, 1.0, 5.0))]
        assert caller.record(*sent).recorded == 3
        assert ids(caller.recommend("u3").items) == best({**MINE, 0: 5.0})
        assert caller.record(*sent[::-1]).repeated == 3
        times = [one.microseconds for one in recorded_events(folder)]
        assert times == [times[0], times[0] + 1, times[0] + 2]
        late = datetime.now(UTC) + timedelta(minutes=1)
        assert import_events(folder, None, late, recorded=True).added == 3
        assert ids(caller.recommend("u3").items) == best({**MINE, 0: 5.0})


def test_an_event_is_the_same_with_the_same_rating_alone(folder):
    with serving(folder) as (_, caller):
        for seal in (None, folder.with_name("key")):
            one, other = f"rated-{seal}", f"not-{seal}"
            assert caller.record((one, "u3", "i0", 0.1), (other, "u3", "i2")).recorded == 2
            assert caller.record((one, "u3", "i0", 0.1), (other, "u3", "i2")).repeated == 2
            changed = ((one, "u3", "i0", 0.2), (one, "u3", "i0"), (other, "u3", "i2", 3.0))
            done = caller.record(*changed)
            assert [(no.index, no.reason) for no in done.refused] == [
                (place, "conflict") for place in range(3)
            ]
            if seal is None:
                seal_folder(folder, folder.with_name("key"))
                assert caller.record((one, "u3", "i0", 0.1)).repeated == 1


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        (math.nan, "not-finite"),
        (math.inf, "not-finite"),
        (-math.inf, "not-finite"),
        (0.0, "not-positive"),
        (-0.0, "not-positive"),
        (-3.5, "not-positive"),
    ],
)
def test_what_is_no_rating_is_refused_and_the_others_kept(folder, rating, reason):
    with serving(folder) as (_, caller):
        done = caller.record(("bad", "u3", "i0", rating), ("good", "u3", "i2", 5e-324))
        (refused,) = done.refused
        assert (refused.index, refused.event_id) == (0, "bad")
        assert (refused.field, refused.reason) == ("rating", reason)
        assert done.recorded == 1
        assert caller.recommend("u3").items
    assert [(one.event_id, one.rating) for one in recorded_events(folder)] == [("good", 5e-324)]


@pytest.mark.parametrize("model", [None, a_model("implicit")], ids=["mf", "implicit"])
def test_other_models_answer_the_same_bytes_with_ratings_and_without(folder, tmp_path, model):
    twin = make_shop(tmp_path / "twin")
    rate(twin, u3=list(MINE.values()))
    for place in (folder, twin):
        deliver(place, 2, model)
    asked = pb.ExplainRequest(user_id="u3", item_id="i11")
    with serving(folder) as (service, caller), serving(twin) as (_, other):
        caller.record(("a", "u3", "i0", 1.0), ("b", "u3", f"i{likes(3)[0]}", 5.0))
        other.record(("a", "u3", "i0"), ("b", "u3", f"i{likes(3)[0]}"))
        reply = caller.recommend("u3", top_k=ITEMS)
        twins = other.recommend("u3", top_k=ITEMS)
        twins.basis.model_serial = reply.basis.model_serial
        assert reply.SerializeToString() == twins.SerializeToString()
        assert caller.Explain(asked).contributions == other.Explain(asked).contributions
        assert not reply.basis.scores_are_ratings
        desk = service.desk
        served = desk.models.answering(desk.stock)
        scores = served.scores(served.vector(desk.history(desk.stock, "u3")))
        assert [one.score for one in reply.items] == [scores[int(n[1:])] for n in ids(reply.items)]


WEIGHTS = st.sampled_from([None, 1.0, 2.5, 5.0])
ROWS = st.tuples(st.sampled_from(["u3", "new"]), st.integers(0, 2), st.integers(0, 3), WEIGHTS)


def write_log(folder, rows):
    """Rows of the log: user, item, moment, rating; an event may be there twice."""
    users, items, moments, weights = zip(*rows, strict=True)
    times = [LOGGED + moment for moment in moments]
    table = event_table(users, [f"i{item}" for item in items], [1.0] * len(rows), times)
    table.assign(weight=np.array(weights, dtype=np.float64)).to_parquet(folder / "events.parquet")


def write_file(folder, rows, *, weighed):
    """The shop's file of the same form; None for one without rows."""
    path, lines = folder / "of_today.csv", ["user_id,item_id,datetime" + ",quantity" * weighed]
    for user, item, moment, quantity in rows:
        time = datetime.fromtimestamp(LOGGED // 10**6, UTC) + timedelta(microseconds=moment)
        line = f"{user},i{item},{time.isoformat(timespec='microseconds')}"
        lines.append(line + f",{6.0 if quantity is None else quantity + 1}" * weighed)
    path.write_text("\n".join([*lines, ""]))
    return path if rows else None


def read_file(rows, *, weighed):
    return [
        (*row[:3], (6.0 if row[3] is None else row[3] + 1) if weighed else None) for row in rows
    ]


def log_of(log, file, recorded):
    """The obvious way: the rating of each event, None for none, once all of them are in the log."""
    known, said = {}, {}
    for *event, rating in log:  # of one moment the last row
        known[*event] = known.get((*event,)) if rating is None else rating
    for *event, rating in recorded:  # of one moment the first that came
        if rating is not None:
            said.setdefault((*event,), rating)
    of_file = {}
    for *event, rating in file:
        of_file.setdefault((*event,), said.get((*event,), rating))
    whole = {(*event,): None for *event, _ in recorded} | said | of_file
    logged = {
        event: said.get(event) if rating is None else rating for event, rating in known.items()
    }
    return whole | logged


def latest(whole, user):
    """By item, oldest meeting first of all: the rating of the last moment that has one."""
    found = {}
    for (who, item, _), rating in sorted(whole.items(), key=lambda one: one[0][2]):
        if who == user:
            found[item] = found.get(item, math.nan) if rating is None else rating
    return found


def ratings_of(history):
    return dict(zip(history.items.tolist(), history.weights.tolist(), strict=True))


@settings(max_examples=20, deadline=None)
@given(
    log=st.lists(ROWS, min_size=1, max_size=5),
    file=st.lists(ROWS, max_size=5),
    recorded=st.lists(ROWS, max_size=8),
    weighed=st.booleans(),
    together=st.booleans(),
)
@example([("u3", 0, 1, 3.0), ("u3", 0, 1, None)], [], [("u3", 0, 1, 4.0)], True, True)
@example([("u3", 0, 0, None)], [("u3", 1, 1, 5.0)], [("u3", 1, 1, 4.0)], True, True)
@example([("u3", 0, 0, None)], [("u3", 0, 0, 5.0)], [], True, True)
def test_an_import_changes_no_rating_that_the_service_answers_with(
    tmp_path_factory, log, file, recorded, weighed, together
):
    """Log, the shop's file and recorded events at the same few moments, about few items."""
    folder = make_shop(tmp_path_factory.mktemp("shops") / "north")
    write_log(folder, log)
    path, brought = write_file(folder, file, weighed=weighed), read_file(file, weighed=weighed)
    with Recorded.open(folder) as written:
        sent = [
            Event(f"e{n}", user, f"i{item}", LOGGED + moment, rating)
            for n, (user, item, moment, rating) in enumerate(recorded)
        ]
        written.write(sent, 0)
    if not together and path is not None:
        assert import_events(folder, path, NOW).rated == 0
        first = log_of(log, brought, [])
        log, path, brought = [(*event, rating) for event, rating in first.items()], None, []
    with closing(Desk.open(folder)) as desk:
        before = {user: desk.history(desk.stock, user) for user in ("u3", "new")}
        done = import_events(folder, path, NOW, recorded=True)
        import_events(folder, None, NOW + timedelta(hours=2), recorded=True)
        assert recorded_events(folder) == []
        whole = log_of(log, brought, recorded)
        said = {(*event,) for *event, rating in recorded if rating is not None}
        rated = {(*event,) for *event, rating in log if rating is not None}
        blank = [(*event,) for *event, rating in log if rating is None]
        assert done.rated == sum(event in said - rated for event in blank)
        new = {(*event,) for *event, _ in brought} - said - {(*event,) for *event, _ in log}
        for user, history in before.items():
            was, after = ratings_of(history), ratings_of(desk.history(desk.stock, user))
            np.testing.assert_equal(after, dict(sorted(latest(whole, user).items())))
            for item, rating in was.items():  # a file changes what it alone has
                same = np.array_equal(after[item], rating, equal_nan=True)
                assert any(event[:2] == (user, item) for event in new) or same


OLD = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    microseconds INTEGER NOT NULL
) STRICT;
CREATE INDEX event_user ON event (user_id);
CREATE TABLE sealed (
    seq INTEGER PRIMARY KEY,
    event_hash BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
) STRICT;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    generation INTEGER NOT NULL,
    seal BLOB
) STRICT;
CREATE TABLE taken (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    seq INTEGER NOT NULL,
    microseconds INTEGER NOT NULL
) STRICT;
"""
OLD_ROW = "INSERT INTO event (seq, event_id, user_id, item_id, microseconds) VALUES (?, ?, ?, ?, ?)"
OLD_EVENTS = [(1, "a", "u", "i1", 5), (2, "b", "u", "i2", 6), (3, "c", "v", "i1", 7)]


def old_file(folder, *, is_sealed):
    """As it was written before events had ratings."""
    connection = sqlite3.connect(folder / RECORDED, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(OLD)
    with transaction(connection):
        if not is_sealed:
            connection.executemany(OLD_ROW, OLD_EVENTS)
        else:
            sealer = sealer_of(folder)
            set_form(connection, sealer)
            hashed = SealedRows(connection, sealer)._hash
            for seq, *event in OLD_EVENTS:
                text = json.dumps(event).encode()
                text = text.ljust(-(-len(text) // 64) * 64)
                content = sealer.seal(text, f"{RECORDED}/sealed/content/{seq}")
                row = (seq, hashed(event[0]), content)
                connection.execute("INSERT INTO sealed VALUES (?, ?, ?)", row)
    return connection


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
def test_a_file_of_before_ratings_goes_on(tmp_path, is_sealed):
    folder = laid_out(tmp_path / "north", is_sealed=is_sealed)
    old_file(folder, is_sealed=is_sealed).close()
    assert [(*one[:5],) for one in recorded_events(folder)] == OLD_EVENTS
    for _ in range(2):  # the second time there is nothing to do
        with Recorded.open(folder) as recorded:
            assert recorded.met("u") == (["i1", "i2"], {})
            assert recorded.write([Event("b", "u", "i2", None)], 9).repeated == 1
            assert recorded.write([Event("b", "u", "i2", 6, 4.0)], 9).conflicts == (0,)
    with Recorded.open(folder) as recorded:
        recorded.write([Event("d", "u", "i1", 8, 4.5)], 9)
        assert recorded.met("u") == (["i2", "i1"], {"i1": Rating(4.5, 8)})
    assert [one.rating for one in recorded_events(folder)] == [None] * 3 + [4.5]


def test_an_old_file_changes_its_form_both_ways_and_keeps_ratings(tmp_path):
    folder = laid_out(tmp_path / "north")
    old_file(folder, is_sealed=False).close()
    with Recorded.open(folder) as recorded:
        recorded.write([Event("d", "u", "i1", 8, 4.123456789012345)], 9)
        before = recorded_events(folder)
        seal_folder(folder, tmp_path / "key")
        assert recorded_events(folder) == before
        assert recorded.met("u")[1] == {"i1": Rating(4.123456789012345, 8)}
        raw = b"".join(path.read_bytes() for path in folder.glob(f"{RECORDED}*"))
        assert b"4.1234" not in raw
        assert np.float64(4.123456789012345).tobytes()[::-1] not in raw


def test_an_old_file_is_brought_up_once_by_many_at_a_time_and_beside_its_writer(
    tmp_path, monkeypatch
):
    """All of them have looked at it before the first changes it."""
    folder = laid_out(tmp_path / "north")
    writer, done = old_file(folder, is_sealed=False), []
    looked, threads_looked, look = (
        threading.Barrier(4, timeout=60),
        set(),
        recorded_file._has_ratings,
    )

    def look_and_wait(connection):
        found, name = look(connection), threading.get_ident()
        if name not in threads_looked:
            threads_looked.add(name)
            looked.wait()
        return found

    def work(number):
        with closing(connect(folder / RECORDED)) as connection, transaction(connection):
            rows = PlainRows(connection)
            rows.put(RecordedEvent(rows.next_seq(), f"n{number}", "u", "i3", 9, 2.0))
        done.append(1)

    monkeypatch.setattr(recorded_file, "_has_ratings", look_and_wait)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert done == [1] * 4
    writer.execute(OLD_ROW, (9, "old", "w", "i1", 9))  # a process of before, still running
    writer.close()
    found = recorded_events(folder)
    assert len(found) == 8
    assert [one.rating for one in found if one.user_id == "w"] == [None]

"""The file of recorded events: against a model in Python, from many threads, after a kill."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.sealed import make_key
from client.service.recorded import RECORDED, Event, Rating, Recorded
from client.store import CLIENT_TOML
from common.errors import Code, DataError
from tests.client.service.shop import CLIENT_TOML as SETTINGS

ROOT = Path(__file__).resolve().parents[3]
EVENTS = st.builds(
    Event,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["u", "ü 2"]),
    st.sampled_from(["i1", "i2"]),
    st.sampled_from([None, 0, 5]),
    st.sampled_from([None, 1.0, 4.5]),
)


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
def folder(request, tmp_path):
    return laid_out(tmp_path / "north", is_sealed=request.param)


def latest_of(own: list[Event]) -> dict[str, Rating]:
    """The obvious way: of those with a rating the newest, of one moment the first."""
    found = {}
    for item in {event.item_id for event in own}:
        rated = [e for e in own if e.item_id == item and e.rating is not None]
        if rated:
            last = max(rated, key=lambda event: event.microseconds)  # the first of equal ones
            found[item] = Rating(last.rating, last.microseconds)
    return found


def laid_out(folder: Path, *, is_sealed: bool = False) -> Path:
    """A client's folder, as far as the file needs it; its key lies beside it."""
    folder.mkdir()
    named = ""
    if is_sealed:
        key = folder.with_name(f"{folder.name}.key")
        make_key(key)
        named = f'key_file = "{key}"\n'
    (folder / CLIENT_TOML).write_text(named + SETTINGS)
    return folder


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(EVENTS, max_size=4), max_size=5))
def test_it_is_a_list_that_knows_its_ids(tmp_path_factory, is_sealed, batches):
    known: dict[str, Event] = {}
    place = tmp_path_factory.mktemp("recorded") / "north"
    with Recorded.open(laid_out(place, is_sealed=is_sealed)) as recorded:
        for now, batch in enumerate(batches, 100):
            new, repeated, conflicts = 0, 0, []
            for place, event in enumerate(batch):
                there = known.get(event.event_id)
                if there is None:
                    known[event.event_id] = Event(
                        event.event_id,
                        event.user_id,
                        event.item_id,
                        now + place if event.microseconds is None else event.microseconds,
                        event.rating,
                    )
                    new += 1
                elif replace(event, microseconds=there.microseconds) == there and (
                    event.microseconds in (None, there.microseconds)
                ):
                    repeated += 1
                else:
                    conflicts.append(place)
            written = recorded.write(batch, now)
            assert (written.recorded, written.repeated) == (new, repeated)
            assert written.conflicts == tuple(conflicts)
        for user in ("u", "ü 2", "nobody"):
            own = [event for event in known.values() if event.user_id == user]
            own.sort(key=lambda event: event.microseconds)  # stable: then as they came
            last_first = dict.fromkeys(event.item_id for event in reversed(own))
            items, ratings = recorded.met(user)
            assert items == recorded.items_of(user) == list(last_first)[::-1]
            assert ratings == latest_of(own)


def test_it_is_the_owners_alone_even_if_it_was_not(folder):
    old = os.umask(0)
    try:
        with Recorded.open(folder) as recorded:
            recorded.write([Event("e", "u", "i", 0)], 0)
            for path in folder.glob(f"{RECORDED}*"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        (folder / RECORDED).chmod(0o644)
        Recorded.open(folder).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / RECORDED).stat().st_mode) == 0o600


def test_every_commit_waits_for_the_disk(folder):
    """The settings that make it so, as SQLite itself reports them."""
    with Recorded.open(folder) as recorded:
        writer = recorded._writer
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_many_threads_and_two_handles_lose_nothing(folder):
    with Recorded.open(folder) as one, Recorded.open(folder) as other:
        done = []

        def work(number: int) -> None:
            handle = (one, other)[number % 2]
            for place in range(20):
                event = Event(f"{number}-{place}", f"u{number}", f"i{place}", 1)
                done.append(handle.write([event], 0).recorded)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(done) == 120
        for number in range(6):
            assert len(one.items_of(f"u{number}")) == 20


def test_a_kill_after_the_write_loses_nothing(folder):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from client.service.recorded import Event, Recorded\n"
        "recorded = Recorded.open(Path(sys.argv[1]))\n"
        "recorded.write([Event('e', 'u', 'i', 1)], 0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with Recorded.open(folder) as recorded:
        assert recorded.items_of("u") == ["i"]


def test_a_write_is_whole_or_nothing(folder):
    with Recorded.open(folder) as recorded:
        holder = sqlite3.connect(folder / RECORDED, isolation_level=None)
        for table in ("event", "sealed"):
            holder.execute(
                f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table} WHEN NEW.seq = 2"
                " BEGIN SELECT RAISE(ABORT, 'no more room'); END"
            )
        holder.close()
        with pytest.raises(DataError) as error:
            recorded.write([Event("1", "u", "first", 0), Event("2", "u", "last", 0)], 0)
        assert "u" not in error.value.message.split()
        assert recorded.items_of("u") == []


def test_a_full_disk_is_said_and_nothing_is_half_written(folder):
    """SQLite's own bound on pages, which ends as a disk does."""
    with Recorded.open(folder) as recorded:
        (pages,) = recorded._writer.execute("PRAGMA page_count").fetchone()
        recorded._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        many = [Event(f"{place}", "u", f"i{place}", 1) for place in range(1000)]
        with pytest.raises(DataError) as error:
            recorded.write(many, 0)
        assert error.value.code == Code.DISK_FULL
        assert recorded.items_of("u") == []
        assert recorded.write(many[:1], 0).recorded == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\x00oops"])
def test_what_is_no_such_file_is_said_and_left_alone(folder, content):
    (folder / RECORDED).write_bytes(content)
    with pytest.raises(DataError) as error:
        Recorded.open(folder)
    assert error.value.code == Code.DATA_FORMAT
    assert (folder / RECORDED).read_bytes() == content


def test_a_folder_that_is_not_there(folder):
    with pytest.raises(DataError) as error:
        Recorded.open(folder / "nowhere")
    assert error.value.code == Code.DATA_NOT_FOUND


def test_a_closed_file_answers_with_an_error_of_ours(folder):
    recorded = Recorded.open(folder)
    recorded.close()
    with pytest.raises(DataError):
        recorded.items_of("u")
    with pytest.raises(DataError):
        recorded.write([Event("e", "u", "i", 0)], 0)

"""The file of recorded events: against a model in Python, from many threads, after a kill."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.service.recorded import RECORDED, Event, Recorded
from common.errors import Code, DataError

ROOT = Path(__file__).resolve().parents[3]
EVENTS = st.builds(
    Event,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["u", "ü 2"]),
    st.sampled_from(["i1", "i2"]),
    st.sampled_from([None, 0, 5]),
)


@settings(max_examples=25)
@given(batches=st.lists(st.lists(EVENTS, max_size=4), max_size=5))
def test_it_is_a_list_that_knows_its_ids(tmp_path_factory, batches):
    known: dict[str, Event] = {}
    with Recorded.open(tmp_path_factory.mktemp("recorded")) as recorded:
        for now, batch in enumerate(batches, 100):
            new, repeated, conflicts = 0, 0, []
            for place, event in enumerate(batch):
                there = known.get(event.event_id)
                if there is None:
                    known[event.event_id] = Event(
                        event.event_id,
                        event.user_id,
                        event.item_id,
                        now if event.microseconds is None else event.microseconds,
                    )
                    new += 1
                elif (there.user_id, there.item_id) == (event.user_id, event.item_id) and (
                    event.microseconds in (None, there.microseconds)
                ):
                    repeated += 1
                else:
                    conflicts.append(place)
            written = recorded.write(batch, now)
            assert (written.recorded, written.repeated) == (new, repeated)
            assert written.conflicts == tuple(conflicts)
        for user in ("u", "ü 2", "nobody"):
            expected = [event.item_id for event in known.values() if event.user_id == user]
            assert recorded.items_of(user) == list(dict.fromkeys(expected))


def test_it_is_the_owners_alone_even_if_it_was_not(tmp_path):
    old = os.umask(0)
    try:
        with Recorded.open(tmp_path) as recorded:
            recorded.write([Event("e", "u", "i", 0)], 0)
            for path in tmp_path.iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        (tmp_path / RECORDED).chmod(0o644)
        Recorded.open(tmp_path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / RECORDED).stat().st_mode) == 0o600


def test_every_commit_waits_for_the_disk(tmp_path):
    """The settings that make it so, as SQLite itself reports them."""
    with Recorded.open(tmp_path) as recorded:
        writer = recorded._writer
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_many_threads_and_two_handles_lose_nothing(tmp_path):
    with Recorded.open(tmp_path) as one, Recorded.open(tmp_path) as other:
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


def test_a_kill_after_the_write_loses_nothing(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from client.service.recorded import Event, Recorded\n"
        "recorded = Recorded.open(Path(sys.argv[1]))\n"
        "recorded.write([Event('e', 'u', 'i', 1)], 0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with Recorded.open(tmp_path) as recorded:
        assert recorded.items_of("u") == ["i"]


def test_a_write_is_whole_or_nothing(tmp_path):
    with Recorded.open(tmp_path) as recorded:
        holder = sqlite3.connect(tmp_path / RECORDED, isolation_level=None)
        holder.execute(
            "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.item_id = 'last'"
            " BEGIN SELECT RAISE(ABORT, 'no more room'); END"
        )
        holder.close()
        with pytest.raises(DataError) as error:
            recorded.write([Event("1", "u", "first", 0), Event("2", "u", "last", 0)], 0)
        assert "u" not in error.value.message.split()
        assert recorded.items_of("u") == []


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path):
    """SQLite's own bound on pages, which ends as a disk does."""
    with Recorded.open(tmp_path) as recorded:
        (pages,) = recorded._writer.execute("PRAGMA page_count").fetchone()
        recorded._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        many = [Event(f"{place}", "u", f"i{place}", 1) for place in range(1000)]
        with pytest.raises(DataError) as error:
            recorded.write(many, 0)
        assert error.value.code == Code.DISK_FULL
        assert recorded.items_of("u") == []
        assert recorded.write(many[:1], 0).recorded == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\x00oops"])
def test_what_is_no_such_file_is_said_and_left_alone(tmp_path, content):
    (tmp_path / RECORDED).write_bytes(content)
    with pytest.raises(DataError) as error:
        Recorded.open(tmp_path)
    assert error.value.code == Code.DATA_FORMAT
    assert (tmp_path / RECORDED).read_bytes() == content


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as error:
        Recorded.open(tmp_path / "nowhere")
    assert error.value.code == Code.DATA_NOT_FOUND


def test_a_closed_file_answers_with_an_error_of_ours(tmp_path):
    recorded = Recorded.open(tmp_path)
    recorded.close()
    with pytest.raises(DataError):
        recorded.items_of("u")
    with pytest.raises(DataError):
        recorded.write([Event("e", "u", "i", 0)], 0)

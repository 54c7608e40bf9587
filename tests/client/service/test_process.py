"""The service as a process of its own: started, asked by the command, killed, ended."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from client.service.v1 import recommender_pb2 as pb
from tests.client.enroll.shops import hushrec, refusal, said
from tests.client.service.shop import Caller, deliver, free_port, make_shop, serving

SHOPPER = "Ada-Lovelace-1815"


COMMAND = (str(Path(sys.executable).with_name("hushrec")), "client", "serve")
MODULE = (sys.executable, "-I", "-m", "client.service")


@contextmanager
def process(folder, place, log, program=MODULE, **more):
    """A service that is ready; ended by its process id."""
    words = (*program, str(folder), "--listen", place)
    environment = {**os.environ, "HUSHREC_LOG": "json"}
    with log.open("ab") as stderr:
        running = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=stderr, env=environment, **more
        )
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"answers at")
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make_shop(tmp_path_factory.mktemp("process") / "north")
    deliver(made)
    return made


def test_what_was_acknowledged_outlives_a_kill_and_no_log_names_anybody(folder, tmp_path):
    place, log = f"127.0.0.1:{free_port()}", tmp_path / "log"
    with process(folder, place, log) as running:
        caller = Caller(folder, place)
        with caller.channel:
            assert caller.record(("killed", SHOPPER, "i4"), ("no", SHOPPER, "?")).recorded == 1
            os.kill(running.pid, signal.SIGKILL)
            assert running.wait(60) == -signal.SIGKILL
    with process(folder, place, log) as running:
        caller = Caller(folder, place)
        with caller.channel:
            assert caller.record(("killed", SHOPPER, "i4")).repeated == 1
            assert caller.recommend(SHOPPER).basis.personal
            with pytest.raises(grpc.RpcError):
                caller.Explain(pb.ExplainRequest(user_id=SHOPPER, item_id=f"not-{SHOPPER}"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    lines = log.read_text().splitlines()
    assert any(json.loads(line).get("state") == "ready" for line in lines)
    assert SHOPPER not in log.read_text()


def test_the_command_serves_and_takes_nothing_from_the_current_folder(folder, tmp_path):
    for name in ("client.py", "grpc.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit(99)")
    place, log = f"127.0.0.1:{free_port()}", tmp_path / "log"
    words = (*COMMAND, "--workers", "2", "--concurrent", "3")
    with process(folder, place, log, words, cwd=tmp_path) as running:
        caller = Caller(folder, place)
        with caller.channel:
            assert caller.recommend("u1").items
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    done = subprocess.run(
        (*COMMAND, folder, "--listen", "0.0.0.0:50051"), capture_output=True, check=False, text=True
    )
    assert done.returncode == 2
    assert "config-invalid" in done.stderr


def test_what_cannot_be_served_is_said_with_a_code(folder):
    words = (*MODULE, str(folder), "--listen", "0.0.0.0:50051")
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["role"], line["code"]) == ("service", "config-invalid")


def test_the_command_asks_what_a_shop_asks(folder):
    with serving(folder) as (_, caller):
        at = ("--at", caller.place)
        reply = said("client", "ask", folder, "recommend", *at, "--user", "u1", "--top", 3)
        expected = [item.item_id for item in caller.recommend("u1", top_k=3).items]
        assert [item["item_id"] for item in reply["items"]] == expected
        assert reply["basis"]["personal"] is True
        asked = {
            "similar": ("--item", "i1"),
            "bundle": ("--item", "i1", "--item", "i3", "--top", 2),
            "search": ("--query", "blend 7", "--category", "hot"),
            "explain": ("--user", "u1", "--item", "i2"),
            "profile": ("--user", "u1"),
        }
        for question, words in asked.items():
            assert said("client", "ask", folder, question, *at, *words)["basis"]["serving"]
        done = said("client", "ask", folder, "record", *at, "--user", "u1", "--item", "i2")
        assert done["recorded"] == 1
        words = ("--user", "u1", "--item", "i2", "--rating")
        assert said("client", "ask", folder, "record", *at, *words, 4.5)["recorded"] == 1
        (refused,) = said("client", "ask", folder, "record", *at, *words, "nan")["refused"]
        assert (refused["field"], refused["reason"]) == ("rating", "not-finite")
        shown = hushrec("client", "ask", folder, "similar", *at, "--item", "i1", "--top", 2)
        assert shown.exit_code == 0
        assert len(shown.stdout.splitlines()) == 2
        assert "method ITEMS" in shown.stderr
        assert refusal("client", "ask", folder, "profile", *at) == "request-invalid"


def test_the_command_says_when_nobody_is_there(folder):
    at = ("--at", f"127.0.0.1:{free_port()}")
    words = ("client", "ask", folder, "recommend", *at, "--user", "u1")
    assert refusal(*words) == "server-unreachable"

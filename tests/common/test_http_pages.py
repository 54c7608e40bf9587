"""Pages are read and nothing else is: no method, no path, no name of another host."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Event, Thread

import pytest

from common.address import Address
from common.errors import Code, ConfigError
from common.http_pages import Answer, PageServer
from tests.common.logging_state import guarded

SECRET = "u4711 bought a book"


def _broken() -> Answer:
    raise ValueError(SECRET)


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    pages = {
        "/": lambda: Answer.html("<!doctype html><title>héllo</title>"),
        "/health": lambda: Answer.json({"ok": False}, 503),
        "/broken": _broken,
    }
    with PageServer(Address("127.0.0.1", 0), pages, names=["monitor"]) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: PageServer, method: str, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_a_page_comes_with_what_keeps_it_alone(server: PageServer) -> None:
    answer, body = ask(server, "GET", "/?any=thing")
    assert (answer.status, body.decode()) == (200, "<!doctype html><title>héllo</title>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] is None


def test_an_object_has_its_status(server: PageServer) -> None:
    answer, body = ask(server, "GET", "/health")
    assert (answer.status, json.loads(body)) == (503, {"ok": False})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_every_other_method_is_not_there(server: PageServer, method: str) -> None:
    answer, body = ask(server, method, "/health")
    assert (answer.status, body) == (404, b"")


@pytest.mark.parametrize("path", ["/health/", "/health//", "/HEALTH", "/../health", "/%68ealth"])
def test_every_other_path_is_not_there(server: PageServer, path: str) -> None:
    answer, body = ask(server, "GET", path)
    assert (answer.status, body) == (404, b"")


def test_what_fails_says_nothing_to_the_caller_and_its_type_to_the_log(
    server: PageServer,
) -> None:
    with guarded() as written:
        answer, body = ask(server, "GET", "/broken")
    assert (answer.status, body) == (500, b"")
    (line,) = written.lines
    assert (line["event"], line["path"], line["error"]) == ("a page fails", "/broken", "ValueError")
    assert line["trace"][-1].endswith(" _broken")
    assert SECRET not in written.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9090", 503),
        ("127.0.0.1", 503),
        ("192.0.2.7:9090", 503),
        ("[::1]:9090", 503),
        ("Monitor:9090", 503),
        ("evil.example", 404),
        ("monitor.evil.example:9090", 404),
        ("[", 404),
    ],
)
def test_no_name_is_answered_that_was_not_given(server: PageServer, host: str, status: int) -> None:
    answer, _ = ask(server, "GET", "/health", Host=host)
    assert answer.status == status


def test_on_every_address_it_is_the_same() -> None:
    """A container listens so, and is published on a loopback where there are browsers."""
    with PageServer(Address("0.0.0.0", 0), {"/": lambda: Answer(b"here")}) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        found = [ask(made, "GET", "/", Host=host)[0].status for host in ("127.0.0.1", "a.example")]
        made.shutdown()
        thread.join()
    assert found == [200, 404]


def test_rubbish_is_refused_without_repeating_it(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30) as there:
        there.sendall(b"<script>alert(1)</script> x y z\r\n\r\n")
        answer = b"".join(iter(lambda: there.recv(4096), b""))
    assert b"script" not in answer


def test_a_caller_too_many_is_hung_up_on_and_the_others_are_answered() -> None:
    inside, leave = Event(), Event()

    def slow() -> Answer:
        inside.set()
        leave.wait(60)
        return Answer(b"done")

    with PageServer(Address("127.0.0.1", 0), {"/": slow}) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        place = made.server_address[:2]
        callers = [socket.create_connection(place, timeout=60) for _ in range(17)]
        for caller in callers:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert inside.wait(60)
        assert _all(callers.pop()) == b""
        leave.set()
        answers = [_all(caller) for caller in callers]
        made.shutdown()
        thread.join()
    assert all(answer.endswith(b"done") for answer in answers)


def test_callers_who_never_come_to_an_end_are_hung_up_on_together() -> None:
    """Each byte of a slow caller is in time, and all of them are not."""
    with PageServer(Address("127.0.0.1", 0), {"/": lambda: Answer(b"done")}, seconds=2) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        place = made.server_address[:2]
        callers = [socket.create_connection(place, timeout=60) for _ in range(16)]
        for caller in callers:
            caller.sendall(b"GET / HTTP/1.1\r\nX: ")
        ended = 0
        while ended < len(callers):
            ended = sum(_drips(caller) for caller in callers)
        answer, _ = ask(made, "GET", "/")
        made.shutdown()
        thread.join()
    assert answer.status == 200


def _drips(caller: socket.socket) -> bool:
    """Send one byte more; whether the other side has hung up."""
    try:
        caller.sendall(b"a")
        caller.settimeout(0.05)
        return caller.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _all(caller: socket.socket) -> bytes:
    with caller:
        return b"".join(iter(lambda: caller.recv(4096), b""))


def test_where_somebody_listens_nobody_else_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError) as caught:
        PageServer(Address("127.0.0.1", taken.getsockname()[1]), {})
    assert caught.value.code is Code.CONFIG_INVALID

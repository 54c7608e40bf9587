"""Whatever is asked from outside, the app hears of what is on the list and of nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from server.gateway.access_log import AccessLog
from server.gateway.limits import Limits
from server.gateway.outside import Inside, Outside

CALLS = frozenset({("POST", "/v1/fleet/get-run"), ("GET", "/health")})
LIMITS = Limits(body_bytes=100, head_bytes=200)
PIECES = [
    *("/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "\\", ";", "?", "#", "%00", "%", "@"),
    *("v1", "V1", "fleet", "fleet%20", "control", "runtime", "get-run", "get%2Drun", "start-run"),
    *("docs", "openapi.json", "health", "HEALTH", "https:", "http:", "127.0.0.1:8000", "*", "é"),
]


class Heard:
    """An app that answers everything, and what it heard."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append((scope["method"], scope["path"]))
        while True:
            message = await receive()
            self.body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessLog]:
    opened = AccessLog(tmp_path_factory.mktemp("log") / "access.jsonl")
    yield opened
    opened.close()


def asked(
    door: Outside | Inside,
    method: str = "POST",
    target: str = "/v1/fleet/get-run",
    headers: tuple[tuple[str, str], ...] = (),
    chunks: tuple[bytes, ...] = (b"",),
    told: list[Message] | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer, all of it in `told`; the request as uvicorn takes it apart."""
    raw, _, query = target.encode().partition(b"?")
    scope = {
        "type": "http",
        "method": method,
        "raw_path": raw,
        "path": unquote(raw.decode("latin-1")),
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.1", 5),
        "state": {},
    }
    parts = list(chunks)
    answer: list[Message] = [] if told is None else told

    async def receive() -> Message:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Message) -> None:
        answer.append(message)

    asyncio.run(door(scope, receive, send))
    return answer[0]["status"], b"".join(part.get("body", b"") for part in answer)


@given(
    method=st.sampled_from(["POST", "GET", "HEAD", "PUT", "post", "CONNECT", "OPTIONS", "PRI"]),
    target=st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
        st.sampled_from(sorted(path for _, path in CALLS)).flatmap(
            lambda path: st.tuples(st.integers(0, len(path)), st.sampled_from(PIECES)).map(
                lambda cut: path[: cut[0]] + cut[1] + path[cut[0] :]
            )
        ),
    ),
)
@example("POST", "/v1/fleet/../control/start-run")
@example("POST", "/v1/fleet/%2e%2e/control/start-run")
@example("POST", "https://127.0.0.1:8000/v1/fleet/get-run")
@example("POST", "//v1/fleet/get-run")
@example("POST", "/v1/fleet/get-run/")
@example("POST", "/v1/fleet/get%2Drun")
@example("POST", "/v1/fleet/get-run?x")
@example("GET", "/v1/fleet/get-run")
@example("POST", "/health")
def test_a_path_that_is_spelt_otherwise_is_not_there(
    log: AccessLog, method: str, target: str
) -> None:
    app = Heard()
    status, body = asked(Outside(app, CALLS, LIMITS, log), method, target)
    if (method, target.removesuffix("?")) in CALLS:
        assert (status, app.calls) == (200, [(method, target.removesuffix("?"))])
    else:
        assert (status, body, app.calls) == (404, b"", [])


@pytest.mark.parametrize("protocol", ["websocket", "h2c", ""])
def test_another_protocol_is_not_there(log: AccessLog, protocol: str) -> None:
    app = Heard()
    door = Outside(app, CALLS, LIMITS, log)
    assert asked(door, headers=(("upgrade", protocol),)) == (404, b"")
    asyncio.run(door({"type": "websocket", "path": "/health"}, None, None))  # type: ignore[arg-type]
    asyncio.run(door({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert app.calls == []


def test_a_body_has_a_largest_size(log: AccessLog) -> None:
    app = Heard()
    assert asked(Outside(app, CALLS, LIMITS, log), chunks=(b"x" * 60, b"x" * 40))[0] == 200
    assert app.body == b"x" * 100


def test_a_body_that_says_it_is_larger_is_not_read(log: AccessLog) -> None:
    app = Heard()
    door = Outside(app, CALLS, LIMITS, log)
    assert asked(door, headers=(("content-length", "101"),)) == (413, b"")
    assert app.calls == []


def test_a_body_that_does_not_say_it_is_cut_off(log: AccessLog) -> None:
    app = Heard()
    assert asked(Outside(app, CALLS, LIMITS, log), chunks=(b"x" * 60,) * 9) == (413, b"")
    assert app.body == b"x" * 60


def test_a_head_has_a_largest_size(log: AccessLog) -> None:
    app = Heard()
    assert asked(Outside(app, CALLS, LIMITS, log), headers=(("x", "y" * 200),)) == (431, b"")
    assert app.calls == []


def test_every_request_from_outside_is_a_line(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    door = Outside(Heard(), CALLS, LIMITS, log)
    secret = (("flwr-public-key", "hidden"), ("authorization", "Bearer hidden"))
    asked(door, headers=secret, chunks=(b"hidden",))
    asked(door, target="/v1/control/start-run?token=hidden", headers=secret)
    log.close()
    assert "hidden" not in (tmp_path / "access.jsonl").read_text()
    passed, refused = _lines(tmp_path / "access.jsonl")
    assert passed == {
        "side": "outside",
        "remote": "192.0.2.1",
        "method": "POST",
        "path": "/v1/fleet/get-run",
        "status": 200,
        "received": 6,
        "sent": 6,
    }
    assert (refused["path"], refused["status"], refused["sent"]) == (
        "/v1/control/start-run",
        404,
        0,
    )


def test_an_app_that_breaks_is_a_line_without_a_status(tmp_path: Path) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("on purpose")

    log = AccessLog(tmp_path / "access.jsonl")
    with pytest.raises(RuntimeError, match="on purpose"):
        asked(Outside(broken, CALLS, LIMITS, log))
    log.close()
    assert [line["status"] for line in _lines(tmp_path / "access.jsonl")] == [0]


def test_who_signs_with_a_wrong_time_is_told_the_right_one(log: AccessLog) -> None:
    """And who asks how the server is; nobody else."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        status = int(scope["headers"][0][1])
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    def names(status: str, *call: str) -> list[bytes]:
        told: list[Message] = []
        asked(Outside(answering, CALLS, LIMITS, log), *call, headers=(("as", status),), told=told)
        return [name for name, _ in told[0]["headers"]]

    assert names("401") == [b"a", b"date"]
    assert names("200") == names("403") == [b"a"]
    assert names("200", "GET", "/health") == names("503", "GET", "/health") == [b"a", b"date"]


def test_inside_everything_is_passed_on_and_polling_is_no_line(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    app = Heard()
    door = Inside(app, log)
    for path in ("/v1/runtime/acquire-task", "/v1/control/list-runs", "/docs"):
        assert asked(door, target=path, chunks=(b"x" * 500,))[0] == 200
    log.close()
    lines = _lines(tmp_path / "access.jsonl")
    assert len(app.calls) == 3
    assert [line["path"] for line in lines] == ["/v1/control/list-runs", "/docs"]
    assert {line["side"] for line in lines} == {"inside"}


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        assert line.pop("time").endswith("+00:00")
        assert line.pop("ms") >= 0
    return lines

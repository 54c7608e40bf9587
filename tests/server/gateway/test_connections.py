"""Nobody holds a connection from outside for ever, and nobody holds all of them."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from common.address import Address
from server.gateway.access_log import AccessLog
from server.gateway.connections import bounded
from server.gateway.folder import ServerFolder
from server.gateway.limits import Limits
from server.gateway.outside import Outside
from server.gateway.serve import listening
from tests.client.launcher.deployment import free_port

CALLS = frozenset({("POST", "/v1/fleet/get-run"), ("GET", "/health")})
SOON = 0.3
HEAD = b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\n"
NEVER = 30.0


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that wants the whole body before it answers."""
    while (message := await receive())["type"] == "http.request":
        if not message.get("more_body"):
            headers = [(b"content-length", b"4")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"done"})
            return


class Peer:
    """Somebody outside, over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> bytes:
        """Send, and hear one answer."""
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return head + await self.reader.readexactly(int(length[1]) if length else 0)

    async def closed(self) -> bytes:
        """What else is heard until the server hangs up."""
        try:
            return await asyncio.wait_for(self.reader.read(), NEVER)
        except (ConnectionError, ssl.SSLError):
            return b""


def served(
    folder: Path, limits: Limits, talk: Callable[[Callable[[], Awaitable[Peer]]], Awaitable[None]]
) -> list[dict[str, Any]]:
    """Talk with a real server with these limits; the lines of its access log."""
    kept = ServerFolder.opened(folder / "server")
    pair = kept.inside_certificate("127.0.0.2")
    at = Address("127.0.0.2", free_port())
    trusted = ssl.create_default_context(cafile=str(pair.certificate))
    log = AccessLog(kept.access_log)

    async def connect() -> Peer:
        return Peer(*await asyncio.open_connection(at.host, at.port, ssl=trusted))

    async def run() -> None:
        door = Outside(reading, CALLS, limits, log)
        http = bounded(limits, log)
        async with listening(
            door, at, pair, http=http, lifespan="off", h11_max_incomplete_event_size=1000
        ) as server:
            main = asyncio.ensure_future(server.main_loop())
            await talk(connect)
            main.cancel()

    asyncio.run(run())
    log.close()
    return [json.loads(line) for line in kept.access_log.read_text().splitlines()]


def statuses(lines: list[dict[str, Any]]) -> list[int]:
    return [line["status"] for line in lines]


def test_an_honest_peer_is_answered_again_and_again(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        peer = await connect()
        for _ in range(3):
            answer = await peer.say(HEAD + b"Content-Length: 2\r\n\r\nab")
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"server:" not in answer.lower()

    lines = served(tmp_path, Limits(), talk)
    assert statuses(lines) == [200] * 3
    assert {line["received"] for line in lines} == {2}


@pytest.mark.parametrize("said", [b"", b"PO", HEAD, HEAD + b"X: y\r\n"])
def test_who_never_ends_a_head_is_hung_up_on(tmp_path: Path, said: bytes) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        peer = await connect()
        peer.writer.write(said)
        assert await peer.closed() == b""

    assert served(tmp_path, Limits(head_seconds=SOON), talk) == []


def test_a_second_head_has_its_time_as_well(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        peer = await connect()
        assert await peer.say(HEAD + b"Content-Length: 0\r\n\r\n")
        peer.writer.write(HEAD)  # and nothing more: uvicorn's own timer stops here
        await peer.closed()

    assert statuses(served(tmp_path, Limits(head_seconds=SOON), talk)) == [200]


def test_who_never_ends_a_body_is_hung_up_on(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        peer = await connect()
        peer.writer.write(HEAD + b"Content-Length: 9\r\n\r\nab")
        assert await peer.closed() == b""

    lines = served(tmp_path, Limits(request_seconds=SOON), talk)
    assert [(line["status"], line["received"]) for line in lines] == [(0, 2)]


def test_more_connections_than_there_may_be_are_closed(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        first, second = await connect(), await connect()
        third = await connect()
        assert await third.closed() == b""
        for peer in (first, second):
            assert (await peer.say(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"done")

    for limits in (Limits(connections=2), Limits(per_address=2)):
        lines = served(tmp_path, limits, talk)
        assert statuses(lines)[-3:] == [503, 200, 200]


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01 what is this\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2000,
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
    ids=["bytes", "no-host", "long", "two-lengths", "negative", "space", "not-ascii"],
)
def test_what_is_no_request_is_a_line_too(tmp_path: Path, said: bytes) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        answer = await (await connect()).say(said)
        assert answer.startswith(b"HTTP/1.1 400")

    assert statuses(served(tmp_path, Limits(), talk)) == [400]


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.2/v1/fleet/get-run",
        "https://127.0.0.1/v1/control/list-runs",
        "//v1/fleet/get-run",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/get%2Drun",
        "/v1/fleet/get-run/",
        "/v1/fleet/get-run?",
        "*",
    ],
)
def test_on_the_wire_too_a_path_is_spelt_in_one_way(tmp_path: Path, target: str) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        said = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        answer = await (await connect()).say(said.encode())
        if target.endswith("?"):  # uvicorn does not tell an empty query from none
            assert answer.startswith(b"HTTP/1.1 200")
        else:
            head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
            assert answer.lower() == head.lower()

    assert len(served(tmp_path, Limits(), talk)) == 1


def test_no_header_says_where_a_request_comes_from(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        said = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.9\r\n"
        said += b"Forwarded: for=192.0.2.9\r\nX-Original-URL: /docs\r\n\r\n"
        assert (await (await connect()).say(said)).startswith(b"HTTP/1.1 200")

    (line,) = served(tmp_path, Limits(), talk)
    assert (line["remote"], line["path"]) == ("127.0.0.1", "/health")


def test_an_upgrade_is_not_there(tmp_path: Path) -> None:
    async def talk(connect: Callable[[], Awaitable[Peer]]) -> None:
        said = (
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await (await connect()).say(said)).startswith(b"HTTP/1.1 404")

    assert statuses(served(tmp_path, Limits(), talk)) == [404]

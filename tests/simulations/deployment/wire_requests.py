"""What a shop sent, taken apart to the last byte: requests, headers, protobuf, objects."""

from __future__ import annotations

import functools
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.primitives.asymmetric import verify_signature
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

BODIES: dict[str, type[Message]] = {
    "activate-node": ActivateNodeRequest,
    "confirm-message-received": ConfirmMessageReceivedRequest,
    "deactivate-node": DeactivateNodeRequest,
    "get-fab": GetFabRequest,
    "get-run": GetRunRequest,
    "pull-messages": PullMessagesRequest,
    "pull-object": PullObjectRequest,
    "push-messages": PushMessagesRequest,
    "push-object": PushObjectRequest,
    "send-node-heartbeat": SendNodeHeartbeatRequest,
}
"""Calls that a node makes, and what it says in them."""
CONSTANT = {
    "accept": "application/protobuf",
    "accept-encoding": httpx.Client().headers["accept-encoding"],
    "connection": "keep-alive",
    "content-type": "application/protobuf",
    "flwr-component-name": "SuperNode",
    "flwr-package-name": "flwr",
    "flwr-package-version": version("flwr"),
    "user-agent": f"python-httpx/{version('httpx')}",
}
"""Headers that are the same in every request of every shop."""
ORDER = (
    *("Host", "Accept-Encoding", "Connection", "User-Agent", "content-type", "accept"),
    *("Content-Length", "flwr-package-name", "flwr-package-version", "flwr-component-name"),
    *("flwr-public-key", "flwr-timestamp", "flwr-signature"),
)
"""How all their names are spelled, and in which order they come."""


class Undeclared(Exception):  # noqa: N818  what a test looks for
    """Something left the shop that no table has a place for."""


def hold(condition: object, what: str) -> None:
    """Or it is undeclared."""
    if not condition:
        raise Undeclared(what)


@dataclass(frozen=True)
class Request:
    """One request, in its parts; `end` is where it ends in its connection."""

    call: str
    headers: dict[str, str]
    body: Message
    end: int

    @property
    def fields(self) -> Iterator[tuple[str, Any]]:
        """Every field that is set, by its path, with each value."""
        yield from _fields(self.body, type(self.body).__name__)


def requests_of(stream: bytes) -> Iterator[Request]:
    """The requests of one connection: nothing is left between them or behind them."""
    place = 0
    while place < len(stream):
        blank = stream.find(b"\r\n\r\n", place)
        hold(blank >= 0, f"bytes that are no request: {stream[place : place + 80]!r}")
        first, *lines = stream[place:blank].decode("ascii", "replace").split("\r\n")
        found = re.fullmatch(r"POST /v1/fleet/([a-z-]+) HTTP/1\.1", first)
        hold(found is not None and found[1] in BODIES, f"another request: {first}")
        call = str(found and found[1])
        headers = _headers(lines)
        length = int(headers["content-length"])
        hold(headers["content-length"] == str(length), "another spelling: content-length")
        start, place = blank + 4, blank + 4 + length
        hold(place <= len(stream), "a body that is cut off")
        body = BODIES[call].FromString(stream[start:place])
        again = body.SerializeToString(deterministic=True)
        hold(again == stream[start:place], f"a body with other bytes than its fields: {call}")
        yield Request(call, headers, body, place)


def check_headers(request: Request, address: str, public_key: bytes) -> datetime:
    """Every header is in a table, and spelled as always; the signature is of the time alone.

    Returns:
        The time.
    """
    headers = request.headers
    for name, value in CONSTANT.items():
        hold(headers[name] == value, f"header {name}")
    hold(headers["host"] == address, f"host {headers['host']}")
    hold(_decoded(headers["flwr-public-key"]) == public_key, "another key")
    time = headers["flwr-timestamp"]
    hold(re.fullmatch(r"[0-9T:.+-]{25,32}", time), f"a time: {time}")
    when = datetime.fromisoformat(time)
    hold(when.isoformat() == time, f"another spelling: {time}")
    signature = _decoded(headers["flwr-signature"])
    hold(_is_signed(public_key, time, signature), "a signature of something else")
    return when


@functools.lru_cache(maxsize=10_000)
def _is_signed(public_key: bytes, time: str, signature: bytes) -> bool:
    """Looked at once: the same requests are accounted for under every change."""
    key: Any = load_pem_public_key(public_key)
    return bool(verify_signature(key, time.encode(), signature))


def _decoded(text: str) -> bytes:
    found = b64decode(text, validate=True)
    hold(b64encode(found).decode() == text, f"another spelling: {text}")
    return found


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = [line.split(": ", 1) for line in lines]
    hold(all(len(pair) == 2 for pair in pairs), "a header without a value")
    names = tuple(name for name, _ in pairs)
    found = {name.lower(): value for name, value in pairs}
    hold(names == ORDER, f"headers {names}")
    return found


def _fields(message: Message, path: str) -> Iterator[tuple[str, Any]]:
    hold(len(UnknownFieldSet(message)) == 0, f"an unknown field in {path}")
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        for one in value if field.is_repeated else (value,):
            if field.message_type is None:
                yield name, one
            else:
                yield name, None
                yield from _fields(one, name)

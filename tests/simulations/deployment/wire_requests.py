"""What a shop sent, taken apart to the last byte: requests, headers, protobuf, objects."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

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
    "accept": r"application/protobuf",
    "accept-encoding": r"[a-z, ]+",
    "connection": r"keep-alive",
    "content-type": r"application/protobuf",
    "flwr-component-name": r"SuperNode",
    "flwr-package-name": r"flwr",
    "flwr-package-version": re.escape(version("flwr")),
    "user-agent": re.escape(f"python-httpx/{version('httpx')}"),
}
"""Headers that are the same in every request of every shop."""
VARYING = {"content-length", "flwr-public-key", "flwr-signature", "flwr-timestamp", "host"}


class Undeclared(Exception):  # noqa: N818  what a test looks for
    """Something left the shop that no table has a place for."""


def hold(condition: object, what: str) -> None:
    """Or it is undeclared."""
    if not condition:
        raise Undeclared(what)


@dataclass(frozen=True)
class Request:
    """One request, in its parts."""

    call: str
    headers: dict[str, str]
    body: Message
    size: int

    @property
    def fields(self) -> Iterator[tuple[str, Any]]:
        """Every field that is set, by its path, with each value."""
        yield from _fields(self.body, type(self.body).__name__)


def requests_of(stream: bytes) -> Iterator[Request]:
    """The requests of one connection: nothing is left between them or behind them."""
    while stream:
        head, blank, rest = stream.partition(b"\r\n\r\n")
        hold(blank, f"bytes that are no request: {stream[:80]!r}")
        first, *lines = head.decode("ascii").split("\r\n")
        found = re.fullmatch(r"POST /v1/fleet/([a-z-]+) HTTP/1\.1", first)
        hold(found is not None and found[1] in BODIES, f"another request: {first}")
        call = str(found and found[1])
        headers = _headers(lines)
        length = int(headers["content-length"])
        hold(len(rest) >= length, "a body that is cut off")
        body = BODIES[call].FromString(rest[:length])
        again = body.SerializeToString(deterministic=True)
        hold(again == rest[:length], f"a body with other bytes than its fields: {call}")
        yield Request(call, headers, body, length)
        stream = rest[length:]


def check_headers(request: Request, address: str, public_key: bytes) -> None:
    """Every header is in a table; the time is now, and the signature is of the time alone."""
    headers = dict(request.headers)
    for name, pattern in CONSTANT.items():
        hold(re.fullmatch(pattern, headers.pop(name, "")), f"header {name}")
    hold(set(headers) == VARYING, f"headers {sorted(set(headers) ^ VARYING)}")
    hold(headers["host"] == address, f"host {headers['host']}")
    hold(b64decode(headers["flwr-public-key"], validate=True) == public_key, "another key")
    time = headers["flwr-timestamp"]
    hold(re.fullmatch(r"[0-9T:.+-]{25,32}", time), f"a time: {time}")
    hold(abs((datetime.now(UTC) - datetime.fromisoformat(time)).days) < 1, "another day")
    signature = b64decode(headers["flwr-signature"], validate=True)
    key: Any = load_pem_public_key(public_key)
    hold(verify_signature(key, time.encode(), signature), "a signature of something else")


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = [line.split(": ", 1) for line in lines]
    found = {name.lower(): value for name, value in pairs}
    hold(len(found) == len(pairs), "a header twice")
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

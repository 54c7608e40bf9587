"""Ways to say more than a reply does: each changes recorded bytes, and is found for its reason."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest

from tests.simulations.deployment.wire_requests import BODIES


@dataclass(frozen=True)
class Change:
    """One way.

    Attributes:
        found: why it is undeclared, a pattern.
        make: from what a connection sent, other bytes; the same where it does not apply.
    """

    found: str
    make: Callable[[bytes], bytes]


def _bodies(call: str, change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Change the first request of this call; its length follows."""

    def made(stream: bytes) -> bytes:
        found = re.search(rb"POST /v1/fleet/%s HTTP" % call.encode(), stream)
        if found is None:
            return stream
        blank = stream.index(b"\r\n\r\n", found.start())
        head, rest = stream[found.start() : blank], stream[blank + 4 :]
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        body = BODIES[call].FromString(rest[:length])
        change(body)
        said = body.SerializeToString(deterministic=True)
        head = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(said), head)
        return stream[: found.start()] + head + b"\r\n\r\n" + said + rest[length:]

    return made


def _head(**values: Any) -> Callable[[bytes], bytes]:
    def change(body: PushMessagesRequest) -> None:
        metadata = body.messages_list[0].metadata
        for name, value in values.items():
            old = getattr(metadata, name)
            setattr(metadata, name, value(old) if callable(value) else value)

    return _bodies("push-messages", change)


def _set(call: str, name: str, value: Any) -> Callable[[bytes], bytes]:
    return _bodies(call, lambda body: setattr(body, name, value))


def _append(name: str) -> Callable[[bytes], bytes]:
    def change(body: PushMessagesRequest) -> None:
        values = getattr(body, name)
        values.append(values[0])

    return _bodies("push-messages", change)


def _one_more_leaf(body: PushMessagesRequest) -> None:
    body.message_object_trees[0].children.add(object_id=_DIGEST)


def _another_object(body: PushObjectRequest) -> None:
    body.object_content += b"42"
    body.object_id = hashlib.sha256(body.object_content).hexdigest()


def _unknown_field(body: Any) -> None:
    body.MergeFromString(b"\xf8\x07\x2a")


def _text(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda stream: stream.replace(old, new, 1)


def _swapped(stream: bytes) -> bytes:
    return re.sub(rb"\r\n(Accept-E[^\r]*)\r\n(Connection[^\r]*)", rb"\r\n\2\r\n\1", stream)


_DIGEST = hashlib.sha256(b"42").hexdigest()
CHANGES = {
    "a header": Change("headers", _text(b"\r\n\r\n", b"\r\nx-users: 42\r\n\r\n")),
    "headers in another order": Change("headers", _swapped),
    "a header in small letters": Change("headers", _text(b"Accept-Enc", b"accept-Enc")),
    "a length in other digits": Change(
        "spelling: content-length",
        lambda stream: re.sub(rb"(?i)(content-length: )", rb"\g<1>0", stream, count=1),
    ),
    "another program": Change("header user-agent", _text(b"python-httpx/", b"python-httpx/42 ")),
    "another time": Change("a signature", _text(b"stamp: 20", b"stamp: 19")),
    "a query": Change("another request", _text(b" HTTP/1.1", b"?users=42 HTTP/1.1")),
    "bytes behind the last request": Change("no request", lambda stream: stream + b"\n"),
    "an unknown field": Change("unknown field", _bodies("push-messages", _unknown_field)),
    "a duration": Change(
        "clientapp_runtime_list",
        _bodies("push-messages", lambda body: body.clientapp_runtime_list.__setitem__(0, 1.5)),
    ),
    "two durations": Change("two durations", _append("clientapp_runtime_list")),
    "two answers": Change("two answers", _append("messages_list")),
    "two trees": Change("two trees", _append("message_object_trees")),
    "a leaf more": Change("without their objects", _bodies("push-messages", _one_more_leaf)),
    "content in a head": Change(
        r"field .*content",
        _bodies(
            "push-messages",
            lambda body: body.messages_list[0].content.items.add(key="users"),
        ),
    ),
    "another name of a message": Change("a head", _head(message_id=_DIGEST)),
    "another group": Change("a head", _head(group_id="42")),
    "a task": Change("a head", _head(dst_task_id=42)),
    "a task of its own": Change("field .*src_task_id", _head(src_task_id=42)),
    "an answer to nothing": Change("no question", _head(reply_to_message_id="42")),
    "another type": Change("a head", _head(message_type="query.users42")),
    "a life that ends later": Change("a head", _head(ttl=lambda old: old + 1e-6)),
    "made tomorrow": Change("made at another", _head(created_at=lambda old: old + 86_400)),
    "made more finely": Change("finer time", _head(created_at=lambda old: old - 2.0**-21)),
    "another server": Change("a head", _head(dst_node_id=42)),
    "another run": Change("a head", _head(run_id=42)),
    "another upload": Change("PushObjectRequest", _set("push-object", "session_id", "42")),
    "an object that nobody asked for": Change(
        "PushObjectRequest", _bodies("push-object", _another_object)
    ),
    "a question that was not asked": Change(
        "message_object_id", _set("confirm-message-received", "message_object_id", _DIGEST)
    ),
    "an object that is in no question": Change(
        "PullObjectRequest.object_id", _set("pull-object", "object_id", "42")
    ),
    "another bundle": Change("GetFabRequest.hash_str", _set("get-fab", "hash_str", "42")),
    "another number": Change(
        "PullMessagesRequest.node.node_id",
        _bodies("pull-messages", lambda body: setattr(body.node, "node_id", 42)),
    ),
    "another heartbeat": Change(
        "heartbeat_interval", _set("activate-node", "heartbeat_interval", 42.0)
    ),
}

"""Every field that a shop may send, and why the release rule allows it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from client.owner import Owner
from client.release import answer_hello
from common.artifacts import arrays_to_bytes
from common.catalogue import Catalogue
from common.errors import HushRecError
from common.privacy.heads import SignedHead
from common.protocol import HELLO, MODEL, OK, RECEIPT, STEP, SUM, Hello, Reply, SumReply
from common.schedule import schedule_of
from common.secure_sum.messages import STAGES
from server.job_files import read_job
from tests.simulations.deployment.wire_requests import (
    Request,
    Undeclared,
    check_headers,
    hold,
    requests_of,
)

SERVER = 1
"""The number of the server in Flower's messages."""


@dataclass
class Account:
    """One shop and what it sent.

    Attributes:
        shop: its folder.
        address: where it found the server.
        public_key: of its node, PEM.
        runs: Flower's numbers of the runs, and the folders of their trainings.
        told: all bytes that the server sent to it.
        heartbeat_seconds: as its node was started.
    """

    shop: Path
    address: str
    public_key: bytes
    runs: dict[int, Path]
    told: bytes
    heartbeat_seconds: float = 10.0
    nodes: set[int] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    pushed: list[PushMessagesRequest] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What was answered, by the type of its message, and the stage of a sum."""
    charged: list[str] = field(default_factory=list)
    """Digests of the releases that left."""
    data_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of arrays, by answer."""

    def take(self, sent: list[bytes]) -> None:
        """Account for every byte.

        Raises:
            Undeclared: something has no place in any table.
        """
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, SERVER
        self.nodes = set(map(int, re.findall(r'"node_id":(\d+)', self._number())))
        for stream in sent:
            for request in requests_of(stream):
                self._request(request)
        for pushed in self.pushed:
            self._answer(pushed)
        used = {name for one in self.pushed for name in _ids(one.message_object_trees[0])}
        hold(set(self.objects) <= used, "objects of no answer")

    def _number(self) -> str:
        return (self.shop / "node_number.json").read_text()

    def _request(self, request: Request) -> None:
        check_headers(request, self.address, self.public_key)
        for name, value in request.fields:
            if value is None:
                continue
            reason = FIELDS.get(_folded(name))
            hold(reason is not None, f"field {name}: {str(value)[:80]!r}")
            hold(reason is not None and reason[1](self, value), f"{name}: {str(value)[:80]!r}")
        if isinstance(request.body, PushObjectRequest):
            content = request.body.object_content
            hold(hashlib.sha256(content).hexdigest() == request.body.object_id, "object's name")
            self.objects[request.body.object_id] = content
        if isinstance(request.body, PushMessagesRequest):
            hold(len(request.body.messages_list) == 1, "two answers at once")
            content = request.body.messages_list[0].content.SerializeToString()
            hold(content == b"", "content beside objects")
            self.pushed.append(request.body)

    def _answer(self, pushed: PushMessagesRequest) -> None:
        """The objects of one answer are those of a reply of its type, byte by byte."""
        tree, head = pushed.message_object_trees[0], pushed.messages_list[0]
        contents = {name: self.objects[name] for name in _ids(tree)}
        message = inflate_object_from_contents(tree.object_id, dict(contents))
        hold(isinstance(message, Message), "objects that are no message")
        message.metadata.__dict__["_message_id"] = head.metadata.message_id
        proto = message_to_proto(message)
        hold(proto.metadata == head.metadata, "metadata in the objects that are not the answer's")
        expected = RecordDict(self._expected(head.metadata.message_type, message.content))
        message.content = expected
        again = {name: one.deflate() for name, one in get_all_nested_objects(message).items()}
        hold(again == contents, "an answer with more than its reply")

    def _expected(self, kind: str, records: RecordDict) -> RecordDict:
        """The reply of this type that says the same, made anew of what may be said."""
        try:
            if kind == HELLO:
                self._count(HELLO)
                Hello.from_records(records)
                return self._hello()
            if kind == STEP:
                return self._release(Reply.from_records(records))
            if kind in (RECEIPT, MODEL):
                self._count(kind)
                return Reply(OK).to_records()
            hold(kind == SUM, f"an answer of type {kind}")
            return self._stage(records)
        except HushRecError as error:
            raise Undeclared(f"{kind}: {error}") from None

    def _hello(self) -> RecordDict:
        """From the shop's own files: public facts."""
        owner = Owner.of(self.shop)
        catalogue = Catalogue.load(self.shop / owner.settings.catalogue)
        with owner.ledger() as ledger:
            key = ledger.public_key
        asked = Message(RecordDict(), dst_node_id=5, message_type=HELLO)
        return answer_hello(asked, owner.settings, catalogue.version, key).content

    def _release(self, reply: Reply) -> RecordDict:
        hold(reply.code == OK, reply.code)
        job, step = self._charged(arrays_to_bytes(reply.arrays), reply.head)
        declared = schedule_of(read_job(self._run_of(job))).steps[step].outputs
        shapes = {name: array.shape for name, array in reply.arrays.items()}
        hold(shapes == {name: spec.shape for name, spec in declared.items()}, f"shapes {shapes}")
        size = 4 * sum(math.prod(shape) for shape in shapes.values())
        self._count(f"{STEP} {step}", size)
        return Reply(OK, reply.arrays, reply.head).to_records()

    def _stage(self, records: RecordDict) -> RecordDict:
        for stage in STAGES:
            try:
                reply = SumReply.from_records(records, stage)
            except HushRecError:
                continue
            if reply.is_of(stage):
                break
        hold(reply.is_of(stage), f"no stage of a sum says this: {reply.code}")
        size = 0
        if reply.words is not None:
            self._charged(arrays_to_bytes({"words": reply.words}), reply.head)
            size = reply.words.nbytes
        self._count(f"{SUM} {stage}", size)
        return reply.to_records()

    def _charged(self, payload: bytes, head: SignedHead | None) -> tuple[str, int]:
        """The `spend` row of a release: its bytes, its head."""
        digest = hashlib.sha256(payload).hexdigest()
        with Owner.of(self.shop).ledger() as ledger:
            rows = {row.seq: row for row in ledger.rows("spend")}
            reserved = {row.seq: row.body for row in ledger.rows("reserve")}
            hold(head is not None and head.seq in rows, "a release without its row")
            row = rows[head.seq if head is not None else -1]
            name = Owner.of(self.shop).settings.name
            expected = SignedHead.sign(ledger.key, name, row.seq, row.hash)
        hold(head == expected, "a head that is not the row's")
        hold(row.body["release_sha256"] == digest, "a release that was not charged")
        self.charged.append(digest)
        paid = reserved[row.body["reservation"]]
        return str(paid["job_id"]), int(paid["step"])

    def _run_of(self, job_id: str) -> Path:
        return next(one for one in self.runs.values() if read_job(one).job_id == job_id)

    def _count(self, what: str, size: int = 0) -> None:
        self.answers.append(what)
        self.data_bytes[what] = size

    def was_told(self, text: str) -> bool:
        """Whether the server said so before."""
        return text.encode() in self.told


Check = Callable[[Account, Any], bool]


def _is_node(account: Account, value: Any) -> bool:
    return value in account.nodes


def _is_run(account: Account, value: Any) -> bool:
    return value in account.runs


def _is_told(account: Account, value: Any) -> bool:
    return bool(re.fullmatch(r"[0-9a-zA-Z_.-]{1,80}", value)) and account.was_told(value)


def _is_digest(_: Account, value: Any) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", value))


def _is_any(_: Account, __: Any) -> bool:
    return True


_NODE = ("the node's number, which the server gave it", _is_node)
_RUN = ("the run's number, which the server gave it", _is_run)
_ECHO = ("repeats what the server said", _is_told)
_HASH = ("a hash of declared bytes, which follow", _is_digest)
_META = "PushMessagesRequest.messages_list.metadata."
FIELDS: dict[str, tuple[str, Check]] = {
    "ActivateNodeRequest.public_key": (
        "the node's public key",
        lambda account, value: value == account.public_key,
    ),
    "ActivateNodeRequest.heartbeat_interval": (
        "a setting of the owner's",
        lambda account, value: value == account.heartbeat_seconds,
    ),
    "SendNodeHeartbeatRequest.heartbeat_interval": (
        "a setting of the owner's",
        lambda account, value: value == account.heartbeat_seconds,
    ),
    "DeactivateNodeRequest.node_id": _NODE,
    **{
        f"{name}Request.node.node_id": _NODE
        for name in (
            *("SendNodeHeartbeat", "PullMessages", "PushMessages", "GetRun", "GetFab"),
            *("PullObject", "PushObject", "ConfirmMessageReceived"),
        )
    },
    **{
        f"{name}Request.run_id": _RUN
        for name in ("GetRun", "GetFab", "PullObject", "PushObject", "ConfirmMessageReceived")
    },
    "GetFabRequest.hash_str": _ECHO,
    "PullObjectRequest.object_id": _ECHO,
    "ConfirmMessageReceivedRequest.message_object_id": _ECHO,
    "PushObjectRequest.session_id": _ECHO,
    "PushObjectRequest.object_id": _HASH,
    "PushObjectRequest.object_content": ("held to a reply as a whole", _is_any),
    "PushMessagesRequest.message_object_trees.object_id": _HASH,
    "PushMessagesRequest.message_object_trees.children.object_id": _HASH,
    "PushMessagesRequest.clientapp_runtime_list": (
        "how long it took, which is never said",
        lambda _, value: value == 0.0 and not math.copysign(1, value) < 0,
    ),
    _META + "run_id": _RUN,
    _META + "message_id": _HASH,
    _META + "src_node_id": _NODE,
    _META + "dst_node_id": ("the server", lambda _, value: value == SERVER),
    _META + "reply_to_message_id": _ECHO,
    _META + "group_id": _ECHO,
    _META + "message_type": (
        "repeats the type of the question",
        lambda _, value: value in {HELLO, STEP, SUM, RECEIPT, MODEL},
    ),
    _META + "created_at": ("when it was made: time is not hidden", _is_any),
    _META + "ttl": ("what is left of the question's, which is time again", _is_any),
    _META + "dst_task_id": ("the server's task, as in the question", _is_any),
}
"""Path of a field, why it is allowed, and what it is held to."""


def _folded(name: str) -> str:
    """A tree has children of children."""
    return re.sub(r"(\.children)+", ".children", name)


def _ids(tree: ObjectTree) -> set[str]:
    return {tree.object_id, *(name for child in tree.children for name in _ids(child))}


def table() -> str:
    """The table of fields, for people."""
    return json.dumps({name: reason for name, (reason, _) in FIELDS.items()}, indent=2)

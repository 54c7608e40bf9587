"""Every field that a shop may send, and why the release rule allows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Metadata, ObjectTree, PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
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
from tests.simulations.deployment.wire_fields import FIELDS, folded
from tests.simulations.deployment.wire_proxy import Connection
from tests.simulations.deployment.wire_requests import (
    Request,
    Undeclared,
    check_headers,
    hold,
    requests_of,
)
from tests.simulations.deployment.wire_told import Question, Told, ids_of

_BEFORE_SECONDS = 60.0
"""A time is said when a request is made, which may be before there is a connection."""


@dataclass
class Account:
    """One shop and what it sent.

    Attributes:
        shop: its folder.
        address: where it found the server.
        public_key: of its node, PEM.
        runs: Flower's numbers of the runs, and the folders of their trainings.
        heartbeat_seconds: as its node was started.
    """

    shop: Path
    address: str
    public_key: bytes
    runs: dict[int, Path]
    heartbeat_seconds: float = 10.0
    told: Told = field(default_factory=Told)
    objects: dict[str, bytes] = field(default_factory=dict)
    pushed: list[tuple[PushMessagesRequest, float]] = field(default_factory=list)
    """What answers said first, and when it had passed."""
    answers: list[str] = field(default_factory=list)
    """What was answered, by the type of its message, and the stage of a sum."""
    charged: list[str] = field(default_factory=list)
    """Digests of the releases that left."""
    data_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of arrays, by answer."""

    def take(self, connections: Sequence[Connection]) -> None:
        """Account for every byte of every request.

        Raises:
            Undeclared: something has no place in any table.
        """
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
        self.told = Told.over(connections)
        for one in connections:
            for request in requests_of(bytes(one.sent.data)):
                self._request(request, one.began, one.sent.at(request.end))
        used = {name for pushed, at in self.pushed for name in self._answer(pushed, at)}
        hold(set(self.objects) <= used, "objects of no answer")

    def _request(self, request: Request, began: float, at: float) -> None:
        when = check_headers(request, self.address, self.public_key)
        hold(began - _BEFORE_SECONDS <= when.timestamp() <= at, f"another time: {when}")
        for name, value in request.fields:
            if value is None:
                continue
            reason = FIELDS.get(folded(name))
            hold(reason is not None, f"field {name}: {str(value)[:80]!r}")
            right = reason is not None and reason[1](self, request.body, value)
            hold(right, f"{name}: {str(value)[:80]!r}")
        if isinstance(request.body, PushObjectRequest):
            content = request.body.object_content
            hold(hashlib.sha256(content).hexdigest() == request.body.object_id, "object's name")
            self.objects[request.body.object_id] = content
        if isinstance(request.body, PushMessagesRequest):
            self.pushed.append((request.body, at))

    def _answer(self, pushed: PushMessagesRequest, at: float) -> set[str]:
        """The objects of one answer are those of a reply of its type, byte by byte.

        Returns:
            Their names.
        """
        hold(len(pushed.messages_list) == 1, "two answers at once")
        hold(len(pushed.message_object_trees) == 1, "two trees of one answer")
        hold(len(pushed.clientapp_runtime_list) == 1, "two durations")
        tree, head = pushed.message_object_trees[0], pushed.messages_list[0]
        hold(head.content.SerializeToString() == b"", "content beside objects")
        question = self.told.questions.get(head.metadata.reply_to_message_id)
        hold(question is not None, "an answer to no question")
        made = head.metadata.created_at
        hold(question is not None and question.at <= made <= at, f"made at another time: {made}")
        hold(round(made, 6) == made, f"a finer time than there is: {made!r}")
        hold(question and head.metadata == _head(question, tree, made), f"a head: {head.metadata}")
        missing = ids_of(tree) - set(self.objects)
        hold(not missing, f"names without their objects: {missing}")
        contents = {name: self.objects[name] for name in ids_of(tree)}
        message = _inflated(tree, contents)
        proto = message_to_proto(message)
        hold(proto.metadata == head.metadata, "metadata in the objects that are not the answer's")
        message.content = RecordDict(self._expected(head.metadata.message_type, message.content))
        again = {name: one.deflate() for name, one in get_all_nested_objects(message).items()}
        hold(again == contents, "an answer with more than its reply")
        with no_object_id_recompute():
            hold(get_object_tree(message) == tree, "another tree than the reply's")
        return set(contents)

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


def _head(question: Question, tree: ObjectTree, created_at: float) -> Metadata:
    """What Flower says of an answer, from what it said of the question."""
    asked = question.metadata
    head = Metadata(
        run_id=asked.run_id,
        message_id=tree.object_id,
        src_node_id=asked.dst_node_id,
        dst_node_id=asked.src_node_id,
        reply_to_message_id=asked.message_id,
        group_id=asked.group_id,
        message_type=asked.message_type,
        created_at=created_at,
        ttl=asked.created_at + asked.ttl - created_at,
    )
    if asked.HasField("src_task_id"):
        head.dst_task_id = asked.src_task_id
    if asked.HasField("dst_task_id"):
        head.src_task_id = asked.dst_task_id
    return head


def _inflated(tree: ObjectTree, contents: dict[str, bytes]) -> Message:
    try:
        message = inflate_object_from_contents(tree.object_id, dict(contents))
    except Exception as error:  # noqa: BLE001  whatever was changed
        raise Undeclared(f"objects that are no message: {error}") from None
    if not isinstance(message, Message):
        raise Undeclared("objects that are no message")
    message.metadata.__dict__["_message_id"] = tree.object_id
    return message

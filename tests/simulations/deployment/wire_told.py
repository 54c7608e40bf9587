"""What a server told a shop: the questions, and every number and name that the shop may repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flwr.app import Message as FlowerMessage
from flwr.proto.fab_pb2 import GetFabResponse
from flwr.proto.fleet_pb2 import (
    ActivateNodeResponse,
    DeactivateNodeResponse,
    PullMessagesResponse,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedResponse,
    Metadata,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectResponse,
)
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.run_pb2 import GetRunResponse
from flwr.supercore.inflatable.inflatable_object import get_object_body
from google.protobuf.message import Message

from tests.simulations.deployment.wire_proxy import Connection
from tests.simulations.deployment.wire_requests import requests_of

_ANSWERS: dict[str, type[Message]] = {
    "activate-node": ActivateNodeResponse,
    "confirm-message-received": ConfirmMessageReceivedResponse,
    "deactivate-node": DeactivateNodeResponse,
    "get-fab": GetFabResponse,
    "get-run": GetRunResponse,
    "pull-messages": PullMessagesResponse,
    "pull-object": PullObjectResponse,
    "push-messages": PushMessagesResponse,
    "push-object": PushObjectResponse,
    "send-node-heartbeat": SendNodeHeartbeatResponse,
}


@dataclass(frozen=True)
class Question:
    """A message of the server's.

    Attributes:
        metadata: whose, of which run, and so on.
        tree: names of its objects.
        at: when it passed, in seconds since 1970.
    """

    metadata: Metadata
    tree: ObjectTree
    at: float


@dataclass
class Told:
    """All of it.

    Attributes:
        nodes: numbers that the shop was given.
        questions: by their ids.
        fabs: the hash of each run's bundle.
        wanted: by the server's name of an upload, the objects that it has not.
        pulled: objects of the questions, by name.
    """

    nodes: set[int] = field(default_factory=set)
    questions: dict[str, Question] = field(default_factory=dict)
    fabs: dict[int, str] = field(default_factory=dict)
    wanted: dict[str, set[str]] = field(default_factory=dict)
    pulled: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def over(cls, connections: Sequence[Connection]) -> Told:
        """Read every answer, beside its request."""
        told = cls()
        for one in connections:
            answers = _answers_of(bytes(one.told.data))
            for request, (body, end) in zip(requests_of(bytes(one.sent.data)), answers):  # noqa: B905  the last may be open
                answer = _ANSWERS[request.call].FromString(body)
                told._take(request.body, answer, one.told.at(end))
        told._complete()
        return told

    def objects(self, run_id: int) -> set[str]:
        """Names of all objects of the questions of a run."""
        mine = [one for one in self.questions.values() if one.metadata.run_id == run_id]
        return {name for one in mine for name in ids_of(one.tree)}

    def messages(self, run_id: int) -> set[str]:
        """Names of the questions of a run."""
        mine = [one for one in self.questions.values() if one.metadata.run_id == run_id]
        return {one.tree.object_id for one in mine}

    def _take(self, request: Message, answer: Message, at: float) -> None:
        if isinstance(answer, ActivateNodeResponse):
            self.nodes.add(answer.node_id)
        elif isinstance(answer, GetRunResponse):
            self.fabs[answer.run.run_id] = answer.run.fab_hash
        elif isinstance(answer, PullMessagesResponse):
            for one, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
                self.questions[one.metadata.message_id] = Question(one.metadata, tree, at)
        elif isinstance(answer, PushMessagesResponse):
            self.wanted[answer.session_id] = set(answer.objects_to_push)
        elif isinstance(answer, PullObjectResponse) and isinstance(request, PullObjectRequest):
            name = request.object_id  # its content is empty as long as the server has it not
            self.pulled[name] = answer.object_content or self.pulled.get(name, b"")

    def _complete(self) -> None:
        """The objects of a question name the task that asks, which its head does not."""
        for question in self.questions.values():
            whole = self.pulled.get(question.tree.object_id)
            if whole:
                metadata = ProtoMessage.FromString(get_object_body(whole, FlowerMessage)).metadata
                metadata.message_id = question.tree.object_id
                question.metadata.CopyFrom(metadata)


def ids_of(tree: ObjectTree) -> set[str]:
    """All names in a tree."""
    return {tree.object_id, *(name for child in tree.children for name in ids_of(child))}


def _answers_of(stream: bytes) -> Iterator[tuple[bytes, int]]:
    """The body of each answer of one connection, and where it ends; the last may be cut off."""
    place = 0
    while True:
        blank = stream.find(b"\r\n\r\n", place)
        if blank < 0:
            return
        lines = stream[place:blank].decode("latin-1").lower().split("\r\n")[1:]
        length = int(dict(line.split(": ", 1) for line in lines).get("content-length", "0"))
        body, place = stream[blank + 4 : blank + 4 + length], blank + 4 + length
        if place > len(stream):
            return
        yield body, place

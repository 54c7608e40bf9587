"""A message as a node gets it, and what its answer says."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from client.launcher.bundle import Bundle
from client.launcher.parcel import Errand, Packed
from common.protocol import HELLO

CONTENT = b"a bundle that nobody opens"
BUNDLE = Bundle.of(CONTENT, named="", delivered="", task_type="")
LISTED = Bundle.of(CONTENT, named=BUNDLE.sha256, delivered=BUNDLE.sha256, task_type="")


def hello() -> Message:
    """A request for public facts, from run 1 to node 5."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    return Message(RecordDict(), dst_node_id=5, message_type=HELLO, group_id="hello")


def packed_hello() -> Packed:
    return Packed.of(hello())


def received(message: Message) -> Message:
    """What a node is given before it fetches the content."""
    Packed.of(message)  # gives it its id
    return remove_content_from_message(message)


def errand(home: Path, bundle: Bundle = LISTED) -> Errand:
    return Errand(home=str(home), run_id=1, node_id=5, bundle=bundle)


def answered(packed: Packed) -> RecordDict:
    """The content of an answer; its metadata lead back to the question."""
    head = message_from_proto(MessageProto.FromString(packed.message))
    assert head.metadata.reply_to_message_id
    tree = ObjectTree.FromString(packed.tree)
    assert head.metadata.message_id == tree.object_id
    message = inflate_object_from_contents(tree.object_id, dict(packed.objects))
    assert isinstance(message, Message)
    return message.content


def code(packed: Packed) -> str:
    return str(answered(packed).config_records["reply"]["code"])

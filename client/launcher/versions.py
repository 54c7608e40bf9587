"""What the launcher uses of Flower that is internal to it, held to the version that was tested."""

from __future__ import annotations

from typing import Final

from common import flower
from common.flower import Used

__all__ = ["USED", "check_flower"]

_INFLATABLE: Final = "flwr.supercore.inflatable.inflatable"
_INFLATE: Final = ("object_id", "object_contents", "keep_object_contents", "objects")
_RUN_OF: Final = ("pull_object_protobuf", "node", "run_id")
_SESSION_OF: Final = ("push_object_protobuf", "node", "run_id", "session_id")
USED: Final[tuple[Used, ...]] = (
    ("flwr.app", "Context", ("run_id", "node_id", "node_config", "state", "run_config")),
    ("flwr.common.serde", "fab_from_proto", ("fab",)),
    ("flwr.common.serde", "message_from_proto", ("message_proto",)),
    ("flwr.common.serde", "message_to_proto", ("message",)),
    ("flwr.common.serde", "run_from_proto", ("run_proto",)),
    ("flwr.app.message", "remove_content_from_message", ("message",)),
    ("flwr.proto.fab_pb2", "GetFabRequest", ()),
    ("flwr.proto.fleet_pb2", "ActivateNodeRequest", ()),
    ("flwr.proto.fleet_pb2", "DeactivateNodeRequest", ()),
    ("flwr.proto.fleet_pb2", "PullMessagesRequest", ()),
    ("flwr.proto.fleet_pb2", "PushMessagesRequest", ()),
    ("flwr.proto.heartbeat_pb2", "SendNodeHeartbeatRequest", ()),
    ("flwr.proto.message_pb2", "ConfirmMessageReceivedRequest", ()),
    ("flwr.proto.message_pb2", "Message", ()),
    ("flwr.proto.message_pb2", "ObjectTree", ()),
    ("flwr.proto.node_pb2", "Node", ()),
    ("flwr.proto.run_pb2", "GetRunRequest", ()),
    ("flwr.supercore.fab", "Fab", ("hash_str", "content")),
    ("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "get_object_tree", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "iterate_object_tree", ("tree",)),
    ("flwr.supercore.inflatable.inflatable_object", "no_object_id_recompute", ()),
    (f"{_INFLATABLE}_protobuf_utils", "make_pull_object_fn_protobuf", _RUN_OF),
    (f"{_INFLATABLE}_protobuf_utils", "make_push_object_fn_protobuf", _SESSION_OF),
    ("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents", _INFLATE),
    ("flwr.supercore.inflatable.inflatable_utils", "pull_objects", ("object_ids",)),
    ("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor", ("component_name",)),
    ("flwr.supercore.primitives.asymmetric", "public_key_to_bytes", ("public_key",)),
    ("flwr.supercore.run", "Run", ("run_id", "fab_id", "fab_version", "fab_hash")),
    ("flwr.supercore.run", "RunNotRunningException", ()),
    ("flwr.supercore.task_identity", "TaskIdentity", ()),
    ("flwr.supernode.fleet_http_client", "FleetHttpClient", ("base_url",)),
    (
        "flwr.supernode.node_auth_http_interceptor",
        "NodeAuthHttpInterceptor",
        ("private_key", "public_key"),
    ),
)
"""Module, name and first parameters of everything internal that the launcher uses."""


def check_flower() -> None:
    """Hold the installed Flower to what was tested.

    Raises:
        RunError: `flower-version`, it is another version or lacks a name.
    """
    flower.check_flower("launcher", USED)

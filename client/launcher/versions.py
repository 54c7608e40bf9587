"""What the launcher uses of Flower that is internal to it, held to the version that was tested."""

from __future__ import annotations

from typing import Final

from common import flower
from common.flower import Used

__all__ = ["USED", "check_flower"]

_CONNECTION: Final = (
    "server_address",
    "insecure",
    "root_certificates",
    "authentication_keys",
    "max_retries",
    "max_wait_time",
)
_INFLATE: Final = ("object_id", "object_contents", "keep_object_contents", "objects")
USED: Final[tuple[Used, ...]] = (
    ("flwr.app", "Context", ("run_id", "node_id", "node_config", "state", "run_config")),
    ("flwr.common.serde", "message_from_proto", ("message_proto",)),
    ("flwr.common.serde", "message_to_proto", ("message",)),
    ("flwr.app.message", "remove_content_from_message", ("message",)),
    ("flwr.proto.message_pb2", "Message", ()),
    ("flwr.proto.message_pb2", "ObjectTree", ()),
    ("flwr.supercore.fab", "Fab", ("hash_str", "content")),
    ("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "get_object_tree", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "iterate_object_tree", ("tree",)),
    ("flwr.supercore.inflatable.inflatable_object", "no_object_id_recompute", ()),
    ("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents", _INFLATE),
    ("flwr.supercore.inflatable.inflatable_utils", "pull_objects", ("object_ids",)),
    ("flwr.supercore.run", "Run", ("run_id", "fab_id", "fab_version", "fab_hash")),
    ("flwr.supercore.run", "RunNotRunningException", ()),
    ("flwr.supercore.task_identity", "TaskIdentity", ()),
    ("flwr.supernode.fleet_http_connection", "http_request_response", _CONNECTION),
)
"""Module, name and first parameters of everything internal that the launcher uses."""


def check_flower() -> None:
    """Hold the installed Flower to what was tested.

    Raises:
        RunError: `flower-version`, it is another version or lacks a name.
    """
    flower.check_flower("launcher", USED)

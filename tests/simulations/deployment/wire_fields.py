"""Every field of a request that a shop may fill, why, and what its value is held to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tests.simulations.deployment.wire_account import Account

Check: TypeAlias = "Callable[[Account, Any, Any], bool]"
"""Of the shop, the whole request, and one value in it."""


def _is_node(account: Account, _: Any, value: Any) -> bool:
    return value in account.told.nodes


def _is_run(account: Account, _: Any, value: Any) -> bool:
    return value in account.runs


def _is_fab(account: Account, body: Any, value: Any) -> bool:
    return account.told.fabs.get(body.run_id) == value


def _is_asked(account: Account, body: Any, value: Any) -> bool:
    return value in account.told.objects(body.run_id)


def _is_question(account: Account, body: Any, value: Any) -> bool:
    return value in account.told.messages(body.run_id)


def _is_wanted(account: Account, body: Any, _: Any) -> bool:
    return body.object_id in account.told.wanted.get(body.session_id, set())


def _is_heartbeat(account: Account, _: Any, value: Any) -> bool:
    return bool(value == account.heartbeat_seconds)


def _is_held(_: Account, __: Any, ___: Any) -> bool:
    return True


_NODE = ("the node's number, which the server gave it", _is_node)
_RUN = ("the run's number, which the server gave it", _is_run)
_BEAT = ("a setting of the owner's", _is_heartbeat)
_WANTED = ("what the server asked for, by the server's name of the upload", _is_wanted)
_HEAD = ("of the question: the whole head is made anew from it", _is_held)
_OBJECTS = ("of objects that are held to a reply as a whole", _is_held)
_META = "PushMessagesRequest.messages_list.metadata."
FIELDS: dict[str, tuple[str, Check]] = {
    "ActivateNodeRequest.public_key": (
        "the node's public key",
        lambda account, _, value: value == account.public_key,
    ),
    "ActivateNodeRequest.heartbeat_interval": _BEAT,
    "SendNodeHeartbeatRequest.heartbeat_interval": _BEAT,
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
    "GetFabRequest.hash_str": ("the bundle of that run, as the server named it", _is_fab),
    "PullObjectRequest.object_id": ("an object of a question of that run", _is_asked),
    "ConfirmMessageReceivedRequest.message_object_id": ("a question of that run", _is_question),
    "PushObjectRequest.session_id": _WANTED,
    "PushObjectRequest.object_id": _WANTED,
    "PushObjectRequest.object_content": _OBJECTS,
    "PushMessagesRequest.message_object_trees.object_id": _OBJECTS,
    "PushMessagesRequest.message_object_trees.children.object_id": _OBJECTS,
    "PushMessagesRequest.clientapp_runtime_list": (
        "how long it took, which is never said",
        lambda _, __, value: value == 0.0 and not math.copysign(1, value) < 0,
    ),
    **{
        _META + name: _HEAD
        for name in (
            *("run_id", "src_node_id", "dst_node_id", "reply_to_message_id", "group_id"),
            *("message_type", "dst_task_id"),
        )
    },
    _META + "message_id": _OBJECTS,
    _META + "created_at": ("between question and answer: time is not hidden", _is_held),
    _META + "ttl": ("what is left of the question's, to the last bit", _is_held),
}
"""Path of a field, why it is allowed, and what it is held to."""


def folded(name: str) -> str:
    """A tree has children of children."""
    while ".children.children" in name:
        name = name.replace(".children.children", ".children")
    return name

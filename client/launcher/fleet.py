"""The connection to a SuperLink, typed. TLS always: there is no switch that turns it off.

Of Flower's this uses the client of the Fleet API and what signs its requests. Flower's own
connection around them ends its process by a signal, logs every try, and beats at its own pace.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message
from flwr.common.serde import fab_from_proto, message_from_proto, message_to_proto, run_from_proto
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.run import Run
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.launcher.door import Door
from client.launcher.endings import Expelled
from client.launcher.heartbeat import LEAST_SECONDS, beating
from client.launcher.link import Link
from client.launcher.number import Number
from common.errors import Code, ConfigError

__all__ = ["Fleet", "SuperLink", "connected"]

_Keys: TypeAlias = tuple[EllipticCurvePrivateKey, EllipticCurvePublicKey]


@dataclass(frozen=True)
class SuperLink:
    """Where a node connects to, and as whom.

    Attributes:
        address: host and port.
        root_certificates: PEM file that the server's certificate is checked against; None for
            those of the system.
        key: OpenSSH file with the node's private key on a NIST curve.
        heartbeat_seconds: the node is counted as connected for twice this long after a kill;
            at least 10.
        memory: file that keeps the number by which the server knows the node; None for none.
    """

    address: str
    root_certificates: Path | None
    key: Path
    heartbeat_seconds: float = LEAST_SECONDS
    memory: Path | None = None


@dataclass(frozen=True)
class Fleet:
    """What a node can say to its SuperLink."""

    node_id: int
    receive: Callable[[], tuple[Message, ObjectTree] | None]
    send: Callable[[Message, ObjectTree, float], tuple[set[str], str]]
    get_run: Callable[[int], Run]
    get_fab: Callable[[str, int], Fab]
    pull_object: Callable[[int, str], bytes]
    push_object: Callable[[int, str, str, bytes], None]
    confirm: Callable[[int, str], None]


@contextmanager
def connected(superlink: SuperLink) -> Iterator[Fleet]:
    """Be a node of the SuperLink until the block ends; heartbeats go out meanwhile.

    Raises:
        ConfigError: a file cannot be read, or holds no such key; `certificate-invalid` or
            `clock-skew`, before the server has answered once.
        RunError: `node-refused`, the server does not let the node in, or no longer; a
            `Passing` where another process may get on.
    """
    keys = _keys(superlink.key)
    roots = None if superlink.root_certificates is None else _bytes(superlink.root_certificates)
    link = Link(superlink.address, roots)
    with ExitStack() as stack:
        client = stack.enter_context(_client(superlink, roots, keys))
        public = public_key_to_bytes(keys[1])
        door = Door(link, client, public, superlink.heartbeat_seconds)
        node_id = door.enter(Number(superlink.memory, public))
        stack.callback(door.leave, node_id)
        stack.enter_context(beating(lambda: door.beat(node_id), superlink.heartbeat_seconds))
        try:
            yield _fleet(link, client, node_id)
        except Expelled:
            raise door.why_expelled() from None


def _fleet(link: Link, client: FleetHttpClient, node_id: int) -> Fleet:
    node = NodeProto(node_id=node_id)

    def receive() -> tuple[Message, ObjectTree] | None:
        answer = link.ask(client.PullMessages, PullMessagesRequest(node=node), patient=True)
        if not answer.messages_list:
            return None
        return message_from_proto(answer.messages_list[0]), answer.message_object_trees[0]

    def send(message: Message, tree: ObjectTree, seconds: float) -> tuple[set[str], str]:
        request = PushMessagesRequest(
            node=node,
            messages_list=[message_to_proto(message)],
            message_object_trees=[tree],
            clientapp_runtime_list=[seconds],
        )
        answer = link.ask(client.PushMessages, request)
        return set(answer.objects_to_push), answer.session_id

    def get_run(run_id: int) -> Run:
        return run_from_proto(link.ask(client.GetRun, GetRunRequest(node=node, run_id=run_id)).run)

    def get_fab(name: str, run_id: int) -> Fab:
        request = GetFabRequest(node=node, hash_str=name, run_id=run_id)
        return fab_from_proto(link.ask(client.GetFab, request).fab)

    def pull_object(run_id: int, name: str) -> bytes:
        pull = make_pull_object_fn_protobuf(
            lambda request: link.ask(client.PullObject, request), node, run_id
        )
        return pull(name)

    def push_object(run_id: int, session: str, name: str, content: bytes) -> None:
        push = make_push_object_fn_protobuf(
            lambda request: link.ask(client.PushObject, request), node, run_id, session
        )
        push(name, content)

    def confirm(run_id: int, name: str) -> None:
        request = ConfirmMessageReceivedRequest(node=node, run_id=run_id, message_object_id=name)
        link.ask(client.ConfirmMessageReceived, request)

    return Fleet(node_id, receive, send, get_run, get_fab, pull_object, push_object, confirm)


def _client(superlink: SuperLink, roots: bytes | None, keys: _Keys) -> FleetHttpClient:
    try:
        return FleetHttpClient.from_server_address(
            superlink.address,
            insecure=False,
            root_certificates=roots,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(*keys),
            ],
        )
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            Code.CERTIFICATE_INVALID,
            f"no certificate in PEM: {error}.",
            where=str(superlink.root_certificates),
            remedy="Restore it from the invitation.",
        ) from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(path)
        ) from None


def _keys(path: Path) -> _Keys:
    try:
        key = load_ssh_private_key(_bytes(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError(
            Code.CONFIG_INVALID,
            "no private key on a NIST curve without a password.",
            where=str(path),
            remedy="Make one with `ssh-keygen -t ecdsa -b 384 -N '' -f node_key`.",
        )
    return key, key.public_key()

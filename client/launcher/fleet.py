"""The connection to a SuperLink, typed. TLS always: there is no switch that turns it off.

Of Flower's this uses the client of the Fleet API and what signs its requests. Flower's own
connection around them ends its process by a signal, logs every try, and beats at its own pace.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True)
class _Calls:
    """Calls of one node, in its own types."""

    link: Link
    client: FleetHttpClient
    node: NodeProto

    def receive(self) -> tuple[Message, ObjectTree] | None:
        request = PullMessagesRequest(node=self.node)
        answer = self.link.ask(self.client.PullMessages, request, patient=True)
        if not answer.messages_list:
            return None
        return message_from_proto(answer.messages_list[0]), answer.message_object_trees[0]

    def send(self, message: Message, tree: ObjectTree, seconds: float) -> tuple[set[str], str]:
        request = PushMessagesRequest(
            node=self.node,
            messages_list=[message_to_proto(message)],
            message_object_trees=[tree],
            clientapp_runtime_list=[seconds],
        )
        answer = self.link.ask(self.client.PushMessages, request)
        return set(answer.objects_to_push), answer.session_id

    def get_run(self, run_id: int) -> Run:
        request = GetRunRequest(node=self.node, run_id=run_id)
        return run_from_proto(self.link.ask(self.client.GetRun, request).run)

    def get_fab(self, name: str, run_id: int) -> Fab:
        request = GetFabRequest(node=self.node, hash_str=name, run_id=run_id)
        return fab_from_proto(self.link.ask(self.client.GetFab, request).fab)

    def pull_object(self, run_id: int, name: str) -> bytes:
        ask = partial(self.link.ask, self.client.PullObject)
        return make_pull_object_fn_protobuf(ask, self.node, run_id)(name)

    def push_object(self, run_id: int, session: str, name: str, content: bytes) -> None:
        ask = partial(self.link.ask, self.client.PushObject)
        make_push_object_fn_protobuf(ask, self.node, run_id, session)(name, content)

    def confirm(self, run_id: int, name: str) -> None:
        request = ConfirmMessageReceivedRequest(
            node=self.node, run_id=run_id, message_object_id=name
        )
        self.link.ask(self.client.ConfirmMessageReceived, request)


def _fleet(link: Link, client: FleetHttpClient, node_id: int) -> Fleet:
    calls = _Calls(link, client, NodeProto(node_id=node_id))
    return Fleet(
        node_id,
        calls.receive,
        calls.send,
        calls.get_run,
        calls.get_fab,
        calls.pull_object,
        calls.push_object,
        calls.confirm,
    )


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

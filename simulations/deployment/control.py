"""What the operator can see and do inside: nodes that are let in, and those that are online."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from server.gateway.folder import ServerFolder

__all__ = ["Control"]

_NO_ANSWER: Final = (httpx.HTTPError, OSError)


class _Bearing:
    """Adds the operator's token to a call, as `flwr` does."""

    def __init__(self, token: str) -> None:
        self._token = token

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers["Authorization"] = f"Bearer {self._token}"
        return call_next(context)


class Control:
    """Flower's Control API of a running server; use as a context manager.

    Args:
        home: the server's, with token and certificate.
        inside: where Control is, IP:PORT.
    """

    def __init__(self, home: Path, inside: str) -> None:
        folder = ServerFolder.of_server(home)
        self._client = ControlHttpClient.from_server_address(
            inside,
            insecure=False,
            root_certificates=folder.inside.certificate.read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr CLI"),
                _Bearing(folder.operator_token()),
            ],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def answers(self) -> bool:
        """Whether the server takes calls."""
        try:
            self._client.ListRuns(ListRunsRequest())
        except _NO_ANSWER:
            return False
        return True

    def register(self, name: str, key: Path) -> None:
        """Let a node in.

        Args:
            name: of the shop.
            key: file with its public key, one line of OpenSSH.
        """
        public = load_ssh_public_key(key.read_bytes())
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._client.RegisterNode(RegisterNodeRequest(public_key=pem, name=name))

    def registered(self) -> set[str]:
        """Names of nodes that are let in."""
        return {node.name for node in self._nodes()}

    def online(self) -> set[str]:
        """Names of nodes that the server has online; empty if it does not answer."""
        try:
            return {node.name for node in self._nodes() if node.status == "online"}
        except _NO_ANSWER:
            return set()

    def _nodes(self) -> list[NodeInfo]:
        return list(self._client.ListNodes(ListNodesRequest()).nodes_info)

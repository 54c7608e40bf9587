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

from server.gateway.control import operator_client
from server.gateway.folder import ServerFolder

__all__ = ["Registrar"]

_NO_ANSWER: Final = (httpx.HTTPError, OSError)


class Registrar:
    """Flower's list of nodes at a running server; use as a context manager.

    Args:
        home: the server's, with token and certificate.
        inside: where Control is, IP:PORT.
    """

    def __init__(self, home: Path, inside: str) -> None:
        self._client = operator_client(ServerFolder.of_server(home), inside)

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

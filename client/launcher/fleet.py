"""The connection to a SuperLink, typed. TLS always: there is no switch that turns it off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run
from flwr.supernode.fleet_http_connection import http_request_response

from common.errors import Code, ConfigError

__all__ = ["Fleet", "SuperLink", "connected"]


@dataclass(frozen=True)
class SuperLink:
    """Where a node connects to, and as whom.

    Attributes:
        address: host and port.
        root_certificates: PEM file that the server's certificate is checked against; None for
            those of the system.
        key: OpenSSH file with the node's private key on a NIST curve; None for a new one each
            time, which a SuperLink with node authentication refuses.
    """

    address: str
    root_certificates: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Fleet:
    """What a node can say to its SuperLink; the functions are Flower's own."""

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
        ConfigError: a file cannot be read, or holds no such key.
        SystemExit: the SuperLink does not let the node in; Flower has logged why.
    """
    failure: Exception | None = None
    roots = None if superlink.root_certificates is None else _bytes(superlink.root_certificates)
    keys = None if superlink.key is None else _keys(superlink.key)
    with http_request_response(
        superlink.address, insecure=False, root_certificates=roots, authentication_keys=keys
    ) as functions:
        try:
            yield Fleet(*functions)
        except Exception as error:  # noqa: BLE001  Flower would log it and go on without a node
            failure = error
    if failure is not None:
        raise failure


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(path)
        ) from None


def _keys(path: Path) -> tuple[EllipticCurvePrivateKey, EllipticCurvePublicKey]:
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

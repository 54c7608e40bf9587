"""What passes between a node and the process of a task: a header and some bytes.

A parcel is a JSON header, then blobs, each after its length (8 bytes, big-endian). It passes
through pipes between two processes of one owner; nothing in it is ever unpickled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final, Self

from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)

from client.launcher.bundle import Bundle
from common.config import Settings
from common.errors import Code, ProtocolError

__all__ = ["Errand", "Packed", "read_errand", "read_packed", "write_errand", "write_packed"]

_LENGTH: Final = struct.Struct(">Q")


class Errand(Settings):
    """What a task is about, beside the message."""

    home: str
    """The client's folder, from the node's own command line."""
    run_id: int
    node_id: int
    bundle: Bundle
    """What the run came with: a hash, never the bytes."""


@dataclass(frozen=True)
class Packed:
    """A message as Flower carries it.

    Attributes:
        message: protobuf of its metadata.
        tree: protobuf of the ids of the objects that it is made of.
        objects: their bytes by id; empty where a message is only to be refused.
    """

    message: bytes
    tree: bytes
    objects: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Message) -> Self:
        """Take a reply apart."""
        message.metadata.__dict__["_message_id"] = message.object_id
        with no_object_id_recompute():
            tree = get_object_tree(message)
            objects = {name: one.deflate() for name, one in get_all_nested_objects(message).items()}
        head = message_to_proto(remove_content_from_message(message))
        return cls(head.SerializeToString(), tree.SerializeToString(), objects)


def write_errand(stream: IO[bytes], errand: Errand, packed: Packed) -> None:
    """Write what a task is given."""
    _write(stream, errand.model_dump_json().encode())
    write_packed(stream, packed)


def read_errand(stream: IO[bytes]) -> tuple[Errand, Packed]:
    """Read what a task is given.

    Raises:
        ProtocolError: `protocol-invalid`, the other side ended early.
    """
    return Errand.model_validate_json(_read(stream)), read_packed(stream)


def write_packed(stream: IO[bytes], packed: Packed) -> None:
    """Write a message."""
    _write(stream, packed.message)
    _write(stream, packed.tree)
    stream.write(_LENGTH.pack(len(packed.objects)))
    for blob in _blobs(packed.objects):
        _write(stream, blob)
    stream.flush()


def read_packed(stream: IO[bytes]) -> Packed:
    """Read a message.

    Raises:
        ProtocolError: `protocol-invalid`, the other side ended early.
    """
    message, tree = _read(stream), _read(stream)
    (count,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return Packed(message, tree, {_read(stream).decode(): _read(stream) for _ in range(count)})


def _blobs(objects: Mapping[str, bytes]) -> Iterator[bytes]:
    for name, content in objects.items():
        yield name.encode()
        yield content


def _write(stream: IO[bytes], blob: bytes) -> None:
    stream.write(_LENGTH.pack(len(blob)))
    stream.write(blob)


def _read(stream: IO[bytes]) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    blob = stream.read(length)
    if len(blob) != length:
        raise ProtocolError(Code.PROTOCOL_INVALID, "the other side ended early.", where="task")
    return blob

"""A version of the model on its way to a client, signed by the server; the reply is a code."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from flwr.app import ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from common.errors import Code, PolicyError
from common.manifest import Manifest, VersionId
from common.privacy.signing import PublicKey, Signature, SigningKey, canonical, is_signed
from common.protocol.records import (
    arrays_of,
    body_reader,
    body_text,
    header_of,
    invalid,
    to_record,
)

__all__ = ["MODEL", "ModelMessage"]

MODEL: Final = "query.model"
_MODEL, _ARRAYS = "model", "arrays"
_SIGNS: Final = "model"
_LAST_SERIAL: Final = (1 << 63) - 1
_MANIFEST = body_reader(Manifest)
_FIELDS: Final[dict[str, TypeAdapter[Any]]] = {
    "version": TypeAdapter(VersionId),
    "server": TypeAdapter(PublicKey),
    "signature": TypeAdapter(Signature),
}


@dataclass(frozen=True)
class ModelMessage:
    """A promoted version of the model.

    Attributes:
        serial: number of the promotion, from 1; a server never gives one twice.
        version: name of the version.
        manifest: stands beside the arrays; names no client and no ledger's head.
        arrays: shared parameters of the model, by name.
        server: public key of the server that promotes it.
        signature: of `digest`, by `server`; empty if nobody signed.
    """

    serial: int
    version: str
    manifest: Manifest
    arrays: dict[str, NDArray[Any]]
    server: str = ""
    signature: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of serial, version, manifest and arrays; taken once, when first asked for.

        Raises:
            ValueError: the manifest holds what JSON has no word for.
        """
        arrays = {
            name: (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest())
            for name, array in self.arrays.items()
        }
        values = {
            "serial": self.serial,
            "version": self.version,
            "manifest": self.manifest.model_dump(mode="json"),
            "arrays": arrays,
        }
        return hashlib.sha256(canonical(_SIGNS, values)).hexdigest()

    def signed(self, key: SigningKey) -> Self:
        """The message with `key`'s signature, one for all clients."""
        return replace(self, server=key.public, signature=key.sign(_SIGNS, {"model": self.digest}))

    def check_signature(self) -> None:
        """Hold the signature to the content and to `server`.

        Raises:
            PolicyError: `policy-server`.
        """
        try:
            signed = is_signed(self.server, self.signature, _SIGNS, {"model": self.digest})
        except (ValueError, RecursionError):  # a manifest that nobody could have signed
            signed = False
        if not signed:
            raise PolicyError(
                Code.POLICY_SERVER,
                "the model is not signed by the server that it names.",
                where="model.signature",
                remedy="Somebody else may have sent or changed it: ask the server's operator.",
            )

    def to_records(self) -> RecordDict:
        """As Flower carries it."""
        return next(self.copies())

    def copies(self) -> Iterator[RecordDict]:
        """As Flower carries it to several clients, without end.

        All share one record of arrays: the model is in memory once, however many clients.
        """
        manifest, arrays = body_text(self.manifest), to_record(self.arrays)
        while True:
            header = ConfigRecord({"serial": self.serial, "version": self.version})
            header["server"], header["signature"] = self.server, self.signature
            header["manifest"] = manifest
            yield RecordDict({_MODEL: header, _ARRAYS: arrays})

    @classmethod
    def from_records(cls, records: RecordDict) -> Self:
        """Read a model; signature and values are not checked here.

        Raises:
            ProtocolError: `protocol-invalid`, a record is missing or of the wrong type, or a
                field holds what no server would say.
        """
        texts = dict.fromkeys(("version", "server", "signature", "manifest"), str)
        header = header_of(records, _MODEL, {**texts, "serial": int})
        if not 1 <= header["serial"] <= _LAST_SERIAL:
            raise invalid("serials count from 1")
        for name, adapter in _FIELDS.items():
            _check(name, header[name], adapter)
        return cls(
            serial=header["serial"],
            version=header["version"],
            manifest=_MANIFEST(header["manifest"]),
            arrays=arrays_of(records, _ARRAYS),
            server=header["server"],
            signature=header["signature"],
        )


def _check(name: str, text: str, adapter: TypeAdapter[Any]) -> None:
    try:
        adapter.validate_python(text)
    except ValidationError:
        raise invalid(f"model.{name} is none") from None
